"""Unhandled errors, grouped: one row a fingerprint, with how often and when it was seen.

A row has where an error came from and never what it said: messages of exceptions may quote what
a caller sent. The log has the words, redacted, under the request id of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId, RowMapper
from database.dialect import upsert_many
from database.types import UtcDateTime

KIND_LENGTH, PLACE_LENGTH = 128, 255


class Failure(Base):
    """Errors of one kind from one place."""

    __tablename__ = "failures"

    fingerprint: Mapped[str] = mapped_column(String(16), primary_key=True)
    kind: Mapped[str] = mapped_column(String(KIND_LENGTH))
    place: Mapped[str] = mapped_column(String(PLACE_LENGTH))
    trail: Mapped[str] = mapped_column(sa.Text)
    seen: Mapped[int] = mapped_column(BigId)
    first_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
    request_id: Mapped[str] = mapped_column(String(64), default="")

    __table_args__ = (sa.Index("ix_failures_last_at", "last_at"),)


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A group of errors: the exception's class, where it was raised, and the way there.

    `request_id` is that of the last one, "" when it was raised outside a request.
    """

    fingerprint: str
    kind: str
    place: str
    trail: str
    seen: int
    first_at: datetime
    last_at: datetime
    request_id: str


_failures = RowMapper(FailureRow, Failure)


def add(conn: Connection, rows: Sequence[FailureRow]) -> None:
    """Add these to their groups."""
    upsert_many(
        conn, Failure, [dict(_failures.values(row, leave_out=())) for row in rows],
        key=("fingerprint",),
        change=lambda new: {
            "seen": Failure.seen + new.seen,
            "last_at": new.last_at,
            "request_id": new.request_id,
        },
    )


def newest(conn: Connection, limit: int = 50) -> list[FailureRow]:
    """The groups, the one that was seen last first."""
    return _failures.all(
        conn, _failures.select().order_by(Failure.last_at.desc(), Failure.fingerprint).limit(limit)
    )


def prune(conn: Connection, before: datetime) -> int:
    """Delete groups that have not been seen since then; how many."""
    return conn.execute(sa.delete(Failure).where(Failure.last_at < before)).rowcount
