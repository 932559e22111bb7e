"""C5 Modify and cancel: one request, the same honest outcomes, and nobody else's order touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.base import Operation
from broker.errors import BrokerError, Fate, InvalidOrder, NotFound
from broker.models import OrderState, OrderType
from broker.testing.cards.base import SUBMIT_OUTCOMES, Cards, counted, suffer
from broker.testing.desk import Desk, change_of
from broker.testing.harness import Trouble

TRICKS = ["1&clientID=OTHER", "1?x=1", "../orders", "1 OR 1=1", "", "١٢٣", "1\r\nx: y", "9" * 200]

# A change that the venue drops in silence, or answers without an id, is no case of its own.
CHANGE_TROUBLES = [
    each for each in Trouble if each not in (Trouble.DROPPED_AFTER, Trouble.NO_ID_AFTER)
]


class ChangeCards(Cards):
    """C5."""

    def test_c5_010_new_terms_are_in_force(self, desk: Desk) -> None:
        order = desk.order(desk.place())
        price = order.price - desk.equity.tick * 4
        quantity = order.quantity * 3
        assert desk.modify(change_of(order, price=price, quantity=quantity)) == order.order_id
        changed = desk.order(order.order_id)
        assert (changed.price, changed.quantity) == (price, quantity)
        assert changed.state.is_open
        assert changed.tag == order.tag

    def test_c5_020_type_can_be_changed(self, desk: Desk) -> None:
        order = desk.order(desk.place())
        stop = desk.terms(order_type=OrderType.STOP_LIMIT)
        desk.modify(
            change_of(
                order, order_type=OrderType.STOP_LIMIT, price=stop.price,
                trigger_price=stop.trigger_price,
            )
        )
        changed = desk.order(order.order_id)
        assert changed.order_type is OrderType.STOP_LIMIT
        assert changed.trigger_price == stop.trigger_price
        assert changed.state is OrderState.TRIGGER_PENDING

    def test_c5_030_cancelled_is_cancelled(self, desk: Desk) -> None:
        order = desk.order(desk.place())
        assert desk.cancel(order.order_id, client=order.client) == order.order_id
        assert desk.order(order.order_id).state is OrderState.CANCELLED

    def test_c5_040_client_need_not_be_known(self, desk: Desk) -> None:
        order_id = desk.place()
        desk.cancel(order_id)
        assert desk.order(order_id).state is OrderState.CANCELLED

    def test_c5_050_partial_fill_survives_the_cancel(self, desk: Desk) -> None:
        order = desk.order(desk.place(desk.terms(lots=5)))
        desk.harness.fill(order.order_id, desk.equity.lot * 2, order.price)
        desk.cancel(order.order_id, client=order.client)
        cancelled = desk.order(order.order_id)
        assert cancelled.state is OrderState.CANCELLED
        assert cancelled.filled_quantity == desk.equity.lot * 2

    def test_c5_060_what_is_over_or_unknown_is_refused(self, desk: Desk) -> None:
        order = desk.order(desk.place())
        desk.cancel(order.order_id, client=order.client)
        unknown = "9" * len(order.order_id)
        attempts: list[Callable[[], str]] = [
            lambda: desk.cancel(order.order_id, client=order.client),
            lambda: desk.modify(change_of(order, price=order.price - desk.equity.tick)),
            lambda: desk.cancel(unknown, client=order.client),
            lambda: desk.modify(change_of(order, order_id=unknown)),
        ]
        for attempt in attempts:
            with pytest.raises(BrokerError) as caught:
                attempt()
            assert caught.value.fate is Fate.REFUSED, repr(caught.value)

    @pytest.mark.parametrize("order_id", TRICKS)
    def test_c5_070_order_id_is_data_and_never_a_request(self, desk: Desk, order_id: str) -> None:
        bystander = desk.order(desk.place())
        with pytest.raises((InvalidOrder, NotFound)):
            desk.cancel(order_id)
        with pytest.raises((InvalidOrder, NotFound)):
            desk.modify(change_of(bystander, order_id=order_id))
        assert desk.order(bystander.order_id) == bystander

    @pytest.mark.parametrize("trouble", CHANGE_TROUBLES, ids=lambda each: each.name.lower())
    def test_c5_080_modify_is_sent_once(self, desk: Desk, trouble: Trouble) -> None:
        order = desk.order(desk.place())
        change = change_of(order, price=order.price - desk.equity.tick)
        _once(desk, trouble, Operation.MODIFY, lambda s: desk.modify(change, seconds=s))

    @pytest.mark.parametrize("trouble", CHANGE_TROUBLES, ids=lambda each: each.name.lower())
    def test_c5_090_cancel_is_sent_once(self, desk: Desk, trouble: Trouble) -> None:
        order = desk.order(desk.place())
        _once(
            desk, trouble, Operation.CANCEL,
            lambda s: desk.cancel(order.order_id, client=order.client, seconds=s),
        )


def _once(
    desk: Desk, trouble: Trouble, operation: Operation, submit: Callable[[float], str]
) -> None:
    seconds = suffer(desk, trouble, operation)
    expected = SUBMIT_OUTCOMES[trouble]
    if expected is None:
        assert submit(seconds)
    else:
        error, fate = expected
        with pytest.raises(error) as caught:
            submit(seconds)
        assert caught.value.fate is fate, repr(caught.value)
    assert counted(desk, operation) == 1
