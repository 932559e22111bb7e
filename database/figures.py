"""The daily history: one figure a day, name and label, kept for 90 days (docs/operations).

Counts of what processes saw are added up (`add`); what can be counted again from other tables is
set (`put`), so that counting it twice changes nothing. Days are trading days (IST dates).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, RowMapper
from database.dialect import upsert_many

NAME_LENGTH, LABEL_LENGTH = 48, 128

Values = Mapping[tuple[str, str], float]
"""Figures by name and label ("" where a figure has none)."""


class Figure(Base):
    """One figure of one day."""

    __tablename__ = "figures"

    day: Mapped[date] = mapped_column(sa.Date, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    label: Mapped[str] = mapped_column(String(LABEL_LENGTH), primary_key=True)
    value: Mapped[float] = mapped_column(sa.Double)


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A figure as it is stored."""

    day: date
    name: str
    label: str
    value: float


_figures = RowMapper(FigureRow, Figure)
_KEY = ("day", "name", "label")


def add(conn: Connection, day: date, values: Values) -> None:
    """Add these to the day's figures."""
    upsert_many(
        conn, Figure, _rows(day, values), key=_KEY,
        change=lambda new: {"value": Figure.value + new.value},
    )


def put(conn: Connection, day: date, values: Values) -> None:
    """Make these the day's figures, whatever they were before."""
    upsert_many(
        conn, Figure, _rows(day, values), key=_KEY, change=lambda new: {"value": new.value}
    )


def between(conn: Connection, first: date, last: date) -> list[FigureRow]:
    """All figures of these days, both included, by day, name and label."""
    return _figures.all(conn, _figures.select().where(
        Figure.day >= first, Figure.day <= last
    ).order_by(Figure.day, Figure.name, Figure.label))


def prune(conn: Connection, before: date) -> int:
    """Delete the figures of older days; how many."""
    return conn.execute(sa.delete(Figure).where(Figure.day < before)).rowcount


def _rows(day: date, values: Values) -> list[dict[str, Any]]:
    return [
        {"day": day, "name": name[:NAME_LENGTH], "label": label[:LABEL_LENGTH], "value": value}
        for (name, label), value in sorted(values.items())
    ]
