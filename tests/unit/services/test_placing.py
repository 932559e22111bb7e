"""One order: journalled first, sent once, and the truth about its outcome."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.base import Operation, Priority
from broker.errors import (
    BrokerBusy,
    OutcomeUnknown,
    Refused,
)
from broker.models import OrderType, Side
from database import journal
from database.engine import Database
from database.errors import DatabaseUnavailable
from database.journal import IntentState
from services.access import Principal
from services.errors import BrokerDisabled, Forbidden, Unavailable, UnknownSymbol
from services.flags import KILL_SWITCH
from services.order_models import Placed, Provenance
from tests.support.clocks import ManualClock
from tests.support.placing import place
from tests.support.trading import LOST, Trader, draft

# The plain case ---------------------------------------------------------------------------------


def test_an_accepted_order_is_journalled_before_and_after_the_wire(trader: Trader) -> None:
    placed = place(trader)
    assert placed.order_id == "1210000001"
    assert not placed.replayed
    intent = trader.intent(placed.reference)
    assert intent.state is IntentState.ACCEPTED
    assert intent.broker_order_id == placed.order_id
    assert (intent.symbol, intent.exchange, intent.token) == ("INFY", "NSE", "1594")
    assert (intent.strategy, intent.request_id) == ("tests", "req-1")
    assert trader.states(placed.reference) == ["received", "sending", "accepted"]
    assert trader.venue.calls("place") == 1
    assert trader.venue.slots_out == 0


def test_defect_02_every_intent_has_a_tag_of_its_own(trader: Trader) -> None:
    for _ in range(20):
        place(trader)
    tags = [tag for tag, _ in trader.venue.placed]
    assert len(set(tags)) == 20
    assert all(0 < len(tag) <= 20 for tag in tags)
    assert {intent.tag for intent in trader.intents()} == set(tags)


def test_no_byte_leaves_before_sending_is_committed(trader: Trader) -> None:
    seen: list[str] = []
    broker = trader.stack.sessions.connection(trader.account)
    original = broker.place

    def watching(*args: object, **kwargs: object) -> str:
        seen.extend(intent.state.value for intent in trader.intents())
        return original(*args, **kwargs)  # type: ignore[arg-type]

    broker.place = watching  # type: ignore[method-assign]
    place(trader)
    assert seen == ["sending"]


def test_defect_18_an_order_that_waits_is_journalled_before_it_waits(trader: Trader) -> None:
    trader.venue.no_slot_at_once = 1
    placed = place(trader)
    assert trader.states(placed.reference) == ["received", "sending", "accepted"]
    waits = [wait for operation, _, wait in trader.venue.reserved if operation is Operation.PLACE]
    assert waits == [False, True]


def test_priority_and_deadline_reach_the_pacer(trader: Trader) -> None:
    place(trader, priority=Priority.EXIT)
    assert trader.venue.reserved == [(Operation.PLACE, Priority.EXIT, False)]


# Nothing invalid is sent ------------------------------------------------------------------------


def test_defect_10_an_unknown_symbol_never_reaches_the_broker(trader: Trader) -> None:
    with pytest.raises(UnknownSymbol, match="Token not found for symbol 'NOPE' on 'NSE'"):
        trader.desk.orders.place(trader.principal, trader.account, draft(symbol="NOPE"))
    assert trader.venue.wire == []
    assert trader.intents() == []


def test_a_key_that_only_reads_places_nothing(trader: Trader) -> None:
    reader = Principal(trader.principal.user_id, "asha", False, "read")
    with pytest.raises(Forbidden):
        trader.desk.orders.place(reader, trader.account, draft())
    assert trader.venue.wire == []


@pytest.mark.parametrize("how", ["kill", "broker"])
def test_switches_stop_entries_and_let_exits_through(trader: Trader, how: str) -> None:
    trader.stack.sessions.connection(trader.account)
    if how == "kill":
        trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    else:
        trader.stack.accounts.set_broker_enabled("jainam_prop", False, "asha")
    with pytest.raises(BrokerDisabled):
        place(trader)
    assert trader.venue.placed == []
    assert place(trader, priority=Priority.EXIT).order_id


def test_a_broker_that_is_off_says_so_before_it_misses_a_symbol(trader: Trader) -> None:
    order = draft(symbol="GONE")
    with pytest.raises(UnknownSymbol):
        trader.desk.orders.place(trader.principal, trader.account, order)
    trader.stack.accounts.set_broker_enabled("jainam_prop", False, "asha")
    with pytest.raises(BrokerDisabled, match="'jainam_prop' is off"):
        trader.desk.orders.place(trader.principal, trader.account, order)


@pytest.mark.parametrize(
    ("failure", "told"),
    [(DatabaseUnavailable("gone"), Unavailable), (ZeroDivisionError(), ZeroDivisionError)],
)
def test_defect_16_an_error_while_asking_the_switches_sends_nothing(
    trader: Trader, monkeypatch: pytest.MonkeyPatch, failure: Exception, told: type[Exception]
) -> None:
    def fail(name: str, default: bool = False) -> bool:
        raise failure

    trader.stack.sessions.connection(trader.account)
    monkeypatch.setattr(trader.stack.flags, "is_on", fail)
    with pytest.raises(told):
        place(trader)
    assert trader.venue.calls("place") == 0


def test_defect_17_a_switch_holds_in_every_process_within_a_second(
    trader: Trader, clock: ManualClock
) -> None:
    other = Trader(trader.database, trader.stack_folder, clock)
    place(other)
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    clock.advance(1.0)
    with pytest.raises(BrokerDisabled, match="kill switch"):
        place(other)
    assert trader.venue.calls("place") == 1


def test_a_price_outside_the_morning_band_only_warns(trader: Trader) -> None:
    order = draft(order_type=OrderType.LIMIT, price="130")
    placed = trader.desk.orders.place(trader.principal, trader.account, order)
    assert placed.order_id
    assert "80 to 120" in placed.warnings[0]


# Unknown outcomes -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["accept_lost", "no_id", "crash", "hang"])
def test_defect_01_an_accepted_order_whose_answer_is_lost_is_found_by_its_tag(
    trader: Trader, fault: str
) -> None:
    trader.venue.script("place", fault)
    placed = place(trader)
    assert placed.order_id == trader.venue.book[0].order_id
    assert trader.venue.calls("place") == 1
    assert trader.states(placed.reference) == ["received", "sending", "unknown", "accepted"]


def test_an_order_that_shows_up_late_is_still_found_in_the_request(trader: Trader) -> None:
    trader.venue.script("place", "late:3")
    assert place(trader).order_id == trader.venue.book[0].order_id


def test_an_order_found_rejected_is_told_as_rejected(trader: Trader) -> None:
    trader.venue.script("place", "accept_lost")
    trader.venue.during["place"] = done = threading.Event()
    done.set()
    original = trader.venue.add

    def rejected(*args: object, **kwargs: object) -> object:
        row = original(*args, **kwargs)  # type: ignore[arg-type]
        return trader.venue.change(
            row.order_id, state=type(row.state).REJECTED, reason="RED:Margin Shortfall"
        )

    trader.venue.add = rejected  # type: ignore[method-assign,assignment]
    with pytest.raises(Refused, match="RED:Margin Shortfall") as caught:
        place(trader)
    assert trader.states(caught.value.reference)[-1] == "rejected"


@pytest.mark.parametrize("fault", ["lost", "late:99"])
def test_what_the_book_does_not_show_stays_unknown_and_is_told_with_its_reference(
    trader: Trader, fault: str, clock: ManualClock
) -> None:
    trader.venue.script("place", fault)
    began = clock.monotonic()
    with pytest.raises(OutcomeUnknown) as caught:
        place(trader)
    error = caught.value
    assert error.message.startswith(LOST)
    assert error.reference in error.message
    assert trader.states(error.reference) == ["received", "sending", "unknown"]
    assert trader.venue.calls("place") == 1
    assert trader.venue.calls("orders") >= 3
    assert clock.monotonic() - began <= 10.0
    (waiting,) = trader.desk.orders.without_outcome(trader.account)
    assert (waiting.reference, waiting.state) == (error.reference, IntentState.UNKNOWN)
    place(trader)
    assert trader.desk.orders.without_outcome(trader.account) == [waiting]


def test_a_book_that_cannot_be_read_proves_nothing(trader: Trader) -> None:
    trader.venue.script("place", "accept_lost")
    trader.venue.script("orders", *["fail"] * 50)
    with pytest.raises(OutcomeUnknown) as caught:
        place(trader)
    assert trader.intent(caught.value.reference).state is IntentState.UNKNOWN


def test_a_book_that_cannot_be_read_for_a_while_is_read_again_to_the_deadline(
    trader: Trader,
) -> None:
    trader.venue.script("place", "accept_lost")
    trader.venue.script("orders", *["fail"] * 9)
    assert place(trader).order_id == trader.venue.book[0].order_id


def test_the_look_up_comes_back_when_the_broker_says_and_once_more_at_the_end(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.script("place", "accept_lost")
    trader.venue.script("orders", BrokerBusy("Wait.", retry_after=9.4), *["fail"] * 50)
    began = clock.monotonic()
    looks: list[float] = []
    original = trader.venue.fault

    def fault(operation: str, detail: str = "") -> object:
        if operation == "orders":
            looks.append(clock.monotonic() - began)
        return original(operation, detail)

    trader.venue.fault = fault  # type: ignore[method-assign,assignment]
    with pytest.raises(OutcomeUnknown):
        place(trader)
    assert looks == pytest.approx([0.05, 9.45, 9.75])


def test_a_book_whose_session_dies_is_read_with_the_next_one(trader: Trader) -> None:
    trader.venue.script("place", "accept_lost")
    trader.venue.script("orders", "dead")
    assert place(trader).order_id == trader.venue.book[0].order_id


def test_an_unknown_outcome_is_never_sent_again(trader: Trader) -> None:
    trader.venue.script("place", "connect", "lost")
    with pytest.raises(OutcomeUnknown):
        place(trader)
    assert trader.venue.calls("place") == 2  # the first provably never left


# The journal fails ------------------------------------------------------------------------------


def break_writes(trader: Trader, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> None:
    """Let the database refuse every write but the first `after`."""
    original = Database.write
    writes = 0

    def write(database: Database, *, durable: bool = True) -> object:
        nonlocal writes
        writes += 1
        if writes > after:
            raise DatabaseUnavailable("the database is not available: disk full")
        return original(database, durable=durable)

    monkeypatch.setattr(Database, "write", write)


def test_without_a_journal_entries_are_refused(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.stack.sessions.connection(trader.account)
    break_writes(trader, monkeypatch)
    with pytest.raises(Unavailable, match="journal cannot be written"):
        place(trader)
    assert trader.venue.calls("place") == 0
    assert trader.venue.slots_out == 0


def test_without_a_journal_exits_go_on_and_are_journalled_later(
    trader: Trader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trader.stack.sessions.connection(trader.account)
    with monkeypatch.context() as broken:
        break_writes(trader, broken)
        placed = place(trader, priority=Priority.EXIT)
    assert trader.venue.calls("place") == 1
    assert any(record.levelname == "CRITICAL" for record in caplog.records)
    with trader.database.read() as conn:
        assert journal.get(conn, placed.reference) is None
    trader.desk.orders.journal(trader.principal, place(trader).reference)
    assert trader.states(placed.reference) == ["received", "sending", "accepted"]


def test_an_acceptance_that_cannot_be_journalled_is_still_told(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.stack.sessions.connection(trader.account)
    with monkeypatch.context() as broken:
        break_writes(trader, broken, after=1)
        placed = place(trader)
    assert placed.order_id == trader.venue.book[0].order_id
    assert trader.intent(placed.reference).state is IntentState.SENDING
    trader.desk.reconciler.run_once()
    assert trader.intent(placed.reference).state is IntentState.ACCEPTED


def test_an_order_given_up_while_it_waited_is_not_sent(trader: Trader) -> None:
    trader.venue.no_slot_at_once = 1
    broker = trader.stack.sessions.connection(trader.account)
    original = broker.reserve

    def reserve(*args: object, **kwargs: object) -> object:
        slot = original(*args, **kwargs)  # type: ignore[arg-type]
        intent = trader.intents()[0]
        with trader.database.write() as conn:
            journal.change(
                conn, intent.id, IntentState.NOT_SENT, "abandoned", at=trader.clock.now()
            )
        return slot

    broker.reserve = reserve  # type: ignore[method-assign,assignment]
    with pytest.raises(Unavailable, match="given up"):
        place(trader)
    assert trader.venue.calls("place") == 0
    assert trader.venue.slots_out == 0


# Under a fixed reference ------------------------------------------------------------------------


def test_the_same_reference_is_answered_from_the_journal(trader: Trader) -> None:
    first = place(trader, provenance=Provenance("r", reference="REF-1"))
    again = place(trader, provenance=Provenance("r", reference="REF-1"))
    assert again == Placed("REF-1", first.order_id, replayed=True)
    assert trader.venue.calls("place") == 1


def test_a_repeat_of_an_unknown_order_looks_again(trader: Trader) -> None:
    trader.venue.script("place", "late:99")
    with pytest.raises(OutcomeUnknown):
        place(trader, provenance=Provenance("r", reference="REF-1"))
    trader.venue.hidden.clear()
    assert place(trader, provenance=Provenance("r", reference="REF-1")).replayed
    assert trader.intent("REF-1").state is IntentState.ACCEPTED
    assert trader.venue.calls("place") == 1


def test_a_repeat_of_a_refused_order_is_refused_in_the_same_words(trader: Trader) -> None:
    trader.venue.script("place", "refuse")
    for _ in range(2):
        with pytest.raises(Refused, match="Margin Exceeds") as caught:
            place(trader, provenance=Provenance("r", reference="REF-1"))
        assert caught.value.reference == "REF-1"
    assert trader.venue.calls("place") == 1


def test_concurrent_orders_each_reach_the_wire_once(trader: Trader) -> None:
    threads = [threading.Thread(target=place, args=(trader,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trader.venue.calls("place") == 16
    assert {intent.state for intent in trader.intents()} == {IntentState.ACCEPTED}
    assert all(order.side is Side.BUY for _, order in trader.venue.placed)


def test_one_place_in_the_code_submits() -> None:
    root = Path(__file__).resolve().parents[3]
    found = [
        path.name
        for folder in ("broker", "services", "database", "blueprints", "cli", "utils")
        for path in (root / folder).rglob("*.py")
        if "testing" not in path.parts and re.search(r"\bbroker\.place\(", path.read_text())
    ]
    assert found == ["placing.py"]


def test_the_first_order_after_the_night_logs_in_once_and_goes_out_once(
    trader: Trader, clock: ManualClock
) -> None:
    """The session of yesterday is over: one login on the wire, one order, whoever comes first."""
    place(trader)
    clock.advance(20 * 3600)
    logins = len(trader.venue.logins)
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda _: place(trader), range(8)))
    assert len(trader.venue.logins) == logins + 1
    assert len({one.order_id for one in placed}) == 8
    assert len(trader.venue.placed) == 9
