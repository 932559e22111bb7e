"""Idempotency keys: one answer, whatever happens in between."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from broker.errors import BrokerError, OutcomeUnknown, Refused, SessionExpired
from database import idempotency as keys
from database.engine import Database
from database.errors import DatabaseUnavailable
from database.journal import IntentState
from services.accounts import NewAccount
from services.errors import (
    DuplicateInFlight,
    IdempotencyMismatch,
    InvalidRequest,
    ServiceError,
    Unavailable,
)
from services.idempotency import Answer
from services.locks import LockBusy
from services.order_models import Provenance
from tests.support.trading import Trader, draft
from tests.support.venue import CREDENTIALS, VENUES
from utils.clock import SystemClock

Body = dict[str, Any]


def describe(error: Exception) -> tuple[int, Body]:
    assert isinstance(error, BrokerError | ServiceError)
    return error.http_status, {"status": "error", "message": error.message}


def order(trader: Trader, key: str = "K", body: str = "one", **values: object) -> Answer:
    """Place an order under a key, as the HTTP layer does."""

    def produce(reference: str) -> tuple[int, Body]:
        placed = trader.desk.orders.place(
            trader.principal, trader.account, draft(**values),  # type: ignore[arg-type]
            provenance=Provenance("r", client_order_id=key, reference=reference),
        )
        return 200, {"orderid": placed.order_id}

    return trader.desk.idempotency.run(
        trader.principal, trader.account, key, body, produce, describe
    )


def test_a_repeat_gets_the_first_answer(trader: Trader) -> None:
    first = order(trader)
    again = order(trader)
    assert (first.replayed, again.replayed) == (False, True)
    assert (first.status, first.body) == (again.status, again.body)
    assert trader.venue.calls("place") == 1


def test_a_repeat_takes_no_lock_and_writes_nothing(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = order(trader)
    monkeypatch.setattr(Database, "write", lambda *_, **__: pytest.fail("a write"))
    with trader.stack.locks.lock(f"key/{trader.principal.user_id}/{trader.account.id}/K", 0.0):
        assert order(trader).body == first.body
        with pytest.raises(IdempotencyMismatch):
            order(trader, body="two")


def test_another_request_under_the_key_is_refused(trader: Trader) -> None:
    order(trader)
    with pytest.raises(IdempotencyMismatch) as caught:
        order(trader, body="two")
    assert caught.value.http_status == 422
    assert caught.value.reference == trader.intents()[0].reference
    assert trader.venue.calls("place") == 1


def test_a_key_is_free_again_when_there_was_no_session_to_send_with(trader: Trader) -> None:
    """`SessionExpired` says "refused" of its request; of the order nothing had gone out."""
    trader.stack.sessions.connection(trader.account)
    trader.stack.sessions.logout(trader.account)
    with pytest.raises(SessionExpired):
        order(trader)
    assert trader.intents()[0].state is IntentState.NOT_SENT
    trader.stack.sessions.login(trader.account)
    assert order(trader).body["orderid"]
    assert trader.venue.calls("place") == 1


def test_a_repeat_while_the_first_is_worked_on_is_a_conflict(trader: Trader) -> None:
    trader.venue.during["place"] = threading.Event()
    thread = threading.Thread(target=order, args=(trader,))
    thread.start()
    while not trader.venue.calls("place"):
        SystemClock().sleep(0.001)
    other = Trader(trader.database, trader.stack_folder, trader.clock)
    for process in (trader, other):
        with pytest.raises(DuplicateInFlight) as caught:
            order(process)
        assert caught.value.http_status == 409
        assert caught.value.reference == trader.intents()[0].reference
    trader.venue.during["place"].set()
    thread.join(10)
    assert order(other).replayed
    assert trader.venue.calls("place") == 1


def test_fifty_threads_in_two_processes_send_one_order(
    main_database: Database, tmp_path: Path
) -> None:
    VENUES.clear()
    processes = [Trader(main_database, tmp_path, SystemClock()) for _ in range(2)]
    answers: list[Answer] = []
    conflicts: list[DuplicateInFlight] = []
    barrier = threading.Barrier(50)

    def work(trader: Trader) -> None:
        barrier.wait(10)
        try:
            answers.append(order(trader))
        except DuplicateInFlight as error:
            conflicts.append(error)

    threads = [threading.Thread(target=work, args=(processes[i % 2],)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) + len(conflicts) == 50
    assert len({answer.body["orderid"] for answer in answers}) == 1
    assert processes[0].venue.calls("place") == 1
    assert len(processes[0].venue.book) == 1


def test_a_refusal_by_the_broker_is_repeated(trader: Trader) -> None:
    trader.venue.script("place", "refuse")
    with pytest.raises(Refused):
        order(trader)
    again = order(trader)
    assert (again.status, again.replayed) == (400, True)
    assert "Margin Exceeds" in again.body["message"]
    assert trader.venue.calls("place") == 1


@pytest.mark.parametrize("how", ["invalid", "busy", "connect"])
def test_what_was_not_sent_does_not_use_up_the_key(trader: Trader, how: str) -> None:
    if how == "invalid":
        with pytest.raises(InvalidRequest):
            order(trader, body="bad", quantity=0)
    else:
        faults = {"busy": ["circuit"], "connect": ["connect", "connect"]}[how]
        trader.venue.script("place", *faults)
        with pytest.raises(BrokerError):
            order(trader)
    done = order(trader)
    assert (done.status, done.replayed) == (200, False)


def test_a_repeat_of_an_unknown_answer_tells_what_is_known_by_now(trader: Trader) -> None:
    trader.venue.script("place", "late:99")
    with pytest.raises(OutcomeUnknown):
        order(trader)
    with pytest.raises(OutcomeUnknown):
        order(trader)
    trader.venue.hidden.clear()
    settled = order(trader)
    assert (settled.status, settled.replayed) == (200, True)
    assert settled.body["orderid"] == trader.venue.book[0].order_id
    assert order(trader).body == settled.body
    assert trader.venue.calls("place") == 1


class Killed(BaseException):
    """Stands for the death of the process."""


def test_a_request_whose_process_died_before_the_journal_is_done_afresh(trader: Trader) -> None:
    def die(reference: str) -> tuple[int, Body]:
        raise Killed

    with pytest.raises(Killed):
        trader.desk.idempotency.run(
            trader.principal, trader.account, "K", "one", die, describe
        )
    assert order(trader).body["orderid"]
    assert trader.venue.calls("place") == 1


@pytest.mark.parametrize("point", ["before the answer", "after the answer"])
def test_a_request_whose_process_died_later_is_answered_from_the_journal(
    trader: Trader, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    broker = trader.stack.sessions.connection(trader.account)
    with monkeypatch.context() as dying:
        if point == "after the answer":
            dying.setattr("services.idempotency.IdempotencyService._finish", die)
        else:
            original = broker.place

            def place(*args: object, **kwargs: object) -> str:
                original(*args, **kwargs)  # type: ignore[arg-type]
                raise Killed

            dying.setattr(broker, "place", place)
        with pytest.raises(Killed):
            order(trader)
    again = order(Trader(trader.database, trader.stack_folder, trader.clock))
    assert again.body == {"orderid": trader.venue.book[0].order_id}
    assert trader.venue.calls("place") == 1


def test_an_answer_that_cannot_be_kept_is_told_all_the_same(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseUnavailable("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(keys, "finish", fail)
        first = order(trader)
    assert order(trader).body == first.body
    assert trader.venue.calls("place") == 1


def test_a_key_that_cannot_be_given_back_is_no_second_failure(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseUnavailable("disk full")

    monkeypatch.setattr(keys, "release", fail)
    with pytest.raises(InvalidRequest):
        order(trader, quantity=0)


def test_without_a_database_nothing_is_begun(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(database: Database) -> None:
        raise DatabaseUnavailable("disk full")

    monkeypatch.setattr(Database, "write", gone)
    with pytest.raises(Unavailable, match="nothing was sent"):
        order(trader)
    assert trader.venue.calls("place") == 0


def test_a_busy_lock_of_the_order_itself_is_no_repeat_of_the_key(trader: Trader) -> None:
    """A smart order waits for its instrument: that is another lock, and nothing is in flight."""

    def busy(reference: str) -> tuple[int, Body]:
        raise LockBusy("Another request is working on 'position'.")

    with pytest.raises(LockBusy):
        trader.desk.idempotency.run(
            trader.principal, trader.account, "K", "one", busy, describe
        )
    assert order(trader).status == 200


@pytest.mark.parametrize("broken", [("write",), ("read", "write")])
def test_a_cancel_goes_on_where_its_key_cannot_be_kept(
    trader: Trader, monkeypatch: pytest.MonkeyPatch, broken: tuple[str, ...]
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("disk full")

    def cancel(repeatable: bool) -> Answer:
        return trader.desk.idempotency.run(
            trader.principal, trader.account, "C", "one", lambda _: (200, {"done": True}), describe,
            repeatable=repeatable,
        )

    with monkeypatch.context() as patch:
        for name in broken:
            patch.setattr(Database, name, gone)
        with pytest.raises(Unavailable):
            cancel(repeatable=False)
        assert cancel(repeatable=True) == Answer(200, {"done": True}, replayed=False)


def test_keys_belong_to_user_and_account(trader: Trader) -> None:
    order(trader)
    secrets = {name: value.replace("CANARY", "CANARY2") for name, value in CREDENTIALS.items()}
    other = trader.stack.accounts.add(
        trader.principal, NewAccount("prop-c", "jainam_prop", secrets)
    )
    answer = trader.desk.idempotency.run(
        trader.principal, other, "K", "one", lambda reference: (200, {"mine": True}), describe
    )
    assert answer == Answer(200, {"mine": True}, replayed=False)


@pytest.mark.parametrize("key", ["", " a", "a ", "a\n", "x" * 129])
def test_a_key_that_is_none(trader: Trader, key: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 128 printable"):
        order(trader, key=key)
