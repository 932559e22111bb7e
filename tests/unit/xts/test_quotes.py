"""Quotes, depth and candles off the wire (XTS reference §8.4, §8.6, §10)."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProtocolError
from broker.models import Exchange, InstrumentRef, Level
from broker.xts import quotes
from broker.xts.values import IST
from tests.support.xts import DEPTH, NESTED_QUOTE, QUOTE, quotes_list

REF = InstrumentRef(Exchange.NSE, "2885")


def only(item: dict[str, Any], code: int = 1501) -> quotes.Payload:
    (payload,) = quotes.payloads(quotes_list(item), code)
    return payload


@pytest.mark.parametrize("row", [QUOTE, NESTED_QUOTE])
def test_a_quote_flat_or_nested(row: dict[str, Any]) -> None:
    quote = quotes.quote_from(only(row), REF, 5)
    assert quote.last_price == Decimal("1254.5")
    assert (quote.open, quote.high, quote.low) == (
        Decimal("1253.95"),
        Decimal(1262),
        Decimal("1231.6"),
    )
    assert (quote.bid, quote.ask) == (Decimal("1254.15"), Decimal("1254.5"))
    assert (quote.volume, quote.last_quantity, quote.oi) == (6332534, 4, 5)
    assert quote.previous_close == Decimal("1251.15")
    assert quote.traded_at == datetime(2026, 8, 3, 10, 15, tzinfo=IST)


def test_identity_is_read_from_the_answer() -> None:
    payload = only({**QUOTE, "ExchangeInstrumentID": "2885", "ExchangeSegment": "1"})
    assert (payload.segment, payload.token) == (1, "2885")


def test_zeros_are_zeros_and_nothing_is_invented() -> None:
    index = {**QUOTE, "BidInfo": None, "AskInfo": {"Price": 0}, "LastTradedTime": 0}
    quote = quotes.quote_from(only(index), REF)
    assert (quote.bid, quote.ask, quote.oi, quote.traded_at) == (0, 0, None, None)


def test_other_messages_are_left_out_and_objects_are_taken() -> None:
    result = quotes_list(QUOTE, {**QUOTE, "MessageCode": 1510}, text=False)
    assert len(list(quotes.payloads(result, 1501))) == 1


@pytest.mark.parametrize(
    "result",
    [
        {},
        [],
        {"listQuotes": None},
        {"listQuotes": ["{broken"]},
        {"listQuotes": ["[1]"]},
        {"listQuotes": [5]},
        {"listQuotes": [json.dumps({"MessageCode": 1501})]},
        {"listQuotes": ["[" * 100_000]},
    ],
)
def test_shapes_never_seen_raise(result: object) -> None:
    with pytest.raises(ProtocolError):
        list(quotes.payloads(result, 1501))


def test_an_unreadable_price_raises() -> None:
    with pytest.raises(ProtocolError, match="NSE 2885"):
        quotes.quote_from(only({**QUOTE, "LastTradedPrice": "dear"}), REF)


def test_depth_keeps_five_levels_each() -> None:
    depth = quotes.depth_from(only(DEPTH, 1502), REF, 7)
    assert len(depth.bids) == len(depth.asks) == 5
    assert depth.bids[0] == Level(Decimal(1253), 10, 1)
    assert (depth.total_bid_quantity, depth.total_ask_quantity) == (488449, 710644)
    assert depth.quote.oi == 7
    assert depth.quote.bid == Decimal("1254.15"), "the touchline's own"


def test_depth_without_a_best_price_in_its_touchline_takes_the_best_level() -> None:
    line = {k: v for k, v in DEPTH["Touchline"].items() if k not in ("BidInfo", "AskInfo")}
    depth = quotes.depth_from(only({**DEPTH, "Touchline": line}, 1502), REF)
    assert (depth.quote.bid, depth.quote.ask) == (1253, 1249)
    empty = quotes.depth_from(only({**DEPTH, "Touchline": line, "Bids": [], "Asks": []}, 1502), REF)
    assert (empty.quote.bid, empty.bids) == (0, ())


@pytest.mark.parametrize("bids", [None, "x", [5], [{"Price": "x"}]])
def test_unreadable_levels_raise(bids: object) -> None:
    with pytest.raises(ProtocolError):
        quotes.depth_from(only({**DEPTH, "Bids": bids}, 1502), REF)


def test_open_interest() -> None:
    payload = only({**QUOTE, "MessageCode": 1510, "OpenInterest": "1,200"}, 1510)
    assert quotes.open_interest(payload) == 1200
    with pytest.raises(ProtocolError):
        quotes.open_interest(only({**QUOTE, "MessageCode": 1510, "OpenInterest": "x"}, 1510))


# Candles ---------------------------------------------------------------------------------------

EPOCH = datetime(1970, 1, 1, tzinfo=IST)


def stamp(at: datetime) -> int:
    return round((at - EPOCH).total_seconds())


def bars_of(day: date, minutes: int, end: tuple[int, int] = (15, 30)) -> list[list[str]]:
    """Bars as the wire stamps them: at the last second of each, the last one shorter."""
    opened = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
    over = opened.replace(hour=end[0], minute=end[1])
    bars = []
    while opened < over:
        closing = min(opened + timedelta(minutes=minutes), over) - timedelta(seconds=1)
        bars.append([str(stamp(closing)), "10", "12", "9.5", "11", "100", "0", ""])
        opened += timedelta(minutes=minutes)
    return bars


MONDAY = date(2026, 8, 3)


@pytest.mark.parametrize(
    ("interval", "minutes", "count"),
    [
        ("1m", 1, 375),
        ("3m", 3, 125),
        ("5m", 5, 75),
        ("10m", 10, 38),
        ("15m", 15, 25),
        ("30m", 30, 13),
        ("1h", 60, 7),
    ],
)
def test_bars_open_where_the_session_does(interval: str, minutes: int, count: int) -> None:
    candles = quotes.candles_from(bars_of(MONDAY, minutes), interval, MONDAY, MONDAY)
    opened = [candle.opened_at for candle in candles]
    begin = datetime(2026, 8, 3, 9, 15, tzinfo=IST)
    assert opened == [begin + timedelta(minutes=minutes * n) for n in range(count)]


def test_bars_on_clock_hours_stay_there() -> None:
    hours = [[str(stamp(datetime(2026, 8, 3, h, 59, 59, tzinfo=IST))), *"1111"] for h in (9, 10)]
    bars = [[*bar, "5", "6"] for bar in hours]
    candles = quotes.candles_from(bars, "1h", MONDAY, MONDAY)
    assert [candle.opened_at.hour for candle in candles] == [9, 10]
    assert [(candle.volume, candle.oi) for candle in candles] == [(5, 6), (5, 6)]


def test_bars_stamped_at_their_beginning_are_understood() -> None:
    begin = datetime(2026, 8, 3, 9, 15, tzinfo=IST)
    bars = [[str(stamp(begin + timedelta(minutes=5 * n))), *"12345", "0"] for n in range(4)]
    candles = quotes.candles_from(bars, "5m", MONDAY, MONDAY)
    assert [c.opened_at for c in candles] == [begin + timedelta(minutes=5 * n) for n in range(4)]


def test_daily_bars_and_bars_of_other_days() -> None:
    days = [datetime(2026, 8, day, tzinfo=IST) for day in (5, 3, 4, 2)]
    bars = [[str(stamp(at)), "1", "2", "0.5", "1.5", "1,000"] for at in days]
    candles = quotes.candles_from(bars, "D", MONDAY, date(2026, 8, 4))
    assert [candle.opened_at for candle in candles] == [days[1], days[2]]
    assert candles[0].volume == 1000
    assert candles[0].oi == 0


@pytest.mark.parametrize("bar", [["x"], ["1785752099", "1"], ["1785752099", "a", *"2345"]])
def test_unreadable_bars_raise(bar: list[str]) -> None:
    with pytest.raises(ProtocolError):
        quotes.candles_from([bar], "1m", MONDAY, MONDAY)


@given(
    start=st.dates(date(2020, 1, 1), date(2026, 1, 1)),
    length=st.integers(0, 400),
    days=st.integers(1, 90),
)
def test_chunks_leave_no_gap_and_no_overlap(start: date, length: int, days: int) -> None:
    end = start + timedelta(days=length)
    covered = [
        first + timedelta(days=n)
        for first, last in quotes.chunks(start, end, days)
        for n in range((last - first).days + 1)
    ]
    assert covered == [start + timedelta(days=n) for n in range(length + 1)]


def test_no_chunk_of_nothing() -> None:
    assert list(quotes.chunks(MONDAY, date(2026, 8, 1), 7)) == []


def test_the_query_of_whole_days() -> None:
    assert quotes.ohlc_params(1, "2885", MONDAY, MONDAY, "5m") == {
        "exchangeSegment": "1",
        "exchangeInstrumentID": "2885",
        "startTime": "Aug 03 2026 000000",
        "endTime": "Aug 03 2026 235959",
        "compressionValue": "300",
    }


@pytest.mark.parametrize("key", ["dataReponse", "dataResponse"])
def test_the_misspelt_key_and_the_trailing_pipe(key: str) -> None:
    result = {
        "exchangeSegment": "1",
        "exchangeInstrumentID": "2885",
        key: "1785748559|1254.0|1255.1|1252.3|1254.9|120345|0|,",
    }
    (bar,) = quotes.candle_rows(result, 1, "2885")
    (candle,) = quotes.candles_from([bar], "1m", MONDAY, MONDAY)
    assert candle.opened_at == datetime(2026, 8, 3, 9, 15, tzinfo=IST)
    assert (candle.close, candle.volume) == (Decimal("1254.9"), 120345)


def test_an_empty_history() -> None:
    assert quotes.candle_rows({"dataReponse": ""}, 1, "2885") == []
    assert quotes.candles_from([], "1m", MONDAY, MONDAY) == []


@pytest.mark.parametrize(
    "result",
    [
        [],
        {},
        {"dataReponse": None},
        {"exchangeSegment": "1", "exchangeInstrumentID": "11536", "dataReponse": ""},
        {"exchangeSegment": "11", "exchangeInstrumentID": "2885", "dataReponse": ""},
    ],
)
def test_the_history_of_another_instrument_or_shape_raises(result: object) -> None:
    with pytest.raises(ProtocolError):
        quotes.candle_rows(result, 1, "2885")
