"""Idempotency keys: first come, first served, and everybody else gets that answer."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from database import idempotency
from database.engine import Database
from database.errors import NoSuchRow
from database.idempotency import InFlight, Mismatch, New, Outcome, Replay, Scope
from tests.support.databases import NOON, add_account, add_user

DAY = timedelta(days=1)


@pytest.fixture
def scope(user_id: int, account_id: int) -> Scope:
    return Scope(user_id, account_id)


def begin(database: Database, scope: Scope, fingerprint: str = "f1", reference: str = "R1",
          after: timedelta = timedelta(0)) -> Outcome:
    with database.write() as conn:
        return idempotency.begin(
            conn, scope, "key-1", fingerprint, reference, at=NOON + after,
            expires_at=NOON + after + DAY,
        )


def test_a_key_is_new_then_in_flight_then_replayed(database: Database, scope: Scope) -> None:
    assert begin(database, scope) == New()
    assert begin(database, scope, reference="R2") == InFlight("R1", NOON)
    with database.write() as conn:
        assert idempotency.unfinished(conn) == [(scope, "key-1", "R1", NOON)]
        idempotency.finish(conn, scope, "key-1", 200, '{"status":"success"}')
        assert idempotency.unfinished(conn) == []
    assert begin(database, scope) == Replay(200, '{"status":"success"}', "R1")


def test_another_body_is_a_mismatch_answered_or_not(database: Database, scope: Scope) -> None:
    begin(database, scope)
    assert begin(database, scope, fingerprint="f2") == Mismatch("R1")
    with database.write() as conn:
        idempotency.finish(conn, scope, "key-1", 400, "{}")
    assert begin(database, scope, fingerprint="f2") == Mismatch("R1")


def test_the_same_text_of_another_user_or_account_is_another_key(
    database: Database, scope: Scope
) -> None:
    begin(database, scope)
    other_user = Scope(add_user(database, "ravi"), scope.account_id)
    other_account = Scope(scope.user_id, add_account(database, "prop-c"))
    assert begin(database, other_user) == New()
    assert begin(database, other_account) == New()


def test_an_answer_is_kept_until_it_expires(database: Database, scope: Scope) -> None:
    begin(database, scope)
    with database.write() as conn:
        idempotency.finish(conn, scope, "key-1", 200, "{}")
        assert idempotency.prune(conn, NOON + DAY - timedelta(seconds=1)) == 0
    assert isinstance(begin(database, scope, after=DAY - timedelta(seconds=1)), Replay)
    assert begin(database, scope, "f9", "R9", after=DAY) == New()
    assert begin(database, scope, "f9", after=DAY) == InFlight("R9", NOON + DAY)
    with database.write() as conn:
        idempotency.finish(conn, scope, "key-1", 200, "{}")
        assert idempotency.prune(conn, NOON + 2 * DAY) == 1


def test_an_order_of_unknown_fate_never_frees_its_key(database: Database, scope: Scope) -> None:
    begin(database, scope)
    assert begin(database, scope, after=10 * DAY) == InFlight("R1", NOON)
    with database.write() as conn:
        assert idempotency.prune(conn, NOON + 10 * DAY) == 0


def test_a_key_is_given_back_when_nothing_was_sent(database: Database, scope: Scope) -> None:
    begin(database, scope)
    with database.write() as conn:
        assert idempotency.release(conn, scope, "key-1")
    assert begin(database, scope) == New()
    with database.write() as conn:
        idempotency.finish(conn, scope, "key-1", 200, "{}")
        assert not idempotency.release(conn, scope, "key-1")


def test_finishing_what_nobody_began_is_an_error(database: Database, scope: Scope) -> None:
    with pytest.raises(NoSuchRow), database.write() as conn:
        idempotency.finish(conn, scope, "key-1", 200, "{}")


def test_of_many_threads_one_is_first(database: Database, scope: Scope) -> None:
    outcomes: list[Outcome] = []
    start = threading.Barrier(12)

    def race(number: int) -> None:
        start.wait()
        outcomes.append(begin(database, scope, reference=f"R{number}"))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(New()) == 1
    others = [outcome for outcome in outcomes if outcome != New()]
    assert len(others) == 11
    assert len({outcome.reference for outcome in others if isinstance(outcome, InFlight)}) == 1
