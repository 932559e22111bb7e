"""What the broker accepted is held against its book until it shows there."""

from __future__ import annotations

import pytest

from broker.base import Deadline
from broker.models import OrderState
from database.journal import IntentState
from services.order_models import Placed
from tests.support.clocks import ManualClock
from tests.support.reconciling import LIMIT, place, rounds, terms
from tests.support.trading import Trader, draft


def test_an_accepted_order_is_seen_in_the_book_once(trader: Trader, clock: ManualClock) -> None:
    placed = place(trader)
    clock.advance(1.0)
    assert trader.desk.reconciler.run_once().confirmed == 1
    intent = trader.intent(placed.reference)
    assert intent.seen_at is not None
    assert intent.book_state == "FILLED"
    assert trader.events(placed.reference)[-1].cause == "in the book"
    reads = trader.venue.calls("orders")
    assert trader.desk.reconciler.run_once().confirmed == 0
    assert trader.venue.calls("orders") == reads


def test_a_later_rejection_is_an_event_and_no_second_order(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.script("place", "reject_later")
    placed = place(trader)
    clock.advance(1.0)
    trader.desk.reconciler.run_once()
    event = trader.events(placed.reference)[-1]
    assert (event.cause, event.message) == ("rejected later", "RED:Margin Shortfall:INR 5")
    assert trader.intent(placed.reference).state is IntentState.ACCEPTED
    assert trader.venue.calls("place") == 1


def test_a_pending_order_is_watched_until_it_is_decided(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.script("place", "pending")
    placed = place(trader, order_type=LIMIT, price="100")
    clock.advance(1.0)
    assert trader.desk.reconciler.run_once().confirmed == 0
    trader.venue.change(placed.order_id, state=OrderState.OPEN)
    assert trader.desk.reconciler.run_once().confirmed == 1


def test_defect_20_an_accepted_order_that_no_book_shows_is_an_alarm_and_not_sent_again(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.script("place", "drop")
    placed = place(trader)
    rounds(trader, clock, 8.0)
    assert trader.alarms() == []
    rounds(trader, clock, 8.0)
    assert trader.alarms() == ["order_lost"]
    alarm = trader.stack.alarms.list()[0]
    assert placed.order_id in alarm.message
    assert "wrong client id" in alarm.message
    assert [event.cause for event in trader.events(placed.reference)].count("order_lost") == 1
    assert trader.venue.calls("place") == 1


def test_the_time_that_an_order_waited_for_its_turn_does_not_make_it_lost(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.no_slot_at_once = 1
    trader.venue.script("reserve", "slow")
    placed = trader.desk.orders.place(
        trader.principal, trader.account, draft(), deadline=Deadline(clock, 30.0)
    )  # it was received ten seconds ago
    trader.venue.hidden[placed.order_id] = 2
    rounds(trader, clock, 8.0)
    assert trader.stack.alarms.history() == []
    assert trader.intent(placed.reference).seen_at is not None


def test_an_order_that_shows_up_late_ends_its_alarm(trader: Trader, clock: ManualClock) -> None:
    placed = place(trader)
    trader.venue.hidden[placed.order_id] = 7
    rounds(trader, clock, 16.0)
    assert trader.alarms() == []
    assert trader.intent(placed.reference).seen_at is not None


def test_an_order_whose_tag_the_venue_swallows_is_known_by_its_id(
    trader: Trader, clock: ManualClock
) -> None:
    placed = place(trader)
    trader.venue.change(placed.order_id, tag="")
    clock.advance(1.0)
    assert trader.desk.reconciler.run_once().confirmed == 1


def test_a_modification_is_seen_to_have_taken_effect(
    trader: Trader, resting: Placed, clock: ManualClock
) -> None:
    clock.advance(1.0)
    trader.desk.reconciler.run_once()
    first = trader.desk.orders.modify(trader.principal, None, resting.order_id, terms("101"))
    second = trader.desk.orders.modify(trader.principal, None, resting.order_id, terms("102"))
    clock.advance(1.0)
    assert trader.desk.reconciler.run_once().confirmed == 2
    assert trader.intent(first.reference).book_state == "superseded"
    assert trader.intent(second.reference).book_state == "OPEN"


@pytest.mark.parametrize("kind", ["modify", "cancel"])
def test_a_change_that_was_accepted_without_effect_is_an_alarm(
    trader: Trader, resting: Placed, clock: ManualClock, kind: str
) -> None:
    clock.advance(1.0)
    trader.desk.reconciler.run_once()
    trader.venue.effective = False
    orders = trader.desk.orders
    done = (
        orders.modify(trader.principal, None, resting.order_id, terms("101"))
        if kind == "modify" else orders.cancel(trader.principal, None, resting.order_id)
    )
    rounds(trader, clock, 14.0)
    assert trader.alarms() == ["change_without_effect"]
    assert "no effect" in [event.cause for event in trader.events(done.reference)]
    assert trader.venue.calls(kind) == 1


def test_a_change_that_came_too_late_is_an_event(
    trader: Trader, resting: Placed, clock: ManualClock
) -> None:
    trader.venue.effective = False
    done = trader.desk.orders.cancel(trader.principal, None, resting.order_id)
    trader.venue.fill(resting.order_id)
    clock.advance(1.0)
    trader.desk.reconciler.run_once()
    event = trader.events(done.reference)[-1]
    assert (event.cause, event.message) == (
        "too late", "The order was filled before it took effect."
    )


def test_a_change_to_an_order_that_no_book_shows_is_an_alarm(
    trader: Trader, resting: Placed, clock: ManualClock
) -> None:
    trader.desk.orders.cancel(trader.principal, None, resting.order_id)
    trader.venue.book.clear()
    rounds(trader, clock, 14.0)
    assert "change_without_effect" in trader.alarms()
