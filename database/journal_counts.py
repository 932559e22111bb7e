"""Questions to the journal and the users that only those who watch ask: counts and names."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from database import journal
from database.accounts import Account
from database.intents import Intent, IntentKind, IntentState, OrderIntent
from database.users import ApiKey, User, WebSession


def orders_by_state(conn: Connection, since: datetime, until: datetime) -> dict[str, int]:
    """How many orders were placed in a span of time, by what became of them."""
    rows = conn.execute(
        sa.select(OrderIntent.state, sa.func.count())
        .where(*_placed(since), OrderIntent.created_at < until)
        .group_by(OrderIntent.state)
    )
    return {str(state): int(count) for state, count in rows}


def _placed(since: datetime) -> list[sa.ColumnElement[bool]]:
    return [
        OrderIntent.account_id.in_(sa.select(Account.id)),  # lets the index by account be used
        OrderIntent.created_at >= since,
        OrderIntent.kind == IntentKind.PLACE.value,
    ]


def _count(conn: Connection, *conditions: sa.ColumnElement[bool]) -> int:
    counted = sa.select(sa.func.count()).select_from(OrderIntent).where(*conditions)
    return int(conn.execute(counted).scalar_one())


def orders_sent(conn: Connection, since: datetime) -> int:
    """How many orders have left for a broker since then."""
    return _count(conn, *_placed(since), OrderIntent.sent_at.is_not(None))


def orders_borne_out(conn: Connection, since: datetime) -> int:
    """How many orders since then were seen in a broker's book."""
    return _count(conn, *_placed(since), OrderIntent.seen_at.is_not(None))


def orders_unknown_since(conn: Connection, before: datetime) -> int:
    """How many orders were sent before this moment, and nobody knows what became of them."""
    return _count(
        conn,
        OrderIntent.kind == IntentKind.PLACE.value,
        OrderIntent.state.in_([IntentState.UNKNOWN.value, IntentState.SENDING.value]),
        OrderIntent.created_at < before,
    )


def accounts_that_traded(conn: Connection, since: datetime) -> set[int]:
    """Which accounts had an order accepted since then."""
    found = conn.execute(
        sa.select(OrderIntent.account_id)
        .where(*_placed(since), OrderIntent.state == IntentState.ACCEPTED.value)
        .distinct()
    )
    return set(found.scalars())


def intents_named(conn: Connection, word: str) -> list[Intent]:
    """The intents that have this word as reference, tag, request id, broker's or client's id."""
    references = conn.execute(
        sa.select(OrderIntent.reference).where(sa.or_(*(
            column == word
            for column in (
                OrderIntent.reference, OrderIntent.tag, OrderIntent.request_id,
                OrderIntent.broker_order_id, OrderIntent.client_order_id,
            )
        )))
    )
    found = [journal.get(conn, reference) for reference in references.scalars()]
    return [intent for intent in found if intent is not None]


def users_active_since(conn: Connection, since: datetime) -> int:
    """How many users have called with a key or looked at a page since then."""
    keys = sa.select(ApiKey.user_id).where(ApiKey.last_used_at >= since)
    pages = sa.select(WebSession.user_id).where(WebSession.seen_at >= since)
    active = sa.union(keys, pages).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(active)).scalar_one())


def users(conn: Connection) -> int:
    """How many users there are."""
    return int(conn.execute(sa.select(sa.func.count()).select_from(User)).scalar_one())
