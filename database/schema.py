"""Every table of the main database in one metadata: what migrations and tests compare with."""

from __future__ import annotations

from database import (
    accounts,
    alarms,
    audit,
    broker_sessions,
    deployments,
    failures,
    figures,
    flags,
    idempotency,
    intents,
    jobs,
    leases,
    risk,
    strategies,
    users,
)
from database.base import Base

FAMILIES = (
    accounts, alarms, audit, broker_sessions, deployments, failures, figures, flags, idempotency,
    intents, jobs, leases, risk, strategies, users,
)
metadata = Base.metadata
