"""Switches and small facts that all processes share, with one version for them all.

Asking for the version is one indexed read; who keeps a copy asks at most every few milliseconds
and reads again when the version has moved, so that a change is seen everywhere within a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId
from database.dialect import upsert
from database.types import UtcDateTime

_VERSION = "\x01version"


class Flag(Base):
    """One switch; the row of the version stands among them."""

    __tablename__ = "flags"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    value: Mapped[str] = mapped_column(sa.Text)
    version: Mapped[int] = mapped_column(BigId)
    changed_by: Mapped[str] = mapped_column(String(64), default="")
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class FlagRow:
    """A flag as it stands; `version` is the store's version when it was set."""

    name: str
    value: str
    version: int
    changed_by: str
    changed_at: datetime


_THE_VERSION = sa.select(Flag.version).where(Flag.name == _VERSION)  # asked twice a second


def version(conn: Connection) -> int:
    """How often any flag has changed."""
    return int(conn.execute(_THE_VERSION).scalar() or 0)


def get(conn: Connection, name: str) -> str | None:
    return conn.execute(sa.select(Flag.value).where(Flag.name == name)).scalar()


def set_flag(conn: Connection, name: str, value: str, *, at: datetime, by: str = "") -> int:
    """Set a flag; the version that has it."""
    number = bump(conn, at=at)
    values = {
        "name": name, "value": value, "version": number, "changed_by": by[:64], "changed_at": at
    }
    upsert(conn, Flag, values, key=["name"], change=values)
    return number


def clear(conn: Connection, name: str, *, at: datetime) -> int:
    """Remove a flag; the version without it."""
    conn.execute(sa.delete(Flag).where(Flag.name == name))
    return bump(conn, at=at)


def bump(conn: Connection, *, at: datetime) -> int:
    """Move the version on without a flag: whoever caches something under it reads it again."""
    upsert(
        conn, Flag, {"name": _VERSION, "value": "", "version": 1, "changed_at": at},
        key=["name"], change={"version": Flag.version + 1, "changed_at": at},
    )
    return version(conn)


def list_flags(conn: Connection) -> list[FlagRow]:
    """All flags by name."""
    rows = conn.execute(
        sa.select(Flag.name, Flag.value, Flag.version, Flag.changed_by, Flag.changed_at)
        .where(Flag.name != _VERSION).order_by(Flag.name)
    )
    return [FlagRow(*row) for row in rows]
