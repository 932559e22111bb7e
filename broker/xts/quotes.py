"""Quotes, depth and candles: payloads of market data to models (XTS reference §8.4, §8.6, §10).

An answer counts only for the instrument it names; zeros are zeros, and nothing is invented: no
bid or ask from the last price, no quote for an instrument that is missing from the answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from broker.errors import ProtocolError
from broker.models import Candle, Depth, InstrumentRef, Level, Quote
from broker.xts import wire
from broker.xts.values import (
    IST,
    MONTHS,
    Unreadable,
    candle_time,
    identifier,
    money,
    text,
    tick_time,
    whole_or,
)

LEVELS = 5
DAY = "D"
# §8.6: compressionValue by interval; seconds, but for days.
COMPRESSION: dict[str, str] = {
    "1m": "60",
    "3m": "180",
    "5m": "300",
    "10m": "600",
    "15m": "900",
    "30m": "1800",
    "1h": "3600",
    DAY: DAY,
}


@dataclass(frozen=True, slots=True)
class Payload:
    """One element of `listQuotes`: whose it is, and what it says."""

    segment: int
    token: str
    row: wire.Row

    @property
    def touchline(self) -> wire.Row:
        """The touchline's fields: flat in a snapshot, nested in a stream's payload (§10)."""
        nested = self.row.get("Touchline")
        return nested if isinstance(nested, dict) else self.row


def payloads(result: object, code: int) -> Iterator[Payload]:
    """The payloads of one message code; each is a JSON text, or an object on some servers."""
    listed = result.get("listQuotes") if isinstance(result, dict) else None
    if not isinstance(listed, list):
        raise ProtocolError("The broker's quotes hold no listQuotes.")
    for item in listed:
        row = _payload_row(item)
        try:
            if whole_or(row.get("MessageCode"), code) != code:
                continue
            yield Payload(
                segment=whole_or(row.get("ExchangeSegment"), 0),
                token=identifier(wire.first(row, wire.INSTRUMENT_ID)),
                row=row,
            )
        except Unreadable as exc:
            raise ProtocolError(f"A quote does not name its instrument: {exc}.") from None


def _payload_row(item: object) -> wire.Row:
    if isinstance(item, str):
        try:
            item = json.loads(item, parse_float=Decimal, parse_constant=str)
        except (ValueError, RecursionError):
            raise ProtocolError("A quote is not the JSON text it should be.") from None
    if not isinstance(item, dict):
        raise ProtocolError("A quote is not an object.")
    return item


def quote_from(payload: Payload, instrument: InstrumentRef, oi: int | None = None) -> Quote:
    """A quote out of a 1501 or 1502 payload; `oi` comes from another message (1510)."""
    line = payload.touchline
    try:
        return Quote(
            instrument=instrument,
            last_price=money(line.get("LastTradedPrice")),
            open=money(line.get("Open")),
            high=money(line.get("High")),
            low=money(line.get("Low")),
            previous_close=money(line.get("Close")),
            bid=_side_price(line.get("BidInfo")),
            ask=_side_price(line.get("AskInfo")),
            volume=whole_or(line.get("TotalTradedQuantity"), 0),
            oi=oi,
            last_quantity=whole_or(wire.first(line, wire.LAST_QUANTITY), 0),
            average_price=money(line.get("AverageTradedPrice")),
            traded_at=tick_time(line.get("LastTradedTime")),
        )
    except Unreadable as exc:
        raise ProtocolError(f"The quote of {_name(instrument)} can't be read: {exc}.") from None


def depth_from(payload: Payload, instrument: InstrumentRef, oi: int | None = None) -> Depth:
    """The five best levels of a 1502 payload, empty levels included, with their quote."""
    line = payload.touchline
    quote = quote_from(payload, instrument, oi)
    try:
        bids = _levels(payload.row.get("Bids"))
        asks = _levels(payload.row.get("Asks"))
        if "BidInfo" not in line:
            quote = replace(quote, bid=_best(bids), ask=_best(asks))
        return Depth(
            quote=quote,
            bids=bids,
            asks=asks,
            total_bid_quantity=whole_or(line.get("TotalBuyQuantity"), 0),
            total_ask_quantity=whole_or(line.get("TotalSellQuantity"), 0),
        )
    except Unreadable as exc:
        raise ProtocolError(f"The depth of {_name(instrument)} can't be read: {exc}.") from None


def open_interest(payload: Payload) -> int:
    """Open interest in units, out of a 1510 payload (§10)."""
    try:
        return whole_or(payload.row.get("OpenInterest"), 0)
    except Unreadable as exc:
        raise ProtocolError(f"An open interest can't be read: {exc}.") from None


def _side_price(info: object) -> Decimal:
    return money(info.get("Price")) if isinstance(info, dict) else Decimal(0)


def _levels(value: object) -> tuple[Level, ...]:
    if not isinstance(value, list):
        raise Unreadable("no list of levels")
    levels = []
    for level in value[:LEVELS]:
        if not isinstance(level, dict):
            raise Unreadable("a level is not an object")
        levels.append(
            Level(
                price=money(level.get("Price")),
                quantity=whole_or(level.get("Size"), 0),
                orders=whole_or(level.get("TotalOrders"), 0),
            )
        )
    return tuple(levels)


def _best(levels: tuple[Level, ...]) -> Decimal:
    return levels[0].price if levels else Decimal(0)


def _name(instrument: InstrumentRef) -> str:
    return f"{instrument.exchange.value} {instrument.token}"


# Candles ---------------------------------------------------------------------------------------


def chunks(start: date, end: date, days: int) -> Iterator[tuple[date, date]]:
    """The dates from `start` to `end` in runs of `days`, both inclusive: no gap, no overlap."""
    while start <= end:
        last = min(start + timedelta(days=days - 1), end)
        yield start, last
        start = last + timedelta(days=1)


def ohlc_params(segment: int, token: str, start: date, end: date, interval: str) -> dict[str, str]:
    """The query of `GET /instruments/ohlc` for whole days, both inclusive (§8.6)."""
    return {
        "exchangeSegment": str(segment),
        "exchangeInstrumentID": token,
        "startTime": f"{MONTHS[start.month - 1]} {start:%d %Y} 000000",
        "endTime": f"{MONTHS[end.month - 1]} {end:%d %Y} 235959",
        "compressionValue": COMPRESSION[interval],
    }


def candle_rows(result: object, segment: int, token: str) -> list[list[str]]:
    """The bars of one answer, split into their fields; [] when it holds none (§8.6).

    Raises when the answer names another instrument than the one that was asked for.
    """
    if not isinstance(result, dict):
        raise ProtocolError("The broker's history is not an object.")
    named = (text(result.get("exchangeSegment")), text(result.get("exchangeInstrumentID")))
    if any(named) and named != (str(segment), token):
        raise ProtocolError("The broker answered with the history of another instrument.")
    value = result.get(wire.CANDLES[0], result.get(wire.CANDLES[1]))
    if not isinstance(value, str):
        raise ProtocolError("The broker's history holds no candles text.")
    return [bar.split("|") for bar in value.split(",") if bar.strip()]


def candles_from(bars: Iterable[list[str]], interval: str, start: date, end: date) -> list[Candle]:
    """Bars as candles, oldest first, one a bucket, only of the dates that were asked for.

    Bars are stamped within their bucket (minute bars at its last second); where the buckets begin
    is read off the stamps themselves, so that a session's 09:15 is kept and a last, shorter bar
    begins where the one before it ended.
    """
    try:
        stamped = [(candle_time(bar[0]), bar) for bar in bars]
        size = timedelta(0) if interval == DAY else timedelta(seconds=int(COMPRESSION[interval]))
        phase = _phase([stamp for stamp, _ in stamped], size)
        found: dict[datetime, Candle] = {}
        for stamp, bar in stamped:
            if start <= stamp.date() <= end:
                opened = _bucket(stamp, size, phase)
                found[opened] = _candle(opened, bar)
    except (Unreadable, IndexError) as exc:
        raise ProtocolError(f"The broker's history can't be read: {exc}.") from None
    return [found[opened] for opened in sorted(found)]


def _midnight(stamp: datetime) -> datetime:
    return datetime(stamp.year, stamp.month, stamp.day, tzinfo=IST)


def _phase(stamps: list[datetime], size: timedelta) -> timedelta:
    """How far into a bucket's length, counted from midnight, most bars end (or begin)."""
    if not size or not stamps:
        return timedelta(0)
    tally = Counter(
        (stamp + timedelta(seconds=stamp.second == 59) - _midnight(stamp)) % size
        for stamp in stamps
    )
    return tally.most_common(1)[0][0]


def _bucket(stamp: datetime, size: timedelta, phase: timedelta) -> datetime:
    midnight = _midnight(stamp)
    if not size:
        return midnight
    return stamp - (stamp - midnight - phase) % size


def _candle(opened: datetime, bar: list[str]) -> Candle:
    return Candle(
        opened_at=opened,
        open=money(bar[1]),
        high=money(bar[2]),
        low=money(bar[3]),
        close=money(bar[4]),
        volume=whole_or(bar[5], 0),
        oi=whole_or(bar[6], 0) if len(bar) > 6 else 0,
    )
