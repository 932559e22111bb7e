"""Counts over the journal and the users, for the daily history and for metrics."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from database.accounts import Account
from database.intents import IntentKind, IntentState, OrderIntent
from database.users import ApiKey, User, WebSession


def orders_by_state(conn: Connection, since: datetime, until: datetime) -> dict[str, int]:
    """How many orders were placed in a span of time, by what became of them."""
    rows = conn.execute(
        sa.select(OrderIntent.state, sa.func.count())
        .where(
            OrderIntent.account_id.in_(sa.select(Account.id)),  # lets the index by account be used
            OrderIntent.created_at >= since,
            OrderIntent.created_at < until,
            OrderIntent.kind == IntentKind.PLACE.value,
        )
        .group_by(OrderIntent.state)
    )
    return {str(state): int(count) for state, count in rows}


def accounts_that_traded(conn: Connection, since: datetime) -> set[int]:
    """Which accounts had an order accepted since then."""
    found = conn.execute(
        sa.select(OrderIntent.account_id)
        .where(
            OrderIntent.account_id.in_(sa.select(Account.id)),
            OrderIntent.created_at >= since,
            OrderIntent.kind == IntentKind.PLACE.value,
            OrderIntent.state == IntentState.ACCEPTED.value,
        )
        .distinct()
    )
    return set(found.scalars())


def users_active_since(conn: Connection, since: datetime) -> int:
    """How many users have called with a key or looked at a page since then."""
    keys = sa.select(ApiKey.user_id).where(ApiKey.last_used_at >= since)
    pages = sa.select(WebSession.user_id).where(WebSession.seen_at >= since)
    active = sa.union(keys, pages).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(active)).scalar_one())


def users(conn: Connection) -> int:
    """How many users there are."""
    return int(conn.execute(sa.select(sa.func.count()).select_from(User)).scalar_one())
