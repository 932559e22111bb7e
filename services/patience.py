"""Waiting for another request of this process, or for a lock, takes one of the process's seats.

A short wait is free: a read that is on the wire is over in milliseconds. Who waits longer than that
needs a seat (`broker.waiting`), so that waiting requests never hold all threads of a worker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from broker.base import Priority
from broker.waiting import LOOK_UP, RoomFull, Seat, WaitingRoom
from services.errors import QueueFull
from utils import callers

FREE = 0.1
"""Seconds that anybody may wait without a seat."""


class Patience:
    """One wait of at most `seconds`, cut into steps. `QueueFull` when there is no seat for it."""

    def __init__(self, room: WaitingRoom, priority: Priority, seconds: float) -> None:
        self._room = room
        self._priority = priority
        self._left = seconds
        self._waited = 0.0
        self._seat: Seat | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._seat is not None:
            self._room.leave(self._seat)

    def step(self, longest: float = LOOK_UP) -> float:
        """How long to wait next, in seconds, at most `longest`; 0 when the time is up."""
        if self._seat is not None and self._seat.lost:
            raise _full()
        if self._waited >= FREE and self._seat is None:
            try:
                self._seat = self._room.sit(self._priority, callers.current())
            except RoomFull:
                raise _full() from None
        longest = min(longest, FREE) if self._seat is None else longest
        step = max(0.0, min(longest, self._left))
        self._left -= step
        self._waited += step
        return step

    def until(self, wait: Callable[[float], bool]) -> bool:
        """Call `wait(seconds)` until it is true or the time is up; which of the two."""
        while step := self.step():
            if wait(step):
                return True
        return False

    def acquire(self, lock: threading.Lock) -> bool:
        """Take a lock within the time; without a wait when it is free."""
        return lock.acquire(blocking=False) or self.until(
            lambda seconds: lock.acquire(timeout=seconds)
        )


def _full() -> QueueFull:
    return QueueFull(
        "Too many requests are waiting already. Nothing was sent; try again in a second.",
        retry_after=1.0,
    )
