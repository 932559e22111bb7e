"""The self-check's order: far below the market, found in the book, cancelled, or named."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from broker.errors import Refused
from broker.models import OrderState, OrderType, Product, Side
from services.errors import InvalidRequest, UnknownSymbol
from services.market_data import MarketDataService
from services.trial_order import TrialOrderService
from tests.support.trading import Trader


@pytest.fixture
def trials(trader: Trader) -> TrialOrderService:
    symbols: object = trader.symbols
    market = MarketDataService(
        trader.stack.sessions, trader.stack.accounts, symbols, trader.clock  # type: ignore[arg-type]
    )
    return TrialOrderService(trader.desk.orders, trader.desk.portfolio, market, trader.clock)


def run(trader: Trader, trials: TrialOrderService) -> list[str]:
    trial = trials.plan(trader.account, "INFY", "NSE")
    return trials.run(trader.principal, trader.account, trial, request_id="r1")


def test_the_order_is_the_smallest_one_far_below_the_market(
    trader: Trader, trials: TrialOrderService
) -> None:
    trial = trials.plan(trader.account, "INFY", "NSE")
    assert trial.draft.side is Side.BUY
    assert trial.draft.order_type is OrderType.LIMIT
    assert (trial.draft.quantity, trial.draft.price) == (1, Decimal("99.00"))
    words = trial.in_words(trader.account)
    assert "BUY 1 INFY on NSE at 99.0 (last price 110), MIS" in words
    assert "at the REAL exchange" in words
    future = trials.plan(trader.account, "NIFTY26NOVFUT", "NFO").draft
    assert (future.quantity, future.product) == (65, Product.NRML)
    assert trader.venue.placed == []


def test_the_price_stays_within_the_days_band(
    trader: Trader, trials: TrialOrderService
) -> None:
    rows = trader.symbols.rows
    trader.symbols.rows = [
        replace(row, price_low=Decimal("105.01")) if row.symbol == "INFY" else row for row in rows
    ]
    assert trials.plan(trader.account, "INFY", "NSE").draft.price == Decimal("105.05")
    trader.symbols.rows = [
        replace(row, price_low=Decimal("110")) if row.symbol == "INFY" else row for row in rows
    ]
    with pytest.raises(InvalidRequest, match="no room below the market"):
        trials.plan(trader.account, "INFY", "NSE")


def test_what_does_not_trade_is_no_trial(trader: Trader, trials: TrialOrderService) -> None:
    with pytest.raises(InvalidRequest, match="choose one that trades"):
        trials.plan(trader.account, "NIFTY", "NSE_INDEX")
    with pytest.raises(UnknownSymbol):
        trials.plan(trader.account, "NOPE", "NSE")


def test_an_order_that_comes_and_goes_is_no_fault(
    trader: Trader, trials: TrialOrderService
) -> None:
    assert run(trader, trials) == []
    [row] = trader.venue.book
    assert row.state is OrderState.CANCELLED
    assert len(trader.venue.placed) == 1
    assert trader.intents()[0].strategy == "self-check"


def test_an_order_that_is_silently_dropped_is_found_out(
    trader: Trader, trials: TrialOrderService
) -> None:
    """Field defect 20: accepted under the wrong client id, and never in the book."""
    trader.venue.script("place", "drop")
    faults = run(trader, trials)
    assert "the order book does not show it. Is the client id right?" in faults[0]
    assert len(trader.venue.placed) == 1


def test_a_rejection_is_told_in_the_brokers_words(
    trader: Trader, trials: TrialOrderService
) -> None:
    trader.venue.script("place", "reject_later")
    [fault] = run(trader, trials)
    assert fault.endswith("was rejected: RED:Margin Shortfall:INR 5")
    trader.venue.script("place", "refuse")
    with pytest.raises(Refused, match="Margin Exceeds"):
        run(trader, trials)


def test_an_order_that_stays_open_is_named(trader: Trader, trials: TrialOrderService) -> None:
    trader.venue.script("cancel", "refuse")
    [fault] = run(trader, trials)
    order_id = trader.venue.book[0].order_id
    assert fault.startswith(f"Order {order_id} could not be cancelled. ")
    trader.venue.effective = False
    [fault] = run(trader, trials)
    assert fault == f"Order {trader.venue.book[1].order_id} still stands in the book: cancel it."
