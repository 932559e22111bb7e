"""Leases: which process may do what only one may do. A holder that dies loses it by time."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base
from database.dialect import insert_new
from database.types import UtcDateTime


class Lease(Base):
    """A named right, its holder, and when it lapses unless renewed."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(128))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


def now(conn: Connection, here: datetime) -> datetime:
    """The time that leases are compared by: the server's, where hosts share one; else `here`."""
    if conn.dialect.name != "postgresql":
        return here
    found: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found


def named(conn: Connection, prefix: str, *, at: datetime) -> dict[str, tuple[str, datetime]]:
    """Holder and end of the leases that run, by name."""
    statement = sa.select(Lease.name, Lease.holder, Lease.expires_at).where(
        Lease.name.startswith(prefix, autoescape=True), Lease.expires_at > at
    )
    return {name: (holder, until) for name, holder, until in conn.execute(statement)}


def acquire(
    conn: Connection, name: str, holder: str, *, at: datetime, lasts: timedelta
) -> bool:
    """Take or renew a lease; False while somebody else holds it."""
    expires_at = at + lasts
    if insert_new(conn, Lease, {"name": name, "holder": holder, "expires_at": expires_at}):
        return True
    statement = sa.update(Lease).where(
        Lease.name == name, sa.or_(Lease.holder == holder, Lease.expires_at <= at)
    )
    return bool(conn.execute(statement.values(holder=holder, expires_at=expires_at)).rowcount)


def release(conn: Connection, name: str, holder: str) -> bool:
    """Give a lease back; False when it was not held."""
    statement = sa.delete(Lease).where(Lease.name == name, Lease.holder == holder)
    return bool(conn.execute(statement).rowcount)


def holder(conn: Connection, name: str, *, at: datetime) -> str | None:
    """Who holds the lease now."""
    statement = sa.select(Lease.holder).where(Lease.name == name, Lease.expires_at > at)
    return conn.execute(statement).scalar()
