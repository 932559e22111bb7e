"""Risk: the limits that were set for single accounts, and the best result of each trading day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import Connection, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base
from database.dialect import insert_new, upsert
from database.types import Money, UtcDateTime


class AccountLimits(Base):
    """What was set for one account in place of the settings: texts by the limit's name."""

    __tablename__ = "risk_limits"

    account_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    limits: Mapped[dict[str, str]] = mapped_column(sa.JSON, default=dict)
    changed_by: Mapped[str] = mapped_column(String(64), default="")
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RiskDay(Base):
    """The best result that an account had on a trading day, from which a drawdown is counted."""

    __tablename__ = "risk_days"

    account_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    day: Mapped[date] = mapped_column(sa.Date, primary_key=True)
    best: Mapped[Decimal] = mapped_column(Money)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class StoredLimits:
    """The limits of one account, as texts, and who changed them last."""

    account_id: int
    limits: dict[str, str]
    changed_by: str
    changed_at: datetime


def all_limits(conn: Connection) -> dict[int, StoredLimits]:
    """What was set, by account."""
    rows = conn.execute(sa.select(
        AccountLimits.account_id, AccountLimits.limits, AccountLimits.changed_by,
        AccountLimits.changed_at,
    ))
    return {row[0]: StoredLimits(row[0], dict(row[1]), row[2], row[3]) for row in rows}


def set_limits(
    conn: Connection, account_id: int, limits: Mapping[str, str], *, at: datetime, by: str
) -> None:
    """Keep these limits of an account, and no others."""
    change = {"limits": dict(limits), "changed_by": by[:64], "changed_at": at}
    upsert(
        conn, AccountLimits, {"account_id": account_id, **change}, key=["account_id"],
        change=change,
    )


def best_result(
    conn: Connection, account_id: int, day: date, result: Decimal, *, at: datetime
) -> Decimal:
    """The best result of the day so far, this one included; a day begins at 0."""
    row = (RiskDay.account_id == account_id, RiskDay.day == day)
    best = conn.execute(sa.select(RiskDay.best).where(*row).with_for_update()).scalar()
    here = max(result, Decimal(0))
    if best is None:
        values = {"account_id": account_id, "day": day, "best": here, "at": at}
        if insert_new(conn, RiskDay, values):
            return here
        best = conn.execute(sa.select(RiskDay.best).where(*row).with_for_update()).scalar_one()
    if here <= best:
        return Decimal(best)
    conn.execute(sa.update(RiskDay).where(*row).values(best=here, at=at))
    return here


def known_best(conn: Connection, account_id: int, day: date) -> Decimal | None:
    """The best result of the day that was recorded; None when there is none yet."""
    return conn.execute(
        sa.select(RiskDay.best).where(RiskDay.account_id == account_id, RiskDay.day == day)
    ).scalar()


def prune_days(conn: Connection, before: date) -> int:
    """Forget the days before this one; how many rows."""
    return conn.execute(sa.delete(RiskDay).where(RiskDay.day < before)).rowcount
