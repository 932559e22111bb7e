"""Who may wait: a few seats for a whole process, shared out fairly between callers.

A thread that waits serves nobody else. So at most `size` requests of one process wait at a time,
for whatever reason (a slot, a lock, a read by somebody else), and the other threads stay free for
what can be done at once, above all for the way out. In a full room whoever is less urgent, or
whose caller has more seats, gives way.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from broker.base import Priority

SIZE = 16
"""How many requests of one process may wait (design §4.3)."""

LOOK_UP = 0.1
"""Seconds after which someone who waits looks whether the seat is still theirs."""

_urgent: ContextVar[bool] = ContextVar("urgent", default=False)


class RoomFull(Exception):
    """No seat is free, or the seat was given to somebody more urgent."""


@contextmanager
def urgent() -> Iterator[None]:
    """In this block reads count as exits: a way out, or the fate of an order, hangs on them."""
    token = _urgent.set(True)
    try:
        yield
    finally:
        _urgent.reset(token)


def is_urgent() -> bool:
    """Whether this is an `urgent` block."""
    return _urgent.get()


def rank(priority: Priority) -> Priority:
    """The priority of a call made here: that of an exit in an `urgent` block, for a read."""
    return Priority.EXIT if priority is Priority.READ and _urgent.get() else priority


@dataclass(eq=False, slots=True)
class Seat:
    """One who waits. `lost` is set when somebody else got the seat; `moved` wakes its thread."""

    priority: Priority
    caller: str
    number: int
    lost: bool = False
    moved: threading.Event = field(default_factory=threading.Event)


class WaitingRoom:
    """The seats of one process."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._seats: dict[int, Seat] = {}
        self._numbers = 0

    def sit(self, priority: Priority, caller: str) -> Seat:
        """Take a seat, in a full room that of the last one if that is not oneself: `RoomFull`."""
        with self._lock:
            self._numbers += 1
            seat = Seat(priority, caller, self._numbers)
            self._seats[seat.number] = seat
            if len(self._seats) > self._size:
                last = self._last()
                del self._seats[last.number]
                if last is seat:
                    raise RoomFull
                last.lost = True
                last.moved.set()
        return seat

    def leave(self, seat: Seat) -> None:
        """Get up. Safe to call for a seat that was lost."""
        with self._lock:
            self._seats.pop(seat.number, None)

    @contextmanager
    def seat(self, priority: Priority, caller: str) -> Iterator[Seat]:
        """Sit for a block; `RoomFull` when there is no seat."""
        seat = self.sit(priority, caller)
        try:
            yield seat
        finally:
            self.leave(seat)

    def _last(self) -> Seat:
        """The least urgent one, among those the one whose caller has most seats before it."""
        before: Counter[tuple[Priority, str]] = Counter()
        worst: tuple[int, int, int] = (-1, -1, -1)
        last = None
        for number, seat in self._seats.items():
            place = before[seat.priority, seat.caller]
            before[seat.priority, seat.caller] += 1
            standing = (int(seat.priority), place, number)
            if standing > worst:
                worst, last = standing, seat
        assert last is not None  # noqa: S101 (whoever asks has just sat down)
        return last
