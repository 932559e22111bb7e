"""Which version was brought into service when: what dashboards mark and a rollback looks up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId, RowMapper
from database.types import UtcDateTime

VERSION_LENGTH, NOTE_LENGTH = 64, 255


class Deployment(Base):
    """One deployment or rollback."""

    __tablename__ = "deployments"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    version: Mapped[str] = mapped_column(String(VERSION_LENGTH))
    outcome: Mapped[str] = mapped_column(String(16))
    environment: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(String(NOTE_LENGTH), default="")

    __table_args__ = (sa.Index("ix_deployments_at", "at"),)


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A deployment; `outcome` is "deployed", "rolled_back" or "failed"."""

    id: int
    at: datetime
    version: str
    outcome: str
    environment: str
    actor: str
    note: str


_deployments = RowMapper(DeploymentRow, Deployment)


def add(
    conn: Connection, version: str, outcome: str, *, environment: str, actor: str, note: str,
    at: datetime,
) -> None:
    """Record one."""
    conn.execute(sa.insert(Deployment).values(
        at=at, version=version, outcome=outcome, environment=environment, actor=actor[:64],
        note=note[:NOTE_LENGTH],
    ))


def newest(conn: Connection, limit: int = 20) -> list[DeploymentRow]:
    """The newest first."""
    return _deployments.all(
        conn, _deployments.select().order_by(Deployment.at.desc(), Deployment.id.desc())
        .limit(limit)
    )
