"""Recurring work: in one process at a time, at its intervals, whatever a run does."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from database.engine import Database
from database.errors import DatabaseUnavailable
from services.jobs import Scheduler
from tests.support.clocks import ManualClock
from tests.support.databases import sqlite_database
from tests.support.waiting import wait_until
from utils.clock import SystemClock


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


def test_one_process_of_several_holds_the_lease(database: Database, clock: ManualClock) -> None:
    first, second = (Scheduler(database, clock, holder=name) for name in ("a", "b"))
    assert not first.holds_lease
    assert first.renew() and not second.renew()
    assert first.holds_lease and not second.holds_lease
    done: list[str] = []
    for scheduler in (first, second):
        scheduler.every("count", 60, lambda by=scheduler.holder: done.append(by))
        scheduler.every("here", 60, lambda by=scheduler.holder: done.append(f"{by} too"),
                        leased=False)
    assert first.run("count") and not second.run("count")
    assert first.run("here") and second.run("here")
    assert done == ["a", "a too", "b too"]


def test_a_holder_that_stops_renewing_stops_before_another_starts(
    database: Database, clock: ManualClock
) -> None:
    first, second = Scheduler(database, clock), Scheduler(database, clock)
    assert first.holder != second.holder
    assert first.renew()
    clock.advance(17)
    assert first.holds_lease and not second.renew()
    clock.advance(2)
    assert not first.holds_lease and not second.renew()
    clock.advance(2)
    assert second.renew() and second.holds_lease
    assert not first.renew()


def test_the_lease_of_a_killed_process_is_taken_over_at_once(
    database: Database, clock: ManualClock
) -> None:
    killed = subprocess.Popen(["sleep", "60"])
    mine = Scheduler(database, clock)
    host, place, _, _ = mine.holder.split(":")
    assert place, "this machine tells no process spaces"
    dead = Scheduler(database, clock, holder=f"{host}:{place}:{killed.pid}:aa")
    assert dead.renew() and not mine.renew()
    killed.kill()
    killed.wait()
    assert mine.renew() and mine.holds_lease


def test_the_lease_of_a_process_of_another_machine_is_left_alone(
    database: Database, clock: ManualClock
) -> None:
    away = Scheduler(database, clock, holder="elsewhere:another-boot/1:999999999:aa")
    assert away.renew()
    assert not Scheduler(database, clock).renew()


def test_work_that_fails_is_logged_and_goes_on(
    database: Database, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(database, clock)
    scheduler.renew()
    results = iter([RuntimeError("broken"), None])

    def work() -> None:
        result = next(results)
        if result is not None:
            raise result

    scheduler.every("work", 60, work)
    with caplog.at_level(logging.ERROR):
        assert not scheduler.run("work")
    assert "'work' failed" in caplog.text
    assert scheduler.run("work")


def test_a_database_that_is_away_lets_the_lease_lapse(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(database, clock)
    scheduler.renew()

    def away() -> None:
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(database, "write", away)
    assert scheduler.renew()  # still its own for a while
    clock.advance(19)
    assert not scheduler.renew()


def test_names_are_used_once(database: Database, clock: ManualClock) -> None:
    scheduler = Scheduler(database, clock)
    scheduler.every("work", 60, lambda: None)
    with pytest.raises(ValueError, match="already"):
        scheduler.every("work", 5, lambda: None)


def test_it_runs_from_start_to_close(database: Database) -> None:
    scheduler = Scheduler(database, SystemClock())
    runs = threading.Semaphore(0)
    later = threading.Event()
    scheduler.every("often", 0.02, runs.release)
    scheduler.every("at once", 3600, later.set, at_once=True)
    assert [item.next_run for item in scheduler.list()] == [None, None]
    scheduler.start()
    scheduler.start()
    for _ in range(3):
        assert runs.acquire(timeout=20)
    assert later.wait(20)
    added = threading.Event()
    scheduler.every("added", 0.02, added.set, leased=False)
    assert added.wait(20)
    listed = {item.name: item for item in scheduler.list()}
    assert listed["at once"].next_run is not None and listed["at once"].leased
    assert not listed["added"].leased and listed["added"].seconds == 0.02
    scheduler.close()
    scheduler.close()
    assert not scheduler.holds_lease
    assert Scheduler(database, SystemClock()).renew()


def test_who_takes_over_does_at_once_what_is_meant_for_the_start(database: Database) -> None:
    first = Scheduler(database, SystemClock())
    first.renew()
    second = Scheduler(database, SystemClock())
    done = threading.Event()
    second.every("at once", 3600, done.set, at_once=True)
    second.start()
    wait_until(lambda: second.list()[0].next_run is not None)
    assert not second.holds_lease and not done.is_set()
    first._scheduler = None
    first._held_until = float("-inf")
    with database.write() as conn:
        from database import leases

        leases.release(conn, "scheduler", first.holder)
    second._renew_and_catch_up()
    assert done.wait(20)
    second.close()


def test_a_process_that_leaves_the_work_to_others_never_takes_the_lease(
    database: Database, clock: ManualClock
) -> None:
    done: list[str] = []
    web = Scheduler(database, clock, holder="web", may_lead=False)
    web.every("count", 60, lambda: done.append("web"))
    assert not web.renew() and not web.run("count")
    assert web.leader() is None
    worker = Scheduler(database, clock, holder="worker", may_lead=False)
    worker.every("count", 60, lambda: done.append("worker"))
    worker.start(leads=True)
    try:
        assert worker.holds_lease and worker.run("count") and not web.run("count")
        assert web.leader() == "worker" and done == ["worker"]
    finally:
        worker.close()
    assert web.leader() is None


def test_it_is_known_whether_its_threads_still_work(
    database: Database, clock: ManualClock
) -> None:
    scheduler = Scheduler(database, clock)
    assert not scheduler.works()
    scheduler.renew()
    clock.advance(59)
    assert scheduler.works()
    clock.advance(2)
    assert not scheduler.works()
