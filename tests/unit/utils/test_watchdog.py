"""The watchdog: fed by work that gets through, by errors too, and by nothing else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.clocks import ManualClock
from tests.support.waiting import wait_until
from utils.watchdog import Stuck, Watchdog


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def test_work_that_gets_through_feeds(pool: ThreadPoolExecutor) -> None:
    fed: list[str] = []
    dog = Watchdog(lambda: None, pool, patience=20, every=0.001, on_alive=lambda: fed.append("x"))
    dog.start()
    wait_until(lambda: len(fed) > 2)
    dog.stop()
    assert dog.is_alive


def test_work_that_hangs_starves_until_it_comes_back(
    pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    clock, release, probes = ManualClock(), threading.Event(), []
    fed: list[str] = []

    def probe() -> None:
        probes.append(1)
        assert release.wait(30)

    dog = Watchdog(
        probe, pool, patience=20, every=5, on_alive=lambda: fed.append("x"),
        monotonic=clock.monotonic,
    )  # fmt: skip
    clock.advance(20)
    assert dog.is_alive
    with caplog.at_level(logging.WARNING):
        assert not dog.check(0.01)
        clock.advance(1)
        assert not dog.is_alive
        assert not dog.check(0.01)
        assert len(probes) == 1 and fed == []  # no probe after one that hangs
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 1 and "release.wait" in said[0]  # once, with the place
        release.set()
        assert dog.check(30) and dog.is_alive and fed == ["x"]
        assert caplog.records[-1].getMessage() == "work gets through again"


def test_threads_that_are_all_taken_starve_it(pool: ThreadPoolExecutor) -> None:
    release = threading.Event()
    pool.submit(release.wait, 30)
    dog = Watchdog(lambda: None, pool, patience=20, every=5)
    assert not dog.check(0.01)
    release.set()
    assert dog.check(30)


def test_an_error_is_an_answer_and_being_stuck_is_none(pool: ThreadPoolExecutor) -> None:
    found: list[Exception] = [OSError("no space left"), Stuck("a write is open for ever")]

    def probe() -> None:
        raise found[0]

    dog = Watchdog(probe, pool, patience=20, every=5)
    assert dog.check(10)
    found.pop(0)
    assert not dog.check(10)
    found[0] = OSError("the database is down")
    assert dog.check(10)


def test_it_ends_with_the_threads_that_it_watches() -> None:
    pool = ThreadPoolExecutor(1)
    dog = Watchdog(lambda: None, pool, patience=20, every=0.001)
    dog.start()
    pool.shutdown()
    wait_until(lambda: not any(item.name == "watchdog" for item in threading.enumerate()))
