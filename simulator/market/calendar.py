"""Expiry dates relative to a trading date: weekly and monthly contracts."""

from __future__ import annotations

from datetime import date, timedelta

TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = 1, 2, 3, 4


def last_weekday(year: int, month: int, weekday: int) -> date:
    """The last such weekday of a month (Monday is 0)."""
    first_next = date(year + month // 12, month % 12 + 1, 1)
    last = first_next - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def monthlies(today: date, count: int, weekday: int) -> list[date]:
    """The next `count` monthly expiries, today's included."""
    found: list[date] = []
    year, month = today.year, today.month
    while len(found) < count:
        expiry = last_weekday(year, month, weekday)
        if expiry >= today:
            found.append(expiry)
        year, month = year + month // 12, month % 12 + 1
    return found


def weeklies(today: date, count: int, weekday: int) -> list[date]:
    """The next `count` weekly expiries, today's included; a monthly may be among them."""
    first = today + timedelta(days=(weekday - today.weekday()) % 7)
    return [first + timedelta(weeks=i) for i in range(count)]


def day_of_month(today: date, count: int, day: int) -> list[date]:
    """The next `count` months' expiries on a day of the month, moved back from weekends."""
    found: list[date] = []
    year, month = today.year, today.month
    while len(found) < count:
        expiry = date(year, month, day)
        while expiry.weekday() >= 5:
            expiry -= timedelta(days=1)
        if expiry >= today:
            found.append(expiry)
        year, month = year + month // 12, month % 12 + 1
    return found
