"""What a person settles: only what is open, with name and reason, by the rules of state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.errors import OutcomeUnknown
from database import audit
from database.journal import IntentState
from services.access import Principal
from services.errors import Conflict, Forbidden, InvalidRequest, NotFoundHere
from services.settlements import Settlements
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft

BOSS = Principal(0, "command line (asha)", True, "admin")


@pytest.fixture
def settlements(trader: Trader) -> Settlements:
    return Settlements(trader.database, trader.clock)


def unknown_order(trader: Trader) -> str:
    trader.venue.script("place", "late:99")
    with pytest.raises(OutcomeUnknown) as caught:
        trader.desk.orders.place(trader.principal, trader.account, draft())
    return caught.value.reference


def test_an_order_of_an_earlier_day_is_settled_by_a_person(
    trader: Trader, settlements: Settlements, clock: ManualClock
) -> None:
    reference = unknown_order(trader)
    clock.advance(86_400)
    trader.desk.reconciler.on_start()
    assert [intent.reference for intent in settlements.open()] == [reference]
    assert trader.alarms() == ["orders_unsettled"]
    settled = settlements.settle(
        BOSS, reference, IntentState.ACCEPTED, "in the contract note of the 20th", "77"
    )
    assert (settled.state, settled.broker_order_id) == (IntentState.ACCEPTED, "77")
    assert settlements.open() == []
    event = trader.events(reference)[-1]
    assert (event.state, event.cause, event.broker_order_id) == (
        IntentState.ACCEPTED, "operator", "77"
    )
    assert event.message == "command line (asha): in the contract note of the 20th"
    with trader.database.read() as conn:
        (entry,) = audit.list_entries(conn)
    assert (entry.actor, entry.action, entry.subject) == (BOSS.name, "order settled", reference)
    assert entry.detail["from"] == "unknown" and entry.detail["to"] == "accepted"
    trader.desk.reconciler.run_once()
    assert trader.alarms() == []
    assert trader.intent(reference).broker_order_id == "77"


def test_that_an_order_is_absent_can_be_taken_back(
    trader: Trader, settlements: Settlements
) -> None:
    reference = unknown_order(trader)
    settlements.settle(BOSS, reference, IntentState.ABSENT, "the broker's desk says so")
    settlements.settle(BOSS, reference, IntentState.REJECTED, "no, the risk desk refused it")
    assert trader.intent(reference).state is IntentState.REJECTED


def test_what_is_over_or_under_way_is_not_a_persons_to_settle(
    trader: Trader, settlements: Settlements
) -> None:
    placed = trader.desk.orders.place(trader.principal, trader.account, draft())
    with pytest.raises(Conflict, match="is accepted"):
        settlements.settle(BOSS, placed.reference, IntentState.ABSENT, "wishful thinking")
    assert trader.intent(placed.reference).state is IntentState.ACCEPTED


@pytest.mark.parametrize(("outcome", "reason", "order_id", "field"), [
    (IntentState.SENDING, "why", "", "as"),
    (IntentState.REJECTED, "  ", "", "reason"),
    (IntentState.REJECTED, "x" * 501, "", "reason"),
    (IntentState.ACCEPTED, "why", "", "order_id"),
    (IntentState.ABSENT, "why", "77", "order_id"),
])
def test_a_word_that_makes_no_sense_is_refused(
    trader: Trader, settlements: Settlements, outcome: IntentState, reason: str, order_id: str,
    field: str,
) -> None:
    reference = unknown_order(trader)
    with pytest.raises(InvalidRequest) as caught:
        settlements.settle(BOSS, reference, outcome, reason, order_id)
    assert field in caught.value.errors
    assert trader.intent(reference).state is IntentState.UNKNOWN


def test_only_an_administrator_and_only_an_order_that_is_there(
    trader: Trader, settlements: Settlements
) -> None:
    with pytest.raises(NotFoundHere):
        settlements.settle(BOSS, "R-none", IntentState.ABSENT, "why")
    with pytest.raises(Forbidden):
        settlements.settle(
            replace(BOSS, scope="trade"), unknown_order(trader), IntentState.ABSENT, "why"
        )
