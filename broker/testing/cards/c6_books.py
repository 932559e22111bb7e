"""C6 Books: every state, partial fills, empty against failure, loose numbers."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from broker.base import Operation
from broker.errors import BrokerError, NotFound
from broker.models import OrderState, OrderType, Product, Side
from broker.testing.cards.base import READ_TROUBLES, Cards, MakeDesk, settle, suffer
from broker.testing.desk import Desk, change_of
from broker.testing.harness import BrokerHarness, Trouble

Read = Callable[[Desk], object]

READS: dict[Operation, Read] = {
    Operation.ORDERS: lambda desk: desk.broker.orders(deadline=desk.deadline(0.6)),
    Operation.TRADES: lambda desk: desk.broker.trades(deadline=desk.deadline(0.6)),
    Operation.POSITIONS: lambda desk: desk.broker.positions(deadline=desk.deadline(0.6)),
    Operation.HOLDINGS: lambda desk: desk.broker.holdings(deadline=desk.deadline(0.6)),
    Operation.FUNDS: lambda desk: desk.broker.funds(deadline=desk.deadline(0.6)),
}
# Under these one and the same read is worth another try; the others would fail again.
HEALING = [Trouble.SERVER_ERROR, Trouble.CLOSED_BEFORE, Trouble.HALF_BODY_AFTER]


class BookCards(Cards):
    """C6."""

    def test_c6_010_empty_is_an_answer(self, desk: Desk) -> None:
        assert desk.broker.orders(deadline=desk.deadline()) == []
        assert desk.broker.trades(deadline=desk.deadline()) == []
        assert desk.broker.positions(deadline=desk.deadline()) == []
        assert desk.broker.positions(deadline=desk.deadline(), day=True) == []

    @pytest.mark.parametrize("operation", list(READS))
    @pytest.mark.parametrize("trouble", READ_TROUBLES, ids=lambda each: each.name.lower())
    def test_c6_020_failure_is_never_an_empty_book(
        self, desk: Desk, operation: Operation, trouble: Trouble
    ) -> None:
        suffer(desk, trouble, operation)
        with pytest.raises(BrokerError) as caught:
            READS[operation](desk)
        assert caught.value.message.strip()
        settle(desk, trouble, operation)

    @pytest.mark.parametrize("trouble", HEALING, ids=lambda each: each.name.lower())
    def test_c6_030_read_is_repeated_and_heals(self, make: MakeDesk, trouble: Trouble) -> None:
        desk = make(retry_count=2)
        suffer(desk, trouble, Operation.FUNDS, times=2)
        desk.broker.funds(deadline=desk.deadline())
        assert desk.harness.requests(Operation.FUNDS) == 3

    def test_c6_040_repetition_is_bounded(self, make: MakeDesk) -> None:
        desk = make(retry_count=2)
        suffer(desk, Trouble.SERVER_ERROR, Operation.FUNDS)
        with pytest.raises(BrokerError):
            desk.broker.funds(deadline=desk.deadline())
        assert desk.harness.requests(Operation.FUNDS) == 3

    def test_c6_050_states_are_told_apart(self, desk: Desk, venue: BrokerHarness) -> None:
        resting = desk.place()
        waiting = desk.place(desk.terms(order_type=OrderType.STOP_LIMIT))
        filled = desk.place()
        venue.fill(filled, desk.equity.lot, desk.equity.last)
        rejected = desk.place()
        venue.reject(rejected, "16388")
        cancelled = desk.place()
        desk.cancel(cancelled, client=desk.order(cancelled).client)
        states = {order_id: order.state for order_id, order in desk.orders().items()}
        assert states == {
            resting: OrderState.OPEN,
            waiting: OrderState.TRIGGER_PENDING,
            filled: OrderState.FILLED,
            rejected: OrderState.REJECTED,
            cancelled: OrderState.CANCELLED,
        }
        assert desk.order(rejected).reason == "16388"

    def test_c6_060_changed_order_is_open(self, desk: Desk) -> None:
        order = desk.order(desk.place())
        desk.modify(change_of(order, quantity=order.quantity * 2))
        assert desk.order(order.order_id).state is OrderState.OPEN

    def test_c6_070_unknown_state_is_loud_and_stays_cancellable(
        self, desk: Desk, venue: BrokerHarness
    ) -> None:
        order_id = desk.place()
        venue.odd_state(order_id)
        order = desk.order(order_id)
        assert order.state is OrderState.UNRECOGNISED
        assert order.state.is_open and order.state_text
        assert desk.watch.anomalies
        assert desk.cancel(order_id, client=order.client) == order_id

    def test_c6_080_partial_fills_are_told_by_quantities(
        self, desk: Desk, venue: BrokerHarness
    ) -> None:
        lot, tick = desk.equity.lot, desk.equity.tick
        order = desk.order(desk.place(desk.terms(lots=4)))
        venue.fill(order.order_id, lot, order.price)
        venue.fill(order.order_id, lot * 2, order.price + tick * 3)
        partly = desk.order(order.order_id)
        assert partly.state is OrderState.OPEN
        assert (partly.quantity, partly.filled_quantity, partly.pending_quantity) == (
            lot * 4, lot * 3, lot,
        )
        assert partly.average_price == pytest.approx(order.price + tick * 2, abs=Decimal("0.01"))
        trades = desk.broker.trades(deadline=desk.deadline())
        assert sorted((trade.quantity, trade.price) for trade in trades) == [
            (lot, order.price), (lot * 2, order.price + tick * 3),
        ]
        assert {trade.order_id for trade in trades} == {order.order_id}
        assert len({trade.trade_id for trade in trades}) == 2
        assert all(trade.traded_at and trade.traded_at.tzinfo for trade in trades)

    def test_c6_090_order_row_says_what_was_placed(self, desk: Desk) -> None:
        for listed in desk.harness.listed():
            terms = desk.terms(listed, OrderType.STOP_LIMIT, side=Side.SELL, lots=2,
                               product=listed.products[-1])
            row = desk.order(desk.place(terms))
            assert row.instrument == terms.instrument
            assert (row.side, row.order_type, row.product) == (
                terms.side, terms.order_type, terms.product
            )
            assert (row.quantity, row.price, row.trigger_price) == (
                terms.quantity, terms.price, terms.trigger_price
            )
            assert (row.filled_quantity, row.pending_quantity) == (0, terms.quantity)
            assert row.average_price == 0
            assert row.placed_at and row.placed_at.tzinfo
            assert abs((desk.clock.now() - row.placed_at).total_seconds()) < 120

    def test_c6_100_positions_are_signed_and_averaged(
        self, desk: Desk, venue: BrokerHarness
    ) -> None:
        listed = desk.equity
        bought = desk.place(desk.terms(product=Product.MIS, lots=3))
        venue.fill(bought, listed.lot * 3, listed.last)
        (position,) = desk.broker.positions(deadline=desk.deadline())
        assert (position.instrument, position.product) == (listed.ref, Product.MIS)
        assert position.quantity == listed.lot * 3
        assert position.average_price == listed.last
        sold = desk.place(desk.terms(product=Product.MIS, side=Side.SELL, lots=5))
        venue.fill(sold, listed.lot * 5, listed.last + listed.tick)
        (position,) = desk.broker.positions(deadline=desk.deadline())
        assert position.quantity == -listed.lot * 2
        assert (position.buy_quantity, position.sell_quantity) == (
            listed.lot * 3, listed.lot * 5
        )

    def test_c6_110_carried_position_is_in_the_net_book_only(
        self, desk: Desk, venue: BrokerHarness
    ) -> None:
        listed = venue.listed()[-1]
        product = listed.products[-1]
        venue.set_position(0, listed.ref, product, -listed.lot * 2, listed.last)
        (position,) = desk.broker.positions(deadline=desk.deadline())
        assert (position.instrument, position.product, position.quantity) == (
            listed.ref, product, -listed.lot * 2,
        )
        day = desk.broker.positions(deadline=desk.deadline(), day=True)
        assert [row.quantity for row in day if row.quantity] == []

    def test_c6_120_funds_and_holdings_are_exact_amounts(self, desk: Desk) -> None:
        funds = desk.broker.funds(deadline=desk.deadline())
        for amount in (funds.available, funds.collateral, funds.utilised, funds.realised):
            assert isinstance(amount, Decimal) and amount.is_finite()
        assert funds.available > 0
        for holding in desk.broker.holdings(deadline=desk.deadline()):
            assert holding.isin and holding.instruments
            assert holding.quantity >= 0 and 0 <= holding.sellable <= holding.quantity
            assert isinstance(holding.average_price, Decimal)

    def test_c6_130_loose_numbers_are_read_exactly(
        self, desk: Desk, venue: BrokerHarness
    ) -> None:
        order = desk.order(desk.place(desk.terms(lots=3, product=Product.MIS)))
        venue.fill(order.order_id, desk.equity.lot, order.price)
        before = (
            desk.orders(),
            desk.broker.trades(deadline=desk.deadline()),
            desk.broker.positions(deadline=desk.deadline()),
            desk.broker.funds(deadline=desk.deadline()),
        )
        venue.loose_numbers()
        after = (
            desk.orders(),
            desk.broker.trades(deadline=desk.deadline()),
            desk.broker.positions(deadline=desk.deadline()),
            desk.broker.funds(deadline=desk.deadline()),
        )
        assert after == before

    def test_c6_140_history_is_oldest_first(self, desk: Desk, venue: BrokerHarness) -> None:
        order = desk.order(desk.place(desk.terms(lots=2)))
        desk.modify(change_of(order, price=order.price - desk.equity.tick))
        venue.fill(order.order_id, desk.equity.lot, order.price)
        reports = desk.broker.order_history(order.order_id, deadline=desk.deadline())
        assert len(reports) >= 3
        assert {report.order_id for report in reports} == {order.order_id}
        filled = [report.filled_quantity for report in reports]
        assert filled == sorted(filled)
        assert filled[-1] == desk.equity.lot
        assert reports[0].price == order.price

    def test_c6_150_history_of_an_unknown_order_is_not_found(self, desk: Desk) -> None:
        order_id = desk.place()
        with pytest.raises(NotFound):
            desk.broker.order_history("9" * len(order_id), deadline=desk.deadline())

    def test_c6_160_self_check_finds_nothing_wrong(self, desk: Desk) -> None:
        assert desk.broker.self_check(deadline=desk.deadline(15.0)) == []

    def test_c6_170_self_check_says_what_is_wrong(self, desk: Desk) -> None:
        suffer(desk, Trouble.SERVER_ERROR, Operation.FUNDS)
        found = desk.broker.self_check(deadline=desk.deadline(15.0))
        assert found and all(sentence.strip() for sentence in found)
