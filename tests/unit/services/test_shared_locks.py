"""Locks of several hosts: exclusive, renewed, lost honestly, and what happens without Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from broker.waiting import WaitingRoom, urgent
from services import shared_locks
from services.errors import QueueFull, Unavailable
from services.locks import HostLocks, LockBusy, LockLost, demand_held
from services.shared_locks import SharedLocks
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import wait_until
from utils.clock import SystemClock

pytestmark = pytest.mark.redis

CLOCK = SystemClock()


def host(server: RedisServer, folder: Path, room: WaitingRoom | None = None) -> SharedLocks:
    """The locks of a host of its own, with a folder of its own."""
    own = HostLocks(folder, CLOCK, room)
    return SharedLocks(server.link(), own, CLOCK, instance="test", room=room)


def is_settled(locks: SharedLocks) -> bool:
    try:
        return locks.is_free("settled")
    except Unavailable:
        return False


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def hosts(server: RedisServer, tmp_path: Path) -> list[SharedLocks]:
    """Two hosts on a Redis that has been there for a while."""
    found = [host(server, tmp_path / name) for name in "ab"]
    wait_until(lambda: is_settled(found[0]))
    return found


def test_one_host_at_a_time(hosts: list[SharedLocks]) -> None:
    here, there = hosts
    with here.lock("a", 0.0):
        assert not there.is_free("a")
        assert there.is_free("b")
        with pytest.raises(LockBusy), there.lock("a", 0.05):
            pytest.fail("two holders")
        demand_held()
    assert there.is_free("a")


def test_threads_of_two_hosts_never_hold_it_together(hosts: list[SharedLocks]) -> None:
    inside, worst, entered = 0, 0, 0

    def work(own: SharedLocks) -> None:
        nonlocal inside, worst, entered
        for _ in range(15):
            with own.lock("hot", 30.0):
                inside += 1
                worst = max(worst, inside)
                time.sleep(0.0005)
                entered += 1
                inside -= 1

    threads = [threading.Thread(target=work, args=(own,)) for own in hosts * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (worst, entered) == (1, 90)


def test_a_lock_is_renewed_while_it_is_held(
    server: RedisServer, hosts: list[SharedLocks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_locks, "LEASE", 1.2)
    monkeypatch.setattr(shared_locks, "MARGIN", 0.2)
    monkeypatch.setattr(shared_locks, "RENEW_EVERY", 0.1)
    here, there = host(server, tmp_path / "new"), hosts[0]
    with here.lock("long", 0.0):
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            assert not there.is_free("long")
            demand_held()
            time.sleep(0.05)


def test_a_lease_that_was_lost_stops_its_holder_before_a_send(
    server: RedisServer, hosts: list[SharedLocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_locks, "RENEW_EVERY", 0.05)
    here, there = hosts
    with here.lock("lost", 0.0):
        with server.client() as client:  # as if it had lapsed
            client.delete("openalgo:{locks}:test:lost")
            client.set("openalgo:{locks}:test:lost", "somebody else")
        wait_until(lambda: _is_lost())
        with pytest.raises(LockLost) as caught:
            demand_held()
        assert (caught.value.http_status, caught.value.kind) == (503, "lock_lost")
    demand_held()
    assert not there.is_free("lost"), "what is somebody else's is not given back"


def test_a_lock_that_was_given_back_while_it_was_renewed_is_not_called_lost(
    hosts: list[SharedLocks], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_locks, "RENEW_EVERY", 0.05)
    here, there = hosts
    renew, asked, go_on, answers = here._renew, threading.Event(), threading.Event(), []

    def slow(keys: Sequence[str], arguments: Sequence[object]) -> int:
        asked.set()
        assert go_on.wait(10)
        answers.append(int(renew(keys, arguments)))
        return answers[-1]

    monkeypatch.setattr(here, "_renew", slow)
    with here.lock("late", 0.0):
        assert asked.wait(10)
    with there.lock("late", 0.0):
        go_on.set()
        wait_until(lambda: bool(answers))
        time.sleep(0.1)  # for what is done with the answer
        assert not here.is_free("late")
        demand_held()
    assert answers[0] == 0
    assert "was lost" not in caplog.text


def _is_lost() -> bool:
    try:
        demand_held()
    except LockLost:
        return True
    return False


def test_a_lease_that_could_not_be_renewed_in_time_counts_as_lost(
    server: RedisServer, hosts: list[SharedLocks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_locks, "LEASE", 0.5)
    monkeypatch.setattr(shared_locks, "MARGIN", 0.2)
    monkeypatch.setattr(shared_locks, "RENEW_EVERY", 60.0)
    here, there = host(server, tmp_path / "new"), hosts[0]
    with here.lock("stalled", 0.0):
        demand_held()
        wait_until(lambda: there.is_free("stalled"))
        with pytest.raises(LockLost):
            demand_held()


def test_without_redis_only_the_way_out_goes_on_under_the_hosts_lock(tmp_path: Path) -> None:
    with redis_server() as server:
        here = host(server, tmp_path / "a")
        twin = host(server, tmp_path / "a")
        wait_until(lambda: is_settled(here))
        server.kill()
        with pytest.raises(Unavailable, match=r"Nothing was sent"):
            with here.lock("a", 0.0):
                pytest.fail("no lock of all hosts without Redis")
        with urgent(), here.lock("a", 0.0):
            demand_held()
            with pytest.raises(LockBusy), twin.lock("a", 0.0):
                pytest.fail("the host's lock still holds")
        server.start()
        wait_until(lambda: is_settled(here))


def test_a_redis_that_begins_anew_gives_nobody_a_lock_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_locks, "RENEW_EVERY", 0.1)
    monkeypatch.setattr(shared_locks, "GRACE", 1.5)
    with redis_server() as server:
        here, there = (host(server, tmp_path / name) for name in "ab")
        wait_until(lambda: is_settled(here))
        with here.lock("kept", 0.0):
            server.kill()
            server.start()
            with pytest.raises((Unavailable, LockBusy)), there.lock("kept", 0.0):
                pytest.fail("two holders")
            wait_until(lambda: is_settled(there))
            assert not there.is_free("kept")
            demand_held()
        assert there.is_free("kept")


def test_who_waits_for_a_lock_takes_a_seat(hosts: list[SharedLocks], tmp_path: Path) -> None:
    room = WaitingRoom(2)
    own = HostLocks(tmp_path / "seats", CLOCK, room)
    results: list[object] = []

    def work() -> None:
        try:
            with own.lock("hot", 10.0):
                results.append("held")
        except QueueFull as error:
            results.append(error)

    with own.lock("hot", 0.0):
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(results) == 4)
        assert all(isinstance(result, QueueFull) for result in results)
    for thread in threads:
        thread.join(10)
    assert results[4:] == ["held", "held"]
