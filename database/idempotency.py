"""Idempotency keys: the same key with the same body gets the first answer again.

A unique constraint over user, account and key decides every race; nothing is locked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId
from database.dialect import insert_new
from database.errors import NoSuchRow
from database.types import UtcDateTime


class IdempotencyKey(Base):
    """One key as a client used it. `status` None: the first request is not answered yet."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (sa.UniqueConstraint("user_id", "account_id", "key"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(200))
    fingerprint: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(40))
    status: Mapped[int | None]
    body: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose key it is: the same text of another user or account is another key."""

    user_id: int
    account_id: int


@dataclass(frozen=True, slots=True)
class New:
    """Nobody has used the key: go on, then `finish`."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The request was answered before: give the same answer. `body` is its JSON text."""

    status: int
    body: str
    reference: str


@dataclass(frozen=True, slots=True)
class InFlight:
    """The first request with this key has no answer yet; ask with its reference."""

    reference: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key was used with another body."""

    reference: str


Outcome = New | Replay | InFlight | Mismatch


def begin(
    conn: Connection,
    scope: Scope,
    key: str,
    fingerprint: str,
    reference: str,
    *,
    at: datetime,
    expires_at: datetime,
) -> Outcome:
    """Claim a key, or learn what became of it. Commit before acting on `New`."""
    values = {
        "user_id": scope.user_id, "account_id": scope.account_id, "key": key,
        "fingerprint": fingerprint, "reference": reference, "created_at": at,
        "expires_at": expires_at,
    }
    row = None
    while row is None:  # the row in the way may be released between the two statements
        if insert_new(conn, IdempotencyKey, values):
            return New()
        row = conn.execute(
            sa.select(IdempotencyKey.__table__).where(_is(scope, key)).with_for_update()
        ).first()
    if _is_over(row, at):
        fresh = values | {"status": None, "body": None}
        conn.execute(sa.update(IdempotencyKey).where(IdempotencyKey.id == row.id).values(fresh))
        return New()
    return _outcome_of(row, fingerprint)


def answered(
    conn: Connection, scope: Scope, key: str, fingerprint: str, *, at: datetime
) -> Replay | Mismatch | None:
    """What a repeat is told of a key whose request has its answer; None for every other key."""
    row = conn.execute(sa.select(IdempotencyKey.__table__).where(_is(scope, key))).first()
    if row is None or row.status is None or _is_over(row, at):
        return None
    told = _outcome_of(row, fingerprint)
    return None if isinstance(told, InFlight) else told


def finish(conn: Connection, scope: Scope, key: str, status: int, body: str) -> None:
    """Record the answer that repeats of the request will get. `NoSuchRow` for an unknown key."""
    statement = sa.update(IdempotencyKey).where(_is(scope, key))
    if not conn.execute(statement.values(status=status, body=body)).rowcount:
        raise NoSuchRow("there is no such idempotency key")


def release(conn: Connection, scope: Scope, key: str) -> bool:
    """Give an unanswered key back, because nothing was sent: the next request starts anew."""
    statement = sa.delete(IdempotencyKey).where(_is(scope, key), IdempotencyKey.status.is_(None))
    return bool(conn.execute(statement).rowcount)


def reference_of(conn: Connection, scope: Scope, key: str) -> str | None:
    """The reference under which a key's request was begun, None for an unknown key."""
    statement = sa.select(IdempotencyKey.reference).where(_is(scope, key))
    return conn.execute(statement).scalar()


def unfinished(conn: Connection) -> list[tuple[Scope, str, str, datetime]]:
    """Keys without an answer, as (scope, key, reference, since): what a crash left behind."""
    rows = conn.execute(sa.select(IdempotencyKey.__table__).where(IdempotencyKey.status.is_(None)))
    return [
        (Scope(row.user_id, row.account_id), row.key, row.reference, row.created_at)
        for row in rows
    ]


def prune(conn: Connection, at: datetime) -> int:
    """Delete answered keys whose time is over; how many."""
    return conn.execute(sa.delete(IdempotencyKey).where(
        IdempotencyKey.expires_at <= at, IdempotencyKey.status.is_not(None)
    )).rowcount


def _is_over(row: sa.Row[Any], at: datetime) -> bool:
    return row.status is not None and row.expires_at <= at


def _outcome_of(row: sa.Row[Any], fingerprint: str) -> Replay | InFlight | Mismatch:
    if row.fingerprint != fingerprint:
        return Mismatch(row.reference)
    if row.status is None:
        return InFlight(row.reference, row.created_at)
    return Replay(row.status, row.body or "", row.reference)


def _is(scope: Scope, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        IdempotencyKey.user_id == scope.user_id, IdempotencyKey.account_id == scope.account_id,
        IdempotencyKey.key == key,
    )
