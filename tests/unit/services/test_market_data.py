"""Quotes, depth and history by symbol: one bad pair spoils no other, one read serves many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal

import pytest

from broker.base import Capabilities, Deadline
from broker.errors import NotSupported, ProtocolError
from broker.models import Exchange, InstrumentRef
from services.errors import InvalidRequest, UnknownSymbol
from services.market_data import MarketDataService
from services.symbols import SymbolRecord
from tests.support.clocks import ManualClock
from tests.support.stacks import Stack
from tests.support.venue import Venue, VenueBroker

TOKENS = {"RELIANCE": "2885", "INFY": "1594", "SILENT": "silent"}
FIRST, LAST = date(2026, 11, 1), date(2026, 11, 20)


class Symbols:
    """Knows three symbols of NSE."""

    def require(self, broker: str, exchange: str, symbol: str) -> SymbolRecord:
        if exchange != "NSE" or symbol not in TOKENS:
            raise UnknownSymbol(f"Token not found for symbol '{symbol}' on '{exchange}'.")
        ref = InstrumentRef(Exchange.NSE, TOKENS[symbol])
        values = dict.fromkeys(SymbolRecord._fields) | {"symbol": symbol, "ref": ref}
        return SymbolRecord(**values)  # type: ignore[arg-type]


@pytest.fixture
def market(stack: Stack, clock: ManualClock) -> MarketDataService:
    symbols: object = Symbols()
    return MarketDataService(
        stack.sessions, stack.accounts, symbols, clock  # type: ignore[arg-type]
    )


def test_a_quote_with_its_instrument(stack: Stack, market: MarketDataService) -> None:
    view = market.quote(stack.account, "RELIANCE", "NSE")
    assert view.record.symbol == "RELIANCE"
    assert view.quote.last_price == Decimal(2885)


def test_unknown_symbols_cost_no_call(
    stack: Stack, market: MarketDataService, venue: Venue
) -> None:
    for call in (market.quote, market.depth):
        with pytest.raises(UnknownSymbol, match=r"^Token not found for symbol 'NOPE' on 'NSE'"):
            call(stack.account, "NOPE", "NSE")
    assert venue.logins == []


def test_an_instrument_without_a_quote_is_an_error_and_never_a_zero(
    stack: Stack, market: MarketDataService
) -> None:
    with pytest.raises(ProtocolError, match="no quote for 'SILENT' on 'NSE'"):
        market.quote(stack.account, "SILENT", "NSE")


def test_many_quotes_in_request_order(
    stack: Stack, market: MarketDataService, venue: Venue
) -> None:
    pairs = [("INFY", "NSE"), ("NOPE", "NSE"), ("RELIANCE", "NSE"), ("SILENT", "NSE"),
             ("INFY", "NSE")]
    rows = market.quotes(stack.account, pairs)
    assert [(row.symbol, row.exchange) for row in rows] == pairs
    prices = [row.quote.last_price if row.quote else None for row in rows]
    assert prices == [Decimal(1594), None, Decimal(2885), None, Decimal(1594)]
    assert [row.record is None for row in rows] == [False, True, False, False, False]
    assert rows[1].error == "Token not found for symbol 'NOPE' on 'NSE'."
    assert rows[3].error == "The broker has no quote for 'SILENT' on 'NSE'."
    assert len(venue.quotes_asked) == 1
    assert len(venue.quotes_asked[0]) == 3


def test_only_unknown_symbols_ask_nobody(
    stack: Stack, market: MarketDataService, venue: Venue
) -> None:
    [row] = market.quotes(stack.account, [("NOPE", "NSE")])
    assert row.record is None
    assert venue.logins == []


def test_copies_serve_for_a_second(
    stack: Stack, market: MarketDataService, venue: Venue, clock: ManualClock
) -> None:
    market.quote(stack.account, "INFY", "NSE")
    market.quotes(stack.account, [("INFY", "NSE"), ("RELIANCE", "NSE")])
    clock.advance(1.1)
    market.quote(stack.account, "INFY", "NSE")
    tokens = [[ref.token for ref in asked] for asked in venue.quotes_asked]
    assert tokens == [["1594"], ["2885"], ["1594"]]


def test_many_threads_make_one_call(
    stack: Stack, market: MarketDataService, venue: Venue
) -> None:
    account = stack.account
    stack.sessions.connection(account)
    venue.gate = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(market.quote, account, "INFY", "NSE") for _ in range(8)]
        while not venue.quotes_asked:
            assert not any(future.done() for future in asked)
        venue.gate.set()
        assert {future.result(10).quote.last_price for future in asked} == {Decimal(1594)}
    assert len(venue.quotes_asked) == 1


def test_depth_and_history(stack: Stack, market: MarketDataService) -> None:
    found = market.depth(stack.account, "INFY", "NSE")
    assert found.record.symbol == "INFY"
    assert found.depth.quote.last_price == Decimal(1594)
    assert market.intervals(stack.account) == ("1m", "5m", "D")
    assert market.history(stack.account, "INFY", "NSE", "D", FIRST, LAST) == []


@pytest.mark.parametrize(
    ("interval", "first", "last", "field"),
    [("7m", FIRST, LAST, "interval"), ("D", LAST, FIRST, "end_date"),
     ("D", date(1990, 1, 1), LAST, "start_date")],
)
def test_bad_histories_are_refused_by_field(
    stack: Stack, market: MarketDataService, venue: Venue, interval: str, first: date, last: date,
    field: str,
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        market.history(stack.account, "INFY", "NSE", interval, first, last)
    assert set(caught.value.errors) == {field}
    assert venue.logins == []


@pytest.fixture
def no_history(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = VenueBroker.capabilities
    monkeypatch.setattr(VenueBroker, "capabilities", Capabilities(
        known.exchanges, known.products, known.order_types
    ))
    yield


def test_a_broker_without_history_says_so(
    stack: Stack, market: MarketDataService, no_history: None
) -> None:
    with pytest.raises(NotSupported):
        market.history(stack.account, "INFY", "NSE", "D", FIRST, LAST)


def test_a_dead_token_is_renewed_for_quotes_too(
    stack: Stack, market: MarketDataService, venue: Venue, clock: ManualClock
) -> None:
    stack.sessions.connection(stack.account)
    venue.kill()
    deadline = Deadline(clock, 5)
    assert market.quote(stack.account, "INFY", "NSE", deadline=deadline).quote.volume == 1
    assert len(venue.logins) == 2
