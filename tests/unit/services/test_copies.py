"""Short-lived copies: one read in flight per key, errors to those who had no more time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from broker.base import Deadline
from broker.errors import OutcomeUnknown, Refused
from services.copies import Copies
from tests.support.clocks import ManualClock


class Source:
    """Counts its reads; holds them while `gate` is closed."""

    def __init__(self) -> None:
        self.reads: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, keys: list[str]) -> dict[str, str]:
        self.reads.append(keys)
        self.begun.release()
        assert self.gate.wait(10)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return {key: key.upper() for key in keys if key != "silent"}


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def copies(clock: ManualClock) -> Copies[str, str]:
    return Copies(clock, max_age=1.0)


@pytest.fixture
def due(clock: ManualClock) -> Callable[[float], Deadline]:
    return lambda seconds: Deadline(clock, seconds)


def joined(copies: Copies[str, str], key: str, waiter: Future[dict[str, str]]) -> None:
    """Wait until a second caller has found the first one's flight."""
    flight = copies._flights[key][0]
    while not flight._condition._waiters:  # type: ignore[attr-defined]
        assert not waiter.done()


def test_a_copy_serves_for_its_age_and_no_longer(
    copies: Copies[str, str], source: Source, clock: ManualClock,
    due: Callable[[float], Deadline],
) -> None:
    assert copies.fetch(["a", "b", "a"], source, due(5)) == {"a": "A", "b": "B"}
    clock.advance(0.9)
    assert copies.fetch(["b", "c"], source, due(5)) == {"b": "B", "c": "C"}
    clock.advance(0.2)
    copies.fetch(["b"], source, due(5))
    assert source.reads == [["a", "b"], ["c"], ["b"]]


def test_a_key_without_an_answer_is_missing_and_remembered(
    copies: Copies[str, str], source: Source, due: Callable[[float], Deadline]
) -> None:
    assert copies.fetch(["silent", "a"], source, due(5)) == {"a": "A"}
    assert copies.fetch(["silent"], source, due(5)) == {}
    assert source.reads == [["silent", "a"]]


def test_one_read_serves_everyone(
    copies: Copies[str, str], source: Source, due: Callable[[float], Deadline]
) -> None:
    source.gate.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(copies.fetch, ["a"], source, due(5))
        assert source.begun.acquire(timeout=10)
        others = [pool.submit(copies.fetch, ["a"], source, due(5)) for _ in range(8)]
        joined(copies, "a", others[0])
        source.gate.set()
        assert [f.result(10) for f in (first, *others)] == [{"a": "A"}] * 9
    assert source.reads == [["a"]]


def test_an_error_reaches_who_waits_with_the_same_time(
    copies: Copies[str, str], source: Source, due: Callable[[float], Deadline]
) -> None:
    source.gate.clear()
    source.error = Refused("No.")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(copies.fetch, ["a"], source, due(5))
        assert source.begun.acquire(timeout=10)
        second = pool.submit(copies.fetch, ["a"], source, due(5))
        joined(copies, "a", second)
        source.gate.set()
        for future in (first, second):
            with pytest.raises(Refused, match="No"):
                future.result(10)
    assert copies.fetch(["a"], source, due(5)) == {"a": "A"}
    assert len(source.reads) == 2


def test_who_has_more_time_than_the_reader_reads_again(
    copies: Copies[str, str], source: Source, due: Callable[[float], Deadline]
) -> None:
    source.gate.clear()
    source.error = OutcomeUnknown("No answer.")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(copies.fetch, ["a"], source, due(1))
        assert source.begun.acquire(timeout=10)
        second = pool.submit(copies.fetch, ["a"], source, due(60))
        joined(copies, "a", second)
        source.gate.set()
        with pytest.raises(OutcomeUnknown):
            first.result(10)
        assert second.result(10) == {"a": "A"}


def test_waiting_ends_at_the_deadline(
    copies: Copies[str, str], source: Source, due: Callable[[float], Deadline]
) -> None:
    source.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(copies.fetch, ["a"], source, due(5))
        assert source.begun.acquire(timeout=10)
        with pytest.raises(OutcomeUnknown, match="in time"):
            copies.fetch(["a"], source, due(0.01))
        source.gate.set()
        assert first.result(10) == {"a": "A"}


def test_old_copies_do_not_pile_up(clock: ManualClock, source: Source) -> None:
    copies: Copies[str, str] = Copies(clock, max_age=1.0, capacity=10)
    for number in range(100):
        copies.fetch([str(number)], source, Deadline(clock, 5))
        clock.advance(0.5)
    assert len(copies._kept) <= 10
    clock.advance(0)
    for number in range(30):
        copies.fetch([f"x{number}"], source, Deadline(clock, 5))
    assert len(copies._kept) <= 11
