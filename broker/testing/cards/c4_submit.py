"""C4 Submitting: every type and product, one request whatever happens, and its honest outcome."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from broker.base import Operation, Priority
from broker.breaker import THRESHOLD
from broker.errors import (
    BrokerBusy,
    BrokerError,
    CircuitOpen,
    ConnectFailed,
    Fate,
    InvalidOrder,
    Refused,
)
from broker.models import OrderType, Product, Side
from broker.testing.cards.base import SUBMIT_OUTCOMES, Cards, MakeDesk, counted, settle, suffer
from broker.testing.cards.c2_session import CLOSED_PORT
from broker.testing.desk import Desk, hidden, new_tag
from broker.testing.harness import BrokerHarness, Received, Trouble


def one_received(desk: Desk, tag: str) -> Received:
    """The one request that the venue saw under a tag."""
    received = desk.harness.received(tag)
    assert len(received) == 1
    return received[0]


class SubmitCards(Cards):
    """C4."""

    def test_c4_010_every_type_product_and_side_arrives_as_it_was_meant(self, desk: Desk) -> None:
        capabilities = desk.harness.broker.capabilities
        for listed in desk.harness.listed():
            for order_type in sorted(capabilities.order_types):
                for product in listed.products:
                    for side in Side:
                        if product is Product.CNC and side is Side.SELL:
                            continue  # needs shares in the account
                        order = desk.terms(listed, order_type, product=product, side=side, lots=2)
                        tag = new_tag()
                        order_id = desk.place(order, tag)
                        seen = one_received(desk, tag)
                        assert seen == Received(
                            tag=tag, accepted=True, order_id=order_id, at=seen.at, side=side,
                            order_type=order_type, product=product, quantity=order.quantity,
                            price=order.price, trigger_price=order.trigger_price,
                        )
                        if order_type is not OrderType.MARKET:
                            desk.cancel(order_id, client=desk.order(order_id).client)

    def test_c4_020_tag_is_echoed_by_the_book(self, desk: Desk) -> None:
        tag = new_tag()
        assert len(tag) == 20
        order_id = desk.place(tag=tag)
        assert desk.order(order_id).tag == tag

    def test_c4_030_ids_are_text_and_each_its_own(self, desk: Desk) -> None:
        ids = [desk.place() for _ in range(5)]
        assert all(isinstance(each, str) and each for each in ids)
        assert len(set(ids)) == 5

    @pytest.mark.parametrize("trouble", list(Trouble), ids=lambda each: each.name.lower())
    def test_c4_040_is_sent_once_and_its_fate_is_told(self, desk: Desk, trouble: Trouble) -> None:
        seconds = suffer(desk, trouble, Operation.PLACE)
        expected = SUBMIT_OUTCOMES[trouble]
        tag = new_tag()
        if expected is None:
            assert desk.place(tag=tag, seconds=seconds)
        else:
            error, fate = expected
            with pytest.raises(error) as caught:
                desk.place(tag=tag, seconds=seconds)
            assert caught.value.fate is fate, repr(caught.value)
            assert caught.value.message.strip()
            assert not [word for word in hidden(desk.account) if word in caught.value.message]
            if fate is not Fate.UNKNOWN:
                assert not one_received(desk, tag).accepted
        assert len(desk.harness.received(tag)) == 1
        assert counted(desk, Operation.PLACE) == 1

    @pytest.mark.parametrize(
        "trouble", [Trouble.REFUSED, Trouble.ERROR_IN_SUCCESS], ids=lambda each: each.name.lower()
    )
    def test_c4_050_refusal_is_in_the_brokers_own_words(
        self, desk: Desk, trouble: Trouble
    ) -> None:
        suffer(desk, trouble, Operation.PLACE)
        with pytest.raises(Refused) as caught:
            desk.place()
        assert desk.harness.facts.refusal_words in caught.value.message

    @pytest.mark.parametrize(
        "trouble", [Trouble.HANGS_BEFORE, Trouble.HANGS_AFTER], ids=lambda each: each.name.lower()
    )
    def test_c4_060_leaves_time_to_look_the_order_up(self, desk: Desk, trouble: Trouble) -> None:
        suffer(desk, trouble, Operation.PLACE)
        started = time.monotonic()
        with pytest.raises(BrokerError) as caught:
            desk.place(seconds=1.0)
        assert caught.value.fate is Fate.UNKNOWN
        assert time.monotonic() - started < 0.95
        settle(desk, trouble, Operation.PLACE)

    def test_c4_070_without_time_nothing_is_sent(self, desk: Desk) -> None:
        deadline = desk.deadline(5.0)
        slot = desk.broker.reserve(
            Operation.PLACE, priority=Priority.ENTRY, deadline=deadline
        )
        deadline.at = desk.clock.monotonic()
        with pytest.raises(BrokerError) as caught:
            desk.broker.place(desk.terms(), new_tag(), slot=slot, deadline=deadline)
        assert caught.value.fate is Fate.NOT_SENT
        assert desk.harness.requests(Operation.PLACE) == 0

    def test_c4_080_unreachable_venue_is_not_sent(self, make: MakeDesk) -> None:
        desk = make(host_lookup=False)
        away = make(login=False, base_url=CLOSED_PORT, host_lookup=False)
        away.broker.attach(desk.broker.session)
        with pytest.raises(ConnectFailed) as caught:
            away.place()
        assert caught.value.fate is Fate.NOT_SENT

    def test_c4_090_product_that_is_not_offered_never_leaves(self, desk: Desk) -> None:
        missing = set(Product) - desk.harness.broker.capabilities.products
        if not missing:
            pytest.skip(f"{desk.harness.name} offers every product")
        with pytest.raises(InvalidOrder) as caught:
            desk.place(desk.terms(product=missing.pop()))
        assert caught.value.field == "product"
        assert desk.harness.requests(Operation.PLACE) == 0

    def test_c4_100_open_circuit_answers_at_once_but_lets_exits_through(self, desk: Desk) -> None:
        suffer(desk, Trouble.SERVER_ERROR, Operation.PLACE)
        for _ in range(THRESHOLD):
            with pytest.raises(BrokerError):
                desk.place()
        seen = desk.harness.requests(Operation.PLACE)
        started = time.monotonic()
        with pytest.raises(CircuitOpen) as caught:
            desk.place()
        assert time.monotonic() - started < 0.1
        assert caught.value.fate is Fate.NOT_SENT
        assert caught.value.retry_after is not None and caught.value.retry_after > 0
        assert desk.harness.requests(Operation.PLACE) == seen
        desk.harness.calm()
        order_id = desk.place(priority=Priority.EXIT)
        desk.cancel(order_id, client=desk.order(order_id).client)
        assert desk.place()

    def test_c4_110_refusals_never_open_the_circuit(self, desk: Desk) -> None:
        suffer(desk, Trouble.REFUSED, Operation.PLACE)
        for _ in range(THRESHOLD + 3):
            with pytest.raises(Refused):
                desk.place()

    def test_c4_120_price_is_exact(self, desk: Desk) -> None:
        listed = desk.equity
        for ticks in (1, 3, 7, 11):
            tag = new_tag()
            order = desk.terms(listed, away=ticks)
            desk.place(order, tag)
            assert one_received(desk, tag).price == order.price
            assert order.price % listed.tick == Decimal(0)

    def test_c4_130_slot_can_be_asked_for_without_waiting(self, make: MakeDesk) -> None:
        desk = make(orders_per_second=1)
        desk.place()
        started = time.monotonic()
        with pytest.raises(BrokerBusy) as caught:
            desk.broker.reserve(
                Operation.PLACE, priority=Priority.ENTRY, deadline=desk.deadline(), wait=False
            )
        assert time.monotonic() - started < 0.2
        assert caught.value.retry_after is not None and caught.value.retry_after > 0
        assert desk.harness.requests(Operation.PLACE) == 1

    def test_c4_140_later_rejection_is_in_the_book_not_in_the_answer(
        self, desk: Desk, venue: BrokerHarness
    ) -> None:
        order_id = desk.place()
        venue.reject(order_id, "RMS: margin exceeds by 1,234.50")
        order = desk.order(order_id)
        assert order.reason == "RMS: margin exceeds by 1,234.50"
        assert not order.state.is_open
