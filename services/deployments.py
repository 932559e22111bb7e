"""Deployments: recorded by whoever deploys, marked on dashboards, looked up to roll back."""

from __future__ import annotations

import re

from broker.base import Clock
from database import deployments
from database.deployments import VERSION_LENGTH, DeploymentRow
from database.engine import Database
from services.errors import InvalidRequest

__all__ = ["OUTCOMES", "DeploymentRow", "DeploymentService"]

OUTCOMES = ("deployed", "rolled_back", "failed")

_VERSION = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._+/-]{{0,{VERSION_LENGTH - 1}}}")


class DeploymentService:
    """Records and lists deployments of this environment."""

    def __init__(self, database: Database, clock: Clock, environment: str) -> None:
        self._database = database
        self._clock = clock
        self._environment = environment

    def record(
        self, version: str, *, actor: str, outcome: str = "deployed", note: str = ""
    ) -> None:
        """Record that `version` (a tag or a commit) was deployed, rolled back to, or failed."""
        if not _VERSION.fullmatch(version):
            raise InvalidRequest(
                f"A version has at most {VERSION_LENGTH} letters, digits and . _ + / -.",
                field="version",
            )
        if outcome not in OUTCOMES:
            raise InvalidRequest(f"The outcome is one of {', '.join(OUTCOMES)}.", field="outcome")
        with self._database.write() as conn:
            deployments.add(
                conn, version, outcome, environment=self._environment, actor=actor, note=note,
                at=self._clock.now(),
            )

    def list(self, limit: int = 20) -> list[DeploymentRow]:
        """The newest first."""
        with self._database.read() as conn:
            return deployments.newest(conn, limit)
