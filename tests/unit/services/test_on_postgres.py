"""The same services on PostgreSQL, where several hosts share them: the paths that race."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from broker.errors import SessionExpired
from database.engine import Database
from services.errors import Conflict
from tests.support.clocks import ManualClock
from tests.support.databases import postgres_database
from tests.support.stacks import Stack
from tests.support.venue import Venue

pytestmark = pytest.mark.postgres


@pytest.fixture
def main_database() -> Iterator[Database]:
    with postgres_database() as made:
        yield made


def test_keys_and_flags_reach_the_other_process(
    stack: Stack, other_process: Stack, clock: ManualClock
) -> None:
    asha = stack.user()
    view, plain = stack.access.create_key(asha, "laptop")
    assert other_process.access.authenticate_key(plain) is not None
    stack.access.revoke_key(asha, view.id)
    stack.flags.switch("kill", True, "asha")
    clock.advance(0.6)
    assert other_process.access.authenticate_key(plain) is None
    assert other_process.flags.is_on("kill")
    stack.access.flush_last_used()
    other_process.access.flush_last_used()
    assert stack.access.list_keys(asha)[0].last_used_at is not None


def test_processes_that_start_together_make_each_account_once(
    main_database: Database, tmp_path: Path, clock: ManualClock, venue: Venue
) -> None:
    stacks = [Stack(main_database, tmp_path, clock) for _ in range(6)]
    together = threading.Barrier(6)

    def begin(stack: Stack) -> int:
        together.wait(10)
        return stack.account.id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(begin, stacks))) == 1


def test_only_one_first_administrator(stack: Stack, other_process: Stack) -> None:
    stack.access.create_first_admin("root", "a long password")
    with pytest.raises(Conflict):
        other_process.access.create_first_admin("root2", "a long password")


def test_processes_share_a_session_and_its_end(
    stack: Stack, other_process: Stack, venue: Venue, clock: ManualClock
) -> None:
    def available(process: Stack) -> Decimal:
        return process.sessions.read(
            process.account, lambda broker, by: broker.funds(deadline=by)
        ).available

    stack.sessions.connection(stack.account)
    other_process.sessions.connection(other_process.account)
    venue.kill()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(available, (stack, other_process))) == [Decimal(2)] * 2
    assert len(venue.logins) == 2
    stack.sessions.logout(stack.account)
    clock.advance(0.6)
    with pytest.raises(SessionExpired, match="is disconnected"):
        available(other_process)
    assert [alarm.rule for alarm in stack.alarms.list()] == []
