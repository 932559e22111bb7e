"""The order journal: what may follow what, and that nothing is lost or rewritten."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database import journal
from database.engine import Database
from database.errors import AlreadyExists, IllegalTransition, NoSuchRow
from database.intents import LEGAL, Intent, IntentKind, IntentState
from tests.support.databases import NOON, add_account, sqlite_database

S = IntentState
ROADS = {  # one legal way to every state
    S.RECEIVED: [],
    S.NOT_SENT: [S.NOT_SENT],
    S.SENDING: [S.SENDING],
    S.ACCEPTED: [S.SENDING, S.ACCEPTED],
    S.REJECTED: [S.SENDING, S.REJECTED],
    S.UNKNOWN: [S.SENDING, S.UNKNOWN],
    S.ABSENT: [S.SENDING, S.UNKNOWN, S.ABSENT],
}


def intent(account_id: int, number: int = 1, **changes: object) -> Intent:
    made = Intent(
        reference=f"R{number:025d}", tag=f"T{number:019d}", kind=IntentKind.PLACE,
        account_id=account_id, user_id=None, request_id="req-1", created_at=NOON,
        strategy="mean reversion", symbol="SBIN", exchange="NSE", token="3045", side="BUY",
        order_type="LIMIT", product="MIS", quantity=10, price=Decimal("812.05"),
        deadline_at=NOON + timedelta(seconds=10),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_an_order_is_followed_from_receipt_to_acceptance(
    database: Database, account_id: int
) -> None:
    with database.write() as conn:
        intent_id = journal.new_intent(conn, intent(account_id))
        journal.change(conn, intent_id, S.SENDING, "slot granted", at=at(1))
    with database.write() as conn:
        journal.change(
            conn, intent_id, S.ACCEPTED, "broker answered", at=at(2), broker_order_id="1100012345"
        )
    with database.read() as conn:
        stored = journal.get(conn, intent(account_id).reference)
        told = journal.events(conn, intent_id)
    assert stored == intent(
        account_id, id=intent_id, state=S.ACCEPTED, broker_order_id="1100012345",
        updated_at=at(2), sent_at=at(1),
    )
    assert isinstance(stored.price, Decimal)
    assert [(event.state, event.cause, event.at) for event in told] == [
        (S.RECEIVED, "request", NOON), (S.SENDING, "slot granted", at(1)),
        (S.ACCEPTED, "broker answered", at(2)),
    ]
    assert told[-1].broker_order_id == "1100012345"


def test_a_message_stays_when_a_later_change_brings_none(
    database: Database, account_id: int
) -> None:
    with database.write() as conn:
        intent_id = journal.new_intent(conn, intent(account_id))
        journal.change(conn, intent_id, S.SENDING, "slot", at=at(1))
        journal.change(conn, intent_id, S.UNKNOWN, "reset", at=at(2), message="connection reset")
        journal.change(conn, intent_id, S.ABSENT, "three reads", at=at(20))
        found = journal.by_id(conn, intent_id)
        assert found is not None and found.message == "connection reset"
        assert found.sent_at == at(1)


@pytest.mark.parametrize("state", list(IntentState))
def test_only_legal_changes_are_made(
    database: Database, account_id: int, state: IntentState
) -> None:
    for number, wanted in enumerate(IntentState):
        with database.write() as conn:
            intent_id = journal.new_intent(conn, intent(account_id, number))
            for step in ROADS[state]:
                journal.change(conn, intent_id, step, "on the way", at=at(1))
        if wanted in LEGAL[state]:
            with database.write() as conn:
                journal.change(conn, intent_id, wanted, "evidence", at=at(2))
        else:
            with pytest.raises(IllegalTransition) as caught, database.write() as conn:
                journal.change(conn, intent_id, wanted, "mistake", at=at(2))
            assert (caught.value.current, caught.value.wanted) == (state, wanted)
        with database.read() as conn:
            stored = journal.by_id(conn, intent_id)
            told = journal.events(conn, intent_id)
        assert stored is not None
        assert stored.state == told[-1].state == (wanted if wanted in LEGAL[state] else state)
        assert len(told) == 1 + len(ROADS[state]) + (wanted in LEGAL[state])


def test_no_state_leads_to_itself_and_settled_ones_stay() -> None:
    for state, after in LEGAL.items():
        assert state not in after
    for state in (S.ACCEPTED, S.REJECTED, S.NOT_SENT):
        assert not LEGAL[state]
        assert state.is_settled
    assert set(LEGAL) == set(IntentState)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory):
    with sqlite_database(tmp_path_factory.mktemp("journal")) as made:
        yield made, add_account(made), iter(range(1, 1_000_000))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.sampled_from(list(IntentState)), max_size=8))
def test_any_sequence_of_changes_leaves_a_legal_history(
    shared: tuple[Database, int, object], steps: list[IntentState]
) -> None:
    database, account_id, numbers = shared
    with database.write() as conn:
        intent_id = journal.new_intent(conn, intent(account_id, next(numbers)))  # type: ignore[call-overload]
    for number, step in enumerate(steps):
        try:
            with database.write() as conn:
                journal.change(conn, intent_id, step, "step", at=at(number))
        except IllegalTransition:
            continue
    with database.read() as conn:
        history = [event.state for event in journal.events(conn, intent_id)]
        stored = journal.by_id(conn, intent_id)
    assert history[0] is S.RECEIVED
    assert all(b in LEGAL[a] for a, b in pairwise(history))
    assert stored is not None and stored.state is history[-1]


def test_a_change_that_is_rolled_back_leaves_no_event(database: Database, account_id: int) -> None:
    with database.write() as conn:
        intent_id = journal.new_intent(conn, intent(account_id))
    with pytest.raises(RuntimeError), database.write() as conn:
        journal.change(conn, intent_id, S.SENDING, "slot", at=at(1))
        raise RuntimeError("the process stumbles")
    with database.read() as conn:
        assert len(journal.events(conn, intent_id)) == 1
        stored = journal.by_id(conn, intent_id)
        assert stored is not None and stored.state is S.RECEIVED


def test_of_many_threads_one_makes_the_change(database: Database, account_id: int) -> None:
    with database.write() as conn:
        intent_id = journal.new_intent(conn, intent(account_id))
        journal.change(conn, intent_id, S.SENDING, "slot", at=at(1))
        journal.change(conn, intent_id, S.UNKNOWN, "time-out", at=at(2))
    results: list[str] = []
    start = threading.Barrier(8)

    def settle(number: int) -> None:
        start.wait()
        state = S.ACCEPTED if number % 2 else S.REJECTED
        try:
            with database.write() as conn:
                journal.change(conn, intent_id, state, f"reconciler {number}", at=at(3))
        except IllegalTransition:
            results.append("too late")
        else:
            results.append("made")

    threads = [threading.Thread(target=settle, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["made"] + ["too late"] * 7
    with database.read() as conn:
        assert len(journal.events(conn, intent_id)) == 4


def test_reference_and_tag_are_used_once(database: Database, account_id: int) -> None:
    with database.write() as conn:
        journal.new_intent(conn, intent(account_id, 1))
    for again in (intent(account_id, 1, tag="OTHER"), intent(account_id, 1, reference="OTHER")):
        with pytest.raises(AlreadyExists), database.write() as conn:
            journal.new_intent(conn, again)


def test_cancels_have_no_tag_and_do_not_collide(database: Database, account_id: int) -> None:
    with database.write() as conn:
        for number in (1, 2):
            journal.new_intent(conn, intent(
                account_id, number, tag="", kind=IntentKind.CANCEL, target_order_id="11000"
            ))
        assert journal.by_tag(conn, "") is None


def test_an_unknown_account_is_no_unique_violation(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.write() as conn:
        journal.new_intent(conn, intent(999))


def test_unknown_intents_are_said_to_be_unknown(database: Database) -> None:
    with pytest.raises(NoSuchRow), database.write() as conn:
        journal.change(conn, 77, S.SENDING, "slot", at=NOON)
    with pytest.raises(NoSuchRow), database.write() as conn:
        journal.note(conn, 77, "seen", at=NOON)
    with database.read() as conn:
        assert journal.get(conn, "nowhere") is None
        assert journal.by_id(conn, 77) is None


def test_an_intent_is_found_by_each_of_its_names(database: Database, account_id: int) -> None:
    other = add_account(database, "prop-c")
    with database.write() as conn:
        placed = journal.new_intent(conn, intent(account_id, 1, client_order_id="mine-1"))
        journal.change(conn, placed, S.SENDING, "slot", at=at(1))
        journal.change(conn, placed, S.ACCEPTED, "ok", at=at(2), broker_order_id="11000")
        cancel = journal.new_intent(conn, intent(
            account_id, 2, tag="", kind=IntentKind.CANCEL, target_order_id="11000"
        ))
        journal.change(conn, cancel, S.SENDING, "slot", at=at(3))
        journal.change(conn, cancel, S.ACCEPTED, "ok", at=at(4), broker_order_id="11000")
    with database.read() as conn:
        for key in (intent(account_id, 1).reference, "11000", "mine-1"):
            found = journal.find(conn, [account_id, other], key)
            assert found is not None and found.id == placed
            assert journal.find(conn, [other], key) is None
        assert journal.find(conn, [account_id], "11000' OR '1'='1") is None
        by_order = journal.placed_as(conn, [account_id], "11000")
        assert by_order is not None and by_order.id == placed
        by_tag = journal.by_tag(conn, intent(account_id, 1).tag)
        assert by_tag is not None and by_tag.id == placed
        tags = [intent(account_id, number).tag for number in range(1, 700)]
        assert set(journal.by_tags(conn, [*tags, ""])) == {intent(account_id, 1).tag}


def test_what_is_open_is_counted_by_side(database: Database, account_id: int) -> None:
    with database.write() as conn:
        journal.new_intent(conn, intent(account_id, 1, quantity=50))
        sending = journal.new_intent(conn, intent(account_id, 2, quantity=30, side="SELL"))
        journal.change(conn, sending, S.SENDING, "slot", at=at(1))
        settled = journal.new_intent(conn, intent(account_id, 3, quantity=1000))
        journal.change(conn, settled, S.NOT_SENT, "queue full", at=at(1))
        journal.new_intent(conn, intent(account_id, 4, quantity=7, product="CNC"))
        journal.new_intent(conn, intent(account_id, 5, quantity=9, token="1"))
        journal.new_intent(conn, intent(
            account_id, 6, tag="", kind=IntentKind.MODIFY, target_order_id="1"
        ))
    with database.read() as conn:
        assert journal.working_quantity(conn, account_id, "NSE", "3045", "MIS") == 20
        assert [item.quantity for item in journal.open_intents(conn)] == [50, 30, 7, 9, 10]
        received = journal.open_intents(conn, [S.RECEIVED], account_id)
        assert [item.quantity for item in received] == [50, 7, 9, 10]
        assert journal.open_intents(conn, [S.NOT_SENT])[0].id == settled
        assert journal.open_intents(conn, account_id=account_id + 1) == []


def test_an_intent_that_is_sent_at_once_stands_as_if_it_was_changed(
    database: Database, account_id: int
) -> None:
    with database.write() as conn:
        wishes = intent(account_id, 1), intent(account_id, 2)
        changed = journal.new_intent(conn, wishes[0])
        journal.change(conn, changed, S.SENDING, "slot granted", at=at(1))
        at_once = journal.new_intent(conn, wishes[1], sending=(at(1), "slot granted"))
    with database.read() as conn:
        expected, found = journal.by_id(conn, changed), journal.by_id(conn, at_once)
        assert expected is not None and found is not None
        assert found == replace(
            expected, id=at_once, reference=wishes[1].reference, tag=wishes[1].tag
        )
        assert (found.state, found.sent_at) == (S.SENDING, at(1))
        assert journal.events(conn, at_once) == journal.events(conn, changed)
    with database.write() as conn, pytest.raises(AlreadyExists):
        journal.new_intent(conn, wishes[1], sending=(at(1), "slot granted"))


def test_an_accepted_order_is_unseen_until_a_book_shows_it(
    database: Database, account_id: int
) -> None:
    with database.write() as conn:
        intent_id = journal.new_intent(conn, intent(account_id))
        journal.change(conn, intent_id, S.SENDING, "slot", at=at(1))
        journal.change(conn, intent_id, S.ACCEPTED, "ok", at=at(2), broker_order_id="11000")
    with database.read() as conn:
        assert [item.id for item in journal.unseen(conn, account_id, NOON)] == [intent_id]
        assert journal.unseen(conn, account_id, at(1)) == []
    with database.write() as conn:
        assert journal.bear_out(conn, intent_id, "OPEN", "in the book", at=at(3))
        assert not journal.bear_out(conn, intent_id, "OPEN", "in the book", at=at(4))
        assert journal.bear_out(
            conn, intent_id, "REJECTED", "rejected later", at=at(5), message="RMS: margin exceeds"
        )
    with database.read() as conn:
        stored = journal.by_id(conn, intent_id)
        assert stored is not None
        assert (stored.seen_at, stored.book_state, stored.state) == (at(3), "REJECTED", S.ACCEPTED)
        assert journal.unseen(conn, account_id, NOON) == []
        told = journal.events(conn, intent_id)[-2:]
        assert [event.cause for event in told] == ["in the book", "rejected later"]
        assert (told[1].state, told[1].message) == (S.ACCEPTED, "RMS: margin exceeds")


def test_children_come_in_request_order(database: Database, account_id: int) -> None:
    with database.write() as conn:
        for number, index in ((1, 2), (2, 0), (3, 1)):
            journal.new_intent(conn, intent(
                account_id, number, parent_reference="BASKET", child_index=index
            ))
    with database.read() as conn:
        assert [item.child_index for item in journal.children(conn, "BASKET")] == [0, 1, 2]


def test_lists_are_by_account_time_and_kind(database: Database, account_id: int) -> None:
    with database.write() as conn:
        for number in range(1, 6):
            journal.new_intent(conn, intent(account_id, number, created_at=at(number)))
        journal.new_intent(conn, intent(
            account_id, 9, tag="", kind=IntentKind.CANCEL, created_at=at(9)
        ))
    with database.read() as conn:
        recent = journal.list_intents(conn, [account_id], at(3), kinds=[IntentKind.PLACE])
        assert [item.created_at for item in recent] == [at(5), at(4), at(3)]
        assert len(journal.list_intents(conn, [account_id], NOON)) == 6
        assert len(journal.list_intents(conn, [account_id], NOON, limit=2)) == 2
        assert journal.list_intents(conn, [account_id + 1], NOON) == []


def test_pruning_spares_what_is_open(database: Database, account_id: int) -> None:
    with database.write() as conn:
        journal.new_intent(conn, intent(account_id, 1))
        settled = journal.new_intent(conn, intent(account_id, 2))
        journal.change(conn, settled, S.NOT_SENT, "queue full", at=at(1))
        assert journal.prune(conn, at(0)) == 0
        assert journal.prune(conn, at(1)) == 1
    with database.read() as conn:
        assert journal.by_id(conn, settled) is None
        assert journal.events(conn, settled) == []
        assert len(journal.open_intents(conn)) == 1


def test_prices_keep_every_digit(database: Database, account_id: int) -> None:
    price = Decimal("99999999999.123456")
    with database.write() as conn:
        intent_id = journal.new_intent(conn, intent(account_id, price=price))
        stored = journal.by_id(conn, intent_id)
        assert stored is not None and stored.price == price
    with pytest.raises(ValueError, match="finite"), database.write() as conn:
        journal.new_intent(conn, intent(account_id, 2, price=Decimal("NaN")))
    with pytest.raises(ValueError, match="naive"), database.write() as conn:
        journal.new_intent(conn, intent(account_id, 3, created_at=NOON.replace(tzinfo=None)))


def test_an_order_is_found_by_its_name_and_not_by_reading_the_account_s_journal(
    tmp_path: Path,
) -> None:
    """Without statistics SQLite would take the account's index: every order that there ever was."""
    plans: list[str] = []

    def explain(conn: sa.Connection, _: object, sql: str, values: object, *__: object) -> None:
        if sql.startswith("SELECT"):
            rows = conn.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
            plans.extend(row[3] for row in rows if row[3].startswith(("SEARCH", "SCAN")))

    with sqlite_database(tmp_path) as database:
        sa.event.listen(database.engine, "before_cursor_execute", explain)
        with database.read() as conn:
            journal.find(conn, [1], "11000", user_id=1)
            journal.placed_as(conn, [1], "11000")
    found_by = [plan.partition("(")[2] for plan in plans]
    assert found_by == [
        "reference=?)", "broker_order_id=?)", "client_order_id=?)", "broker_order_id=?)",
    ]
