"""Candles from the same walk that makes the quotes (§8.6); bars exist only in market hours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from datetime import time as dtime

from simulator.clock import IST, SESSIONS, bar_time
from simulator.market.instruments import Instrument
from simulator.market.prices import PriceBook
from simulator.market.pricing import hash32
from simulator.market.rows import plain

SECONDS = (1, 60, 120, 180, 240, 300, 420, 600, 900, 1800, 3600, 7200, 10800, 14400)
DAILY = ("D", "W", "M")
#: Bars made per call of the generator before it lets other requests run.
MAX_BARS = 60_000


def parse_time(text: str) -> datetime | None:
    """`Aug 03 2026 091500`, IST."""
    try:
        return datetime.strptime(text.strip(), "%b %d %Y %H%M%S").replace(tzinfo=IST)
    except ValueError:
        return None


def bars(
    prices: PriceBook, instrument: Instrument, start: datetime, end: datetime, step: str, now: float
) -> Iterator[str]:
    """Bars `timestamp|open|high|low|close|volume|oi|`, oldest first, none after `now`."""
    last = min(end.timestamp(), now)
    if step in DAILY:
        yield from _daily(prices, instrument, start.date(), last, step)
        return
    width = int(step)
    begin, close = SESSIONS.get(instrument.segment, (dtime(9, 15), dtime(15, 30)))
    day = start.date()
    made = 0
    while day <= datetime.fromtimestamp(last, IST).date():
        if day.weekday() < 5:
            opened = datetime.combine(day, begin, IST).timestamp()
            closed = datetime.combine(day, close, IST).timestamp()
            moment = opened
            while moment < closed and moment <= last:
                stop = min(moment + width, closed)
                if moment >= start.timestamp():
                    yield _bar(prices, instrument, moment, min(stop, last + 1), bar_time(stop) - 1)
                    made += 1
                    if made >= MAX_BARS:
                        return
                moment = stop
        day += timedelta(days=1)


def _daily(
    prices: PriceBook, instrument: Instrument, first: date, last: float, step: str
) -> Iterator[str]:
    begin, close = SESSIONS.get(instrument.segment, (dtime(9, 15), dtime(15, 30)))
    final = datetime.fromtimestamp(last, IST).date()
    days: list[date] = []
    day = first
    while day <= final:
        if day.weekday() < 5 and datetime.combine(day, begin, IST).timestamp() <= last:
            days.append(day)
        day += timedelta(days=1)
    groups: dict[tuple[int, int], list[date]] = {}
    for day in days:
        if step == "D":
            key = (day.toordinal(), 0)
        elif step == "W":
            key = day.isocalendar()[:2]
        else:
            key = (day.year, day.month)
        groups.setdefault(key, []).append(day)
    for members in groups.values():
        opened = datetime.combine(members[0], begin, IST).timestamp()
        closed = datetime.combine(members[-1], close, IST).timestamp()
        stamp = bar_time(datetime.combine(members[0], dtime(0, 0), IST).timestamp())
        yield _bar(prices, instrument, opened, min(closed, last), stamp)


def _bar(prices: PriceBook, instrument: Instrument, start: float, stop: float, stamp: int) -> str:
    width = stop - start
    samples = [prices.last(instrument, start + width * i / 4.001) for i in range(5)]
    volume = 0
    if not instrument.is_index:
        key = prices.model(instrument).key
        lots = int(width * (20 + hash32(key, int(start)) % 200) / max(instrument.lot, 20))
        volume = max(lots, 1) * instrument.lot
    return (
        f"{stamp}|{plain(samples[0])}|{plain(max(samples))}|{plain(min(samples))}"
        f"|{plain(samples[-1])}|{volume}|0|"
    )
