"""Alarms: one open row per rule and subject, closed when it is over, kept as history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId, RowMapper
from database.dialect import insert_new
from database.types import UtcDateTime


class Alarm(Base):
    """Something an operator must know. Closed rows leave the unique index."""

    __tablename__ = "alarms"
    __table_args__ = (
        sa.Index(
            "uq_alarms_open", "rule", "subject", unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    rule: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(128), default="")
    message: Mapped[str] = mapped_column(sa.Text)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm; `closed_at` None while it is open."""

    id: int
    rule: str
    subject: str
    message: str
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None


_alarms = RowMapper(AlarmRow, Alarm)
_open = Alarm.closed_at.is_(None)


def open_alarm(conn: Connection, rule: str, subject: str, message: str, *, at: datetime) -> bool:
    """Open an alarm, or freshen the message of the open one; True when it is new."""
    values = {
        "rule": rule, "subject": subject, "message": message, "opened_at": at, "updated_at": at
    }
    if insert_new(conn, Alarm, values):
        return True
    conn.execute(sa.update(Alarm).where(
        Alarm.rule == rule, Alarm.subject == subject, _open
    ).values(message=message, updated_at=at))
    return False


def close_alarm(conn: Connection, rule: str, subject: str, *, at: datetime) -> bool:
    """Close the open alarm of this rule and subject; False when there is none."""
    statement = sa.update(Alarm).where(Alarm.rule == rule, Alarm.subject == subject, _open)
    return bool(conn.execute(statement.values(closed_at=at, updated_at=at)).rowcount)


def list_open(conn: Connection) -> list[AlarmRow]:
    """The open alarms, the oldest first."""
    return _alarms.all(conn, _alarms.select().where(_open).order_by(Alarm.id))


def list_recent(conn: Connection, limit: int = 200) -> list[AlarmRow]:
    """Open and closed alarms, the newest first."""
    return _alarms.all(conn, _alarms.select().order_by(Alarm.id.desc()).limit(limit))
