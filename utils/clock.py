"""Time, handed in: the real clock, and the trading day in India.

Everything inside works with aware UTC times; IST appears only at the edges.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone

IST = timezone(timedelta(hours=5, minutes=30), "IST")
"""Indian Standard Time. India has no daylight saving, so a fixed offset is exact."""


class SystemClock:
    """The real time. Tests hand in another object with the same three methods."""

    __slots__ = ()

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go backwards; only differences mean anything."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; nothing for zero or less."""
        if seconds > 0:
            time.sleep(seconds)


def ist(moment: datetime) -> datetime:
    """An aware time as seen in India. `ValueError` for a naive one, whose zone is unknown."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone can't be placed in India")
    return moment.astimezone(IST)


def trading_day(moment: datetime) -> date:
    """The calendar date in India at an aware time; sessions and order ids live that long."""
    return ist(moment).date()


def start_of_trading_day(moment: datetime) -> datetime:
    """The midnight in India that began the trading day of an aware time, in UTC."""
    return end_of_trading_day(moment) - timedelta(days=1)


def end_of_trading_day(moment: datetime) -> datetime:
    """The midnight in India that ends the trading day of an aware time, in UTC."""
    following = trading_day(moment) + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=IST).astimezone(UTC)
