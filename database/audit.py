"""The audit trail: who did what, when, from where. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId, RowMapper
from database.types import UtcDateTime


class AuditEntry(Base):
    """One deed. `detail` holds plain facts, never a secret."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(128), default="")
    detail: Mapped[dict[str, str]] = mapped_column(sa.JSON, default=dict)
    address: Mapped[str] = mapped_column(String(64), default="")
    request_id: Mapped[str] = mapped_column(String(64), default="")


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One deed, as it was recorded."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, str]
    address: str
    request_id: str


_entries = RowMapper(AuditRow, AuditEntry)


def record(
    conn: Connection, actor: str, action: str, subject: str = "", *, at: datetime,
    detail: Mapping[str, str] | None = None, address: str = "", request_id: str = "",
) -> None:
    """Add an entry. Texts that are too long are cut, so that a deed is never left out for them."""
    conn.execute(sa.insert(AuditEntry).values(
        at=at, actor=actor[:64], action=action[:64], subject=subject[:128],
        detail=dict(detail or {}), address=address[:64], request_id=request_id[:64],
    ))


def list_entries(conn: Connection, *, limit: int = 200, before_id: int | None = None) -> (
    list[AuditRow]
):
    """The newest entries first; `before_id` pages on."""
    statement = _entries.select().order_by(AuditEntry.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(AuditEntry.id < before_id)
    return _entries.all(conn, statement)
