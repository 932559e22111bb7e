"""Books as people read them: symbols by token, ours by tag, whose P&L, errors not emptiness."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from broker.errors import OutcomeUnknown, SessionExpired
from broker.models import (
    Exchange,
    Holding,
    InstrumentRef,
    OrderState,
    OrderType,
    Position,
    Product,
    Side,
)
from database import journal
from database.errors import DatabaseUnavailable
from services.errors import NotFoundHere, UnknownSymbol
from services.portfolio import PnlSource, net_quantity, profit_of
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft, ref_of, request

INFY = (ref_of("INFY"), Product.MIS)


def test_defect_19_orders_show_symbols_and_whether_they_are_ours(trader: Trader) -> None:
    placed = trader.desk.orders.place(trader.principal, trader.account, draft(strategy="s1"))
    trader.venue.add(request(Side.SELL, 5, "TCS", order_type=OrderType.LIMIT, price="9"), "T")
    ours, foreign = trader.desk.portfolio.orders(trader.account)
    assert (ours.symbol, ours.exchange, ours.order_id) == ("INFY", "NSE", placed.order_id)
    assert (ours.ours, ours.reference, ours.strategy) == (True, placed.reference, "s1")
    assert (ours.state, ours.filled_quantity) == (OrderState.FILLED, 10)
    assert (foreign.symbol, foreign.ours, foreign.reference) == ("TCS", False, "")


def test_an_instrument_outside_the_contract_keeps_the_brokers_name(trader: Trader) -> None:
    order = request(Side.BUY, 1)
    unknown = replace(order, instrument=InstrumentRef(Exchange.NSE, "77"))
    trader.venue.add(unknown, "")
    view = trader.desk.portfolio.orders(trader.account)[0]
    assert (view.symbol, view.known) == ("BROKER 77", False)


@pytest.mark.parametrize("book", ["orders", "trades", "positions", "holdings", "funds"])
def test_defect_05_a_book_that_cannot_be_read_is_an_error(trader: Trader, book: str) -> None:
    trader.venue.script(book, "fail")
    with pytest.raises(OutcomeUnknown, match="HTML page"):
        getattr(trader.desk.portfolio, book)(trader.account)


@pytest.mark.parametrize("book", ["orders", "trades", "positions", "holdings"])
def test_an_empty_book_is_an_empty_answer(trader: Trader, book: str) -> None:
    assert getattr(trader.desk.portfolio, book)(trader.account) == []


def test_a_dead_token_is_renewed_for_a_read(trader: Trader) -> None:
    trader.venue.script("orders", "dead")
    assert trader.desk.portfolio.orders(trader.account) == []
    trader.stack.sessions.logout(trader.account)
    with pytest.raises(SessionExpired):
        trader.desk.portfolio.orders(trader.account, fresh=True)


def test_a_copy_of_a_second_serves_readers_and_a_fresh_read_decides(
    trader: Trader, clock: ManualClock
) -> None:
    portfolio = trader.desk.portfolio
    first = portfolio.orders(trader.account)
    assert portfolio.orders(trader.account) is first
    assert trader.venue.calls("orders") == 1
    portfolio.orders(trader.account, fresh=True)
    assert trader.venue.calls("orders") == 2
    clock.advance(1.5)
    portfolio.orders(trader.account)
    assert trader.venue.calls("orders") == 3
    portfolio.holdings(trader.account)
    clock.advance(9.0)
    portfolio.holdings(trader.account)
    assert trader.venue.calls("holdings") == 1


def test_an_order_just_placed_is_in_the_book_at_once(trader: Trader) -> None:
    assert trader.desk.portfolio.orders(trader.account) == []
    trader.desk.orders.place(trader.principal, trader.account, draft())
    assert len(trader.desk.portfolio.orders(trader.account)) == 1


def test_one_order_is_found_by_id_or_reference(trader: Trader) -> None:
    placed = trader.desk.orders.place(trader.principal, trader.account, draft())
    portfolio = trader.desk.portfolio
    assert portfolio.order(trader.account, placed.order_id).reference == placed.reference
    assert portfolio.order(trader.account, placed.reference).order_id == placed.order_id
    with pytest.raises(NotFoundHere, match="Order 99 not found"):
        portfolio.order(trader.account, "99")
    trader.venue.add(request(Side.BUY, 1), "")
    with pytest.raises(NotFoundHere):
        portfolio.order(trader.account, "", fresh=True)


def test_tags_are_asked_for_once(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    trader.desk.orders.place(trader.principal, trader.account, draft())
    trader.venue.add(request(Side.BUY, 1), "FOREIGN")
    asked: list[int] = []
    original = journal.by_tags

    def by_tags(conn: object, tags: list[str]) -> object:
        asked.append(len(tags))
        return original(conn, tags)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "by_tags", by_tags)
    for _ in range(3):
        trader.desk.portfolio.orders(trader.account, fresh=True)
    assert asked == [2]


def test_a_journal_that_is_gone_costs_the_strategy_not_the_book(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.desk.orders.place(trader.principal, trader.account, draft())

    def gone(conn: object, tags: object) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(journal, "by_tags", gone)
    view = trader.desk.portfolio.orders(trader.account)[0]
    assert (view.symbol, view.ours) == ("INFY", False)


def test_trades_tell_their_value(trader: Trader) -> None:
    trader.desk.orders.place(trader.principal, trader.account, draft(strategy="s1"))
    trader.venue.add(request(Side.SELL, 5, "TCS"), "")
    ours, foreign = trader.desk.portfolio.trades(trader.account)
    assert (ours.symbol, ours.quantity, ours.value) == ("INFY", 10, Decimal(1000))
    assert (ours.strategy, foreign.strategy, foreign.ours) == ("s1", "", False)


# Positions --------------------------------------------------------------------------------------


def test_positions_are_valued_at_the_last_price(trader: Trader) -> None:
    trader.venue.opening[INFY] = 10
    view = trader.desk.portfolio.positions(trader.account)[0]
    assert (view.symbol, view.quantity, view.ltp) == ("INFY", 10, Decimal(110))
    assert (view.pnl, view.pnl_source) == (Decimal(100), PnlSource.COMPUTED)


def test_positions_are_shown_without_prices_where_there_are_none(trader: Trader) -> None:
    trader.venue.opening[INFY] = 10
    trader.venue.script("quotes", "fail")
    view = trader.desk.portfolio.positions(trader.account)[0]
    assert (view.quantity, view.ltp, view.pnl) == (10, Decimal(0), Decimal(0))
    assert view.pnl_source is PnlSource.REALISED


def test_a_flat_book_asks_for_no_prices(trader: Trader) -> None:
    trader.venue.opening[INFY] = 0
    trader.desk.portfolio.positions(trader.account)
    assert trader.venue.calls("quotes") == 0


def position(**values: object) -> Position:
    base = Position(
        INFY[0], "X", INFY[1], 10, 30, 20, Decimal(100), Decimal(105), Decimal(1), None, None, ""
    )
    return replace(base, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "price", "pnl", "source"),
    [
        (position(), "110", "200", PnlSource.COMPUTED),  # 20 × 5 closed, 10 × 10 open
        (position(), "0", "100", PnlSource.REALISED),
        (position(multiplier=Decimal(10)), "110", "2000", PnlSource.COMPUTED),
        (position(quantity=0, sell_quantity=30), "0", "150", PnlSource.COMPUTED),
        (position(quantity=-10, buy_quantity=20, sell_quantity=30), "110", "50",
         PnlSource.COMPUTED),
        (position(realised=Decimal(7), unrealised=Decimal(-3)), "110", "4", PnlSource.BROKER),
        (position(realised=Decimal(7)), "110", "200", PnlSource.COMPUTED),
    ],
)
def test_whose_profit_it_is(row: Position, price: str, pnl: str, source: PnlSource) -> None:
    assert profit_of(row, Decimal(price)) == (Decimal(pnl), source)


def test_open_position_is_the_signed_sum_of_one_instrument_and_product(trader: Trader) -> None:
    trader.venue.opening.update({INFY: -7, (INFY[0], Product.CNC): 3})
    portfolio = trader.desk.portfolio
    assert portfolio.open_position(trader.account, "INFY", "NSE", Product.MIS) == -7
    assert portfolio.open_position(trader.account, "TCS", "NSE", Product.MIS) == 0
    with pytest.raises(UnknownSymbol):
        portfolio.open_position(trader.account, "NOPE", "NSE", Product.MIS)
    trader.venue.script("positions", "fail")
    with pytest.raises(OutcomeUnknown):
        portfolio.open_position(trader.account, "INFY", "NSE", Product.MIS, fresh=True)
    assert net_quantity([position(), position(quantity=-4)], INFY[0], INFY[1]) == 6


# Holdings and funds -----------------------------------------------------------------------------


def test_holdings_are_valued_where_cost_and_price_are_known(trader: Trader) -> None:
    infy, nowhere = ref_of("INFY"), InstrumentRef(Exchange.BSE, "5")
    trader.venue.holdings_held = [
        Holding("INE009A01021", (nowhere, infy), 5, 2, Decimal(100), ""),
        Holding("INE467B01029", (ref_of("TCS"),), 5, 0, Decimal(0), ""),
        Holding("INE000000000", (nowhere,), 5, 0, Decimal(90), ""),
        Holding("INE111111111", (), 5, 0, Decimal(90), ""),
    ]
    first, free, strange, bare = trader.desk.portfolio.holdings(trader.account)
    assert (first.symbol, first.exchange, first.sellable) == ("INFY", "NSE", 3)
    assert (first.ltp, first.pnl, first.pnl_percent) == (Decimal(110), Decimal(50), Decimal(10))
    assert (free.symbol, free.pnl, free.pnl_percent) == ("TCS", Decimal(0), Decimal(0))
    assert (strange.symbol, strange.exchange, strange.known) == ("INE000000000", "BSE", False)
    assert (bare.symbol, bare.exchange, bare.ltp) == ("INE111111111", "", Decimal(0))


def test_funds_are_the_venues(trader: Trader) -> None:
    assert trader.desk.portfolio.funds(trader.account).available == Decimal(1000)
