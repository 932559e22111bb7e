"""The reconciler: what is unknown is settled by evidence, what is accepted is seen in the book."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.errors import OutcomeUnknown
from broker.models import OrderState, Side
from database import journal
from database.engine import Database
from database.journal import IntentState
from services import reconciler as reconciling
from services.errors import NeverArrived, Unavailable
from services.locks import LockBusy
from services.order_models import Placed, Provenance
from services.reconciler import ABSENT_APPEARED, ORDER_TWICE, POLL_SECONDS, UNSETTLED_ORDERS
from tests.support.clocks import ManualClock
from tests.support.reconciling import left_behind, lost_order, place, rounds, terms
from tests.support.trading import Trader, draft, request

# Settling ---------------------------------------------------------------------------------------


def test_an_order_that_appears_later_is_settled(trader: Trader) -> None:
    reference = lost_order(trader, "late:99")
    trader.venue.hidden.clear()
    summary = trader.desk.reconciler.run_once()
    assert (summary.settled, summary.unknown) == (1, 0)
    assert trader.states(reference) == ["received", "sending", "unknown", "accepted"]
    assert trader.intent(reference).broker_order_id == trader.venue.book[0].order_id
    assert trader.events(reference)[3].cause == "reconciled"
    assert trader.venue.calls("place") == 1


@pytest.mark.parametrize("state", [IntentState.RECEIVED, IntentState.SENDING])
def test_a_clock_that_is_set_back_delays_nothing(
    trader: Trader, clock: ManualClock, state: IntentState
) -> None:
    reference = left_behind(trader, state).reference
    trader.desk.reconciler.run_once()
    clock.set_back(3_600)
    rounds(trader, clock, 80)
    expected = IntentState.NOT_SENT if state is IntentState.RECEIVED else IntentState.ABSENT
    assert trader.intent(reference).state is expected


def test_an_unknown_order_is_an_alarm_though_the_clock_was_set_back(
    trader: Trader, clock: ManualClock
) -> None:
    lost_order(trader, "late:99")
    trader.venue.script("orders", *["fail"] * 99)
    trader.desk.reconciler.run_once()
    clock.set_back(3_600)
    rounds(trader, clock, 40)
    assert trader.alarms() == ["orders_unsettled"]


def test_one_book_read_serves_many_intents(trader: Trader) -> None:
    intents = [left_behind(trader, IntentState.SENDING, booked=True) for _ in range(50)]
    before = trader.venue.calls("orders")
    summary = trader.desk.reconciler.on_start()
    assert summary.settled == 50
    assert trader.venue.calls("orders") == before + 1
    assert {trader.intent(item.reference).state for item in intents} == {IntentState.ACCEPTED}


def test_defect_12_what_a_killed_process_left_is_settled(
    trader: Trader, clock: ManualClock
) -> None:
    received = left_behind(trader, IntentState.RECEIVED)
    booked = left_behind(trader, IntentState.SENDING, booked=True)
    nowhere = left_behind(trader, IntentState.SENDING)
    trader.desk.reconciler.on_start()
    assert trader.intent(booked.reference).state is IntentState.ACCEPTED
    assert trader.intent(received.reference).state is IntentState.RECEIVED  # may be alive yet
    clock.advance(12.0)
    summary = trader.desk.reconciler.run_once()
    assert summary.not_sent == 1
    assert trader.states(received.reference) == ["received", "not_sent"]
    assert trader.states(nowhere.reference) == ["received", "sending", "unknown"]
    rounds(trader, clock, 14.0)
    assert trader.states(nowhere.reference)[-1] == "absent"
    assert trader.venue.calls("place") == 0


def test_reads_count_for_absence_while_the_sender_is_not_given_up_yet(
    trader: Trader, clock: ManualClock
) -> None:
    """Kill, restart: the absent one is told 15 s after, not 10 s after it became unknown."""
    nowhere = left_behind(trader, IntentState.SENDING)  # deadline in 10 s
    rounds(trader, clock, 14.0)
    assert trader.states(nowhere.reference)[-1] == "unknown"
    rounds(trader, clock, 4.0)
    assert trader.states(nowhere.reference)[-1] == "absent"


def test_a_rejected_row_settles_as_rejected_in_the_venues_words(trader: Trader) -> None:
    intent = left_behind(trader, IntentState.SENDING, booked=True)
    row = trader.venue.with_tag(intent.tag)[0]
    trader.venue.change(row.order_id, state=OrderState.REJECTED, reason="RED:Margin Shortfall")
    trader.desk.reconciler.run_once()
    settled = trader.intent(intent.reference)
    assert (settled.state, settled.message) == (IntentState.REJECTED, "RED:Margin Shortfall")


# Absence ----------------------------------------------------------------------------------------


def test_absence_needs_three_reads_ten_seconds_and_five_past_the_deadline(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader)
    deadline = trader.intent(reference).deadline_at
    assert deadline is not None
    reads = []
    while trader.intent(reference).state is IntentState.UNKNOWN:
        trader.desk.reconciler.run_once()
        reads.append(clock.now())
        clock.advance(POLL_SECONDS)
        assert len(reads) < 20
    assert trader.intent(reference).state is IntentState.ABSENT
    assert len(reads) >= 3
    assert (reads[-1] - reads[0]).total_seconds() >= 10.0
    assert (reads[-1] - deadline).total_seconds() >= 5.0
    assert reads[-1] - deadline <= timedelta(seconds=8)


@pytest.mark.parametrize("pause", [0.1, 60.0])
def test_fewer_than_three_reads_never_prove_absence(
    trader: Trader, clock: ManualClock, pause: float
) -> None:
    reference = lost_order(trader)
    for _ in range(2):
        trader.desk.reconciler.run_once()
        clock.advance(pause)
    assert trader.intent(reference).state is IntentState.UNKNOWN


def test_many_reads_in_a_short_time_never_prove_absence(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader)
    clock.advance(60.0)
    for _ in range(9):
        trader.desk.reconciler.run_once()
        clock.advance(1.0)
    assert trader.intent(reference).state is IntentState.UNKNOWN


def test_reads_that_fail_prove_nothing_and_become_an_alarm(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader)
    trader.venue.script("orders", *["fail"] * 30)
    rounds(trader, clock, 60.0)
    assert trader.intent(reference).state is IntentState.UNKNOWN
    assert trader.desk.reconciler.summary.unread == ("jainam_prop",)
    assert trader.alarms() == [UNSETTLED_ORDERS]
    trader.venue.scripts["orders"].clear()
    rounds(trader, clock, 14.0)
    assert trader.intent(reference).state is IntentState.ABSENT
    assert trader.alarms() == []


def test_an_order_under_a_client_that_was_not_expected_is_not_called_absent(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader)
    order = request(Side.BUY, 10)
    trader.venue.foreign.append(
        trader.venue.add(order, trader.intent(reference).tag, client="SOMEONE")
    )
    trader.venue.book.clear()
    trader.venue.script("find", "fail")
    rounds(trader, clock, 24.0)
    assert trader.intent(reference).state is IntentState.ACCEPTED
    causes = [event.cause for event in trader.events(reference)]
    assert "under another client" in causes
    assert trader.alarms() == ["order_lost"]  # the account's own book does not show it


def test_the_book_of_another_day_never_proves_absence(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader)
    clock.advance(24 * 3600.0)
    before = trader.venue.calls("orders")
    rounds(trader, clock, 40.0)
    trader.desk.reconciler.on_start()
    assert trader.intent(reference).state is IntentState.UNKNOWN
    assert trader.alarms() == [UNSETTLED_ORDERS]
    assert "one day only" in trader.stack.alarms.list()[0].message
    assert trader.venue.calls("orders") == before + 1  # not read again and again for nothing


def test_a_change_of_another_day_is_not_judged_by_an_order_that_has_its_id_today(
    trader: Trader, resting: Placed, clock: ManualClock
) -> None:
    trader.venue.script("cancel", "lost")
    with pytest.raises(OutcomeUnknown) as caught:
        trader.desk.orders.cancel(trader.principal, None, resting.order_id)
    clock.advance(24 * 3600.0)
    trader.venue.change(resting.order_id, state=OrderState.CANCELLED, tag="")
    trader.desk.reconciler.on_start()
    assert trader.intent(caught.value.reference).state is IntentState.UNKNOWN


def test_the_alarm_ends_when_somebody_else_settled_the_order(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader)
    trader.venue.script("orders", *["fail"] * 30)
    rounds(trader, clock, 60.0)
    assert trader.alarms() == [UNSETTLED_ORDERS]
    intent_id = trader.intent(reference).id
    with trader.database.write() as conn:
        journal.change(conn, intent_id, IntentState.REJECTED, "a repeat", at=clock.now())
    trader.desk.reconciler.run_once()
    assert trader.alarms() == []


def test_an_absent_order_that_appears_after_all_is_accepted_with_an_alarm(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader, "late:999")
    rounds(trader, clock, 20.0)
    assert trader.intent(reference).state is IntentState.ABSENT
    trader.venue.hidden.clear()
    place(trader)
    trader.desk.reconciler.run_once()
    assert trader.intent(reference).state is IntentState.ACCEPTED
    assert ABSENT_APPEARED in trader.alarms()


def test_an_order_that_a_person_held_absent_is_watched_as_well(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader, "late:999")
    trader.venue.script("orders", *["fail"] * 30)
    trader.desk.reconciler.on_start()
    intent_id = trader.intent(reference).id
    with trader.database.write() as conn:
        journal.change(conn, intent_id, IntentState.ABSENT, "operator", at=clock.now())
    trader.venue.scripts.clear()
    trader.venue.hidden.clear()
    rounds(trader, clock, 18.0)
    assert trader.intent(reference).state is IntentState.ACCEPTED
    assert ABSENT_APPEARED in trader.alarms()


def test_a_person_who_asks_waits_for_the_round_of_another_process(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader)
    trader.venue.script("orders", "fail")
    told = trader.desk.reconciler.run_now(5.0)
    assert (told.unknown, told.unread) == (1, (trader.account.label,))
    other = Trader(trader.database, trader.stack_folder, trader.clock)
    with other.stack.locks.lock("reconciler", 0.0), pytest.raises(LockBusy):
        trader.desk.reconciler.run_now(1.0)
    rounds(trader, clock, 20.0)
    assert trader.intent(reference).state is IntentState.ABSENT
    assert trader.desk.reconciler.run_now(5.0).unknown == 0


def test_an_absent_order_that_appears_is_noticed_though_nothing_else_goes_on(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader, "late:999")
    rounds(trader, clock, 20.0)
    assert trader.intent(reference).state is IntentState.ABSENT
    before = trader.venue.calls("orders")
    rounds(trader, clock, 60.0)
    assert 3 <= trader.venue.calls("orders") - before <= 5
    trader.venue.hidden.clear()
    rounds(trader, clock, 18.0)
    assert trader.intent(reference).state is IntentState.ACCEPTED
    assert ABSENT_APPEARED in trader.alarms()


def test_a_new_process_notices_what_an_earlier_one_held_absent(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader, "late:999")
    rounds(trader, clock, 20.0)
    trader.venue.hidden.clear()
    place(trader)  # something else to look for
    other = Trader(trader.database, trader.stack_folder, trader.clock)
    other.desk.reconciler.on_start()
    assert trader.intent(reference).state is IntentState.ACCEPTED


def test_a_book_is_not_read_for_ever_for_an_absent_order(
    trader: Trader, clock: ManualClock
) -> None:
    lost_order(trader)
    rounds(trader, clock, 20.0)
    clock.advance(15 * 60.0)
    before = trader.venue.calls("orders")
    rounds(trader, clock, 60.0)
    assert trader.venue.calls("orders") == before


def test_a_repeat_of_an_absent_order_says_that_it_never_arrived(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.script("place", "lost")
    with pytest.raises(OutcomeUnknown):
        trader.desk.orders.place(
            trader.principal, trader.account, draft(), provenance=Provenance(reference="REF")
        )
    rounds(trader, clock, 20.0)
    with pytest.raises(NeverArrived) as caught:
        trader.desk.orders.place(
            trader.principal, trader.account, draft(), provenance=Provenance(reference="REF")
        )
    assert caught.value.reference == "REF"
    assert trader.venue.calls("place") == 1


# Modifications and cancellations ----------------------------------------------------------------


def test_a_lost_cancel_is_settled_by_the_row(
    trader: Trader, resting: Placed, clock: ManualClock
) -> None:
    trader.venue.script("cancel", "lost")
    with pytest.raises(OutcomeUnknown) as caught:
        trader.desk.orders.cancel(trader.principal, None, resting.order_id)
    trader.desk.reconciler.run_once()
    assert trader.intent(caught.value.reference).state is IntentState.UNKNOWN
    trader.venue.change(resting.order_id, state=OrderState.CANCELLED)
    trader.desk.reconciler.run_once()
    assert trader.intent(caught.value.reference).state is IntentState.ACCEPTED


def test_a_lost_modification_without_effect_is_absent_in_the_end(
    trader: Trader, resting: Placed, clock: ManualClock
) -> None:
    trader.venue.script("modify", "lost")
    with pytest.raises(OutcomeUnknown) as caught:
        trader.desk.orders.modify(trader.principal, None, resting.order_id, terms("101"))
    rounds(trader, clock, 20.0)
    assert trader.intent(caught.value.reference).state is IntentState.ABSENT


# The rest ---------------------------------------------------------------------------------------


def test_an_order_that_the_book_shows_twice_is_an_alarm(
    trader: Trader, clock: ManualClock
) -> None:
    placed = place(trader)
    trader.venue.add(request(Side.BUY, 10), trader.intent(placed.reference).tag)
    trader.venue.add(request(Side.BUY, 10), "FOREIGN")
    trader.venue.add(request(Side.BUY, 10), "FOREIGN")
    clock.advance(1.0)
    trader.desk.reconciler.run_once()
    assert trader.alarms() == [ORDER_TWICE]


def test_nothing_to_do_reads_no_book(trader: Trader) -> None:
    summary = trader.desk.reconciler.run_once()
    assert trader.venue.calls("orders") == 0
    assert (summary.settled, summary.unknown, summary.unread) == (0, 0, ())


def test_only_one_process_reconciles_at_a_time(trader: Trader) -> None:
    left_behind(trader, IntentState.SENDING, booked=True)
    other = Trader(trader.database, trader.stack_folder, trader.clock)
    with other.stack.locks.lock("reconciler", 0.0):
        assert trader.desk.reconciler.run_once().settled == 0
    assert trader.desk.reconciler.run_once().settled == 1


def test_an_account_that_is_gone_leaves_its_orders_unknown_and_an_alarm(
    trader: Trader, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = lost_order(trader)
    clock.advance(60.0)
    monkeypatch.setattr(trader.stack.accounts, "all", list)
    assert trader.desk.reconciler.run_once().unknown == 1
    assert trader.alarms() == [UNSETTLED_ORDERS]
    assert trader.intent(reference).state is IntentState.UNKNOWN


def test_on_demand_it_goes_on_until_everything_is_settled(
    trader: Trader, clock: ManualClock
) -> None:
    reference = lost_order(trader)
    summary = trader.desk.reconciler.run_until_settled(30.0)
    assert summary.unknown == 0
    assert trader.intent(reference).state is IntentState.ABSENT
    lost_order(trader)
    assert trader.desk.reconciler.run_until_settled(5.0).unknown == 1


def test_without_a_database_it_says_so(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    from database.errors import DatabaseUnavailable

    def gone(database: Database) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(Database, "read", gone)
    with pytest.raises(Unavailable):
        trader.desk.reconciler.run_once()


def test_a_long_book_is_read_less_often_to_bear_orders_out(
    trader: Trader, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "ROWS_A_SECOND", 0.01)
    for expected in (1, 0):
        place(trader)
        clock.advance(0.1)
        assert trader.desk.reconciler.run_once().confirmed == expected
    clock.advance(reconciling.LONGEST_REST)
    assert trader.desk.reconciler.run_once().confirmed == 1


def test_what_is_unknown_does_not_wait_for_a_long_book(
    trader: Trader, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "ROWS_A_SECOND", 0.01)
    place(trader)
    clock.advance(0.1)
    assert trader.desk.reconciler.run_once().confirmed == 1
    intent = left_behind(trader, IntentState.SENDING, booked=True)
    clock.advance(0.1)
    assert trader.desk.reconciler.run_once().settled == 0  # its request is still at work
    clock.advance(intent.deadline_at.timestamp() - clock.now().timestamp() + 2.0)  # type: ignore[union-attr]
    assert trader.desk.reconciler.run_once().settled == 1
