"""One read in flight serves everyone who asked before it was begun."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from broker.base import Deadline, Priority
from broker.errors import OutcomeUnknown
from broker.waiting import WaitingRoom, urgent
from services import patience
from services.errors import QueueFull
from services.shared_reads import Copy, SharedRead
from tests.support.clocks import ManualClock
from utils.clock import SystemClock

CLOCK = SystemClock()


class Source:
    """A slow thing to read: each read waits until it is let go."""

    def __init__(self) -> None:
        self.reads = 0
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.error: Exception | None = None

    def fetch(self, deadline: Deadline) -> int:
        self.reads += 1
        number = self.reads
        self.begun.release()
        assert self.go.acquire(timeout=10)
        if self.error is not None:
            raise self.error
        return number


def start(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run in a thread; its result or error ends up in the list."""
    out: list[object] = []

    def run() -> None:
        try:
            out.append(work())
        except Exception as error:
            out.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, out


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = Deadline(CLOCK, 10)
    while not condition():
        assert not deadline.expired
        CLOCK.sleep(0.001)


def waiters(read: SharedRead[int]) -> int:
    return len(read._changed._waiters)  # type: ignore[attr-defined]


def test_a_copy_serves_whoever_takes_one_and_nobody_who_decides() -> None:
    clock = ManualClock()
    read: SharedRead[int] = SharedRead(clock, "book")
    values = iter(range(10))

    def get(max_age: float) -> int:
        return read.get(lambda _: next(values), Deadline(clock, 5), max_age=max_age).value

    assert get(1.0) == 0
    clock.advance(1.0)
    assert get(1.0) == 0
    assert get(0.0) == 1
    clock.advance(1.1)
    assert get(1.0) == 2


def test_what_was_read_before_a_change_serves_nobody() -> None:
    clock = ManualClock()
    read: SharedRead[int] = SharedRead(clock, "book")
    values = iter(range(10))
    read.get(lambda _: next(values), Deadline(clock, 5))
    read.forget()
    assert read.get(lambda _: next(values), Deadline(clock, 5), max_age=60).value == 1


def test_those_who_ask_during_a_read_share_the_next_one() -> None:
    source, read = Source(), SharedRead[int](CLOCK, "book")
    first, got = start(lambda: read.get(source.fetch, Deadline(CLOCK, 10)))
    assert source.begun.acquire(timeout=10)
    others = [start(lambda: read.get(source.fetch, Deadline(CLOCK, 10))) for _ in range(8)]
    wait_for(lambda: waiters(read) == 8)
    source.go.release(2)
    first.join(10)
    for thread, _ in others:
        thread.join(10)
    assert [copy.value for copy in got if isinstance(copy, Copy)] == [1]
    assert [out[0].value for _, out in others if isinstance(out[0], Copy)] == [2] * 8
    assert source.reads == 2


def test_who_takes_a_copy_joins_the_read_under_way() -> None:
    source, read = Source(), SharedRead[int](CLOCK, "book")
    first, _ = start(lambda: read.get(source.fetch, Deadline(CLOCK, 10)))
    assert source.begun.acquire(timeout=10)
    other, out = start(lambda: read.get(source.fetch, Deadline(CLOCK, 10), max_age=60))
    wait_for(lambda: waiters(read) == 1)
    source.go.release()
    first.join(10)
    other.join(10)
    assert isinstance(out[0], Copy)
    assert out[0].value == 1
    assert source.reads == 1


def test_a_failure_reaches_those_who_joined_and_the_next_asker_reads_again() -> None:
    source, read = Source(), SharedRead[int](CLOCK, "book")
    source.error = OutcomeUnknown("No answer.")
    due = Deadline(CLOCK, 10)
    first, got = start(lambda: read.get(source.fetch, due))
    assert source.begun.acquire(timeout=10)
    joined, out = start(lambda: read.get(source.fetch, due, max_age=60))
    wait_for(lambda: waiters(read) == 1)
    source.go.release()
    first.join(10)
    joined.join(10)
    assert got[0] is out[0] is source.error
    source.error = None
    source.go.release()
    assert read.get(source.fetch, Deadline(CLOCK, 10)).value == 2


def test_the_haste_of_one_is_not_the_failure_of_another() -> None:
    source, read = Source(), SharedRead[int](CLOCK, "book")
    source.error = OutcomeUnknown("No time left.")
    first, got = start(lambda: read.get(source.fetch, Deadline(CLOCK, 1)))
    assert source.begun.acquire(timeout=10)
    patient, out = start(lambda: read.get(source.fetch, Deadline(CLOCK, 30), max_age=60))
    wait_for(lambda: waiters(read) == 1)
    source.go.release()
    first.join(10)
    assert source.begun.acquire(timeout=10)
    source.error = None
    source.go.release()
    patient.join(10)
    assert isinstance(got[0], OutcomeUnknown)
    assert isinstance(out[0], Copy)
    assert out[0].value == 2


def test_a_wait_ends_with_the_deadline() -> None:
    source, read = Source(), SharedRead[int](CLOCK, "order book")
    first, _ = start(lambda: read.get(source.fetch, Deadline(CLOCK, 10)))
    assert source.begun.acquire(timeout=10)
    with pytest.raises(OutcomeUnknown, match="order book could not be read in time"):
        read.get(source.fetch, Deadline(CLOCK, 0.02))
    source.go.release()
    first.join(10)


def test_who_waits_long_for_a_read_needs_a_seat_and_a_way_out_gets_one() -> None:
    source, room = Source(), WaitingRoom(3)
    read: SharedRead[int] = SharedRead(CLOCK, "book", room)
    flying = start(lambda: read.get(source.fetch, Deadline(CLOCK, 10), max_age=60))
    assert source.begun.acquire(timeout=10)
    waiting = [
        start(lambda: read.get(source.fetch, Deadline(CLOCK, 10), max_age=60)) for _ in range(8)
    ]
    wait_for(lambda: sum(bool(out) for _, out in waiting) == 5)
    refused = [out[0] for _, out in waiting if out]
    assert all(isinstance(error, QueueFull) for error in refused)

    def on_the_way_out() -> Copy[int]:
        with urgent():
            return read.get(source.fetch, Deadline(CLOCK, 10), max_age=60)

    urgent_one = start(on_the_way_out)
    wait_for(lambda: sum(bool(out) for _, out in waiting) == 6)
    source.go.release()
    for thread, _ in (flying, urgent_one, *waiting):
        thread.join(10)
    served = [out[0] for _, out in (flying, urgent_one, *waiting) if isinstance(out[0], Copy)]
    assert [copy.value for copy in served] == [1] * 4
    assert source.reads == 1


def test_a_short_wait_needs_no_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FREE", 10.0)
    source, room = Source(), WaitingRoom(1)
    read: SharedRead[int] = SharedRead(CLOCK, "book", room)
    room.sit(Priority.EXIT, "somebody")
    flying = start(lambda: read.get(source.fetch, Deadline(CLOCK, 10), max_age=60))
    assert source.begun.acquire(timeout=10)
    joined = start(lambda: read.get(source.fetch, Deadline(CLOCK, 10), max_age=60))
    wait_for(lambda: waiters(read) == 1)
    source.go.release()
    for thread, out in (flying, joined):
        thread.join(10)
        assert isinstance(out[0], Copy)
