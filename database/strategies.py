"""Parameters of strategies: small named texts of a user's that outlive the program that trades."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId
from database.dialect import upsert
from database.types import UtcDateTime


class StrategyParameter(Base):
    """One parameter of one user's strategy."""

    __tablename__ = "strategy_parameters"

    user_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    strategy: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(sa.Text)
    changed_by: Mapped[str] = mapped_column(String(64))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


def read(conn: Connection, user_id: int, strategy: str) -> dict[str, str]:
    """The parameters of a strategy, by name."""
    rows = conn.execute(
        sa.select(StrategyParameter.name, StrategyParameter.value)
        .where(StrategyParameter.user_id == user_id, StrategyParameter.strategy == strategy)
        .order_by(StrategyParameter.name)
    )
    return {row.name: row.value for row in rows}


def names(conn: Connection, user_id: int) -> dict[str, int]:
    """The user's strategies that have parameters, and how many."""
    rows = conn.execute(
        sa.select(StrategyParameter.strategy, sa.func.count().label("found"))
        .where(StrategyParameter.user_id == user_id)
        .group_by(StrategyParameter.strategy).order_by(StrategyParameter.strategy)
    )
    return {row.strategy: row.found for row in rows}


def write(
    conn: Connection, user_id: int, strategy: str, values: Mapping[str, str], *, at: datetime,
    by: str,
) -> None:
    """Set parameters; others of the strategy stay as they are."""
    for name, value in values.items():
        change = {"value": value, "changed_by": by[:64], "changed_at": at}
        upsert(
            conn, StrategyParameter,
            {"user_id": user_id, "strategy": strategy, "name": name, **change},
            key=["user_id", "strategy", "name"], change=change,
        )


def remove(conn: Connection, user_id: int, strategy: str, gone: Collection[str]) -> int:
    """Take parameters away; how many there were."""
    return conn.execute(sa.delete(StrategyParameter).where(
        StrategyParameter.user_id == user_id, StrategyParameter.strategy == strategy,
        StrategyParameter.name.in_(list(gone)),
    )).rowcount
