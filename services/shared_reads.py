"""One read in flight serves everyone who asked before it was begun.

A caller says how old an answer may be. With `max_age` 0 (a decision hangs on it) only a read that
was begun after the call serves; whoever asks while one is under way waits for the next one, which
they all share. Reads are numbered, so that "after" does not hang on the fineness of a clock. An age
is counted from the beginning of the read: the latest moment of which its answer surely tells.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from broker.base import Clock, Deadline, Priority
from broker.errors import BrokerBusy, OutcomeUnknown
from broker.waiting import WaitingRoom, is_urgent, rank
from services.errors import QueueFull
from services.patience import Patience

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copy(Generic[T]):
    """What a read gave. `begun` (monotonic seconds) and `as_of` are the read's beginning.

    `number` counts the reads of one thing.
    """

    value: T
    begun: float
    as_of: datetime
    number: int


class _Flight:
    """A read under way, and how it failed if it did."""

    __slots__ = ("begun", "due", "error", "number", "over")

    def __init__(self, number: int, begun: float, due: float) -> None:
        self.number = number
        self.begun = begun
        self.due = due
        self.over = False
        self.error: BaseException | None = None


class SharedRead(Generic[T]):
    """The reads of one thing, over all threads of this process."""

    def __init__(self, clock: Clock, what: str, room: WaitingRoom | None = None) -> None:
        self._clock = clock
        self._what = what
        self._room = room or WaitingRoom()
        self._changed = threading.Condition()
        self._copy: Copy[T] | None = None
        self._flight: _Flight | None = None
        self._begun = 0
        self._oldest = 0

    def get(
        self, fetch: Callable[[Deadline], T], deadline: Deadline, *, max_age: float = 0.0
    ) -> Copy[T]:
        """An answer at most `max_age` seconds old. Raises what the read raised.

        The failure of a read that somebody with less time began is not passed on to a caller who
        has more, nor one that gave way to others to an urgent caller: those read again.
        `OutcomeUnknown` when the deadline passes meanwhile, `QueueFull` when too many requests of
        this process wait already.
        """
        oldest = self._clock.monotonic() - max_age
        with self._changed:
            after = self._begun

            def serves(number: int, begun: float) -> bool:
                fresh = number > after or (max_age > 0 and begun >= oldest)
                return fresh and number > self._oldest

            while True:
                copy = self._copy
                if copy is not None and serves(copy.number, copy.begun):
                    return copy
                flight = self._flight
                if flight is None:
                    flight = self._begin(deadline)
                    break
                self._await(flight, deadline)
                if flight.error is None or not serves(flight.number, flight.begun):
                    continue
                gave_way = is_urgent() and isinstance(flight.error, BrokerBusy | QueueFull)
                if deadline.expired or (flight.due >= deadline.at and not gave_way):
                    raise flight.error
        return self._fly(flight, fetch, deadline)

    def forget(self) -> None:
        """Something has changed: reads that have begun before now answer nobody any more."""
        with self._changed:
            self._oldest = self._begun

    def _begin(self, deadline: Deadline) -> _Flight:
        self._begun += 1
        self._flight = _Flight(self._begun, self._clock.monotonic(), deadline.at)
        return self._flight

    def _await(self, flight: _Flight, deadline: Deadline) -> None:
        with Patience(self._room, rank(Priority.READ), deadline.remaining()) as patience:
            if not flight.over and not patience.until(
                lambda seconds: self._changed.wait_for(lambda: flight.over, seconds)
            ):
                raise OutcomeUnknown(f"The {self._what} could not be read in time.")

    def _fly(self, flight: _Flight, fetch: Callable[[Deadline], T], deadline: Deadline) -> Copy[T]:
        as_of = self._clock.now()
        try:
            copy = Copy(fetch(deadline), flight.begun, as_of, flight.number)
        except BaseException as error:
            self._land(flight, None, error)
            raise
        self._land(flight, copy, None)
        return copy

    def _land(self, flight: _Flight, copy: Copy[T] | None, error: BaseException | None) -> None:
        with self._changed:
            flight.over = True
            flight.error = error
            if copy is not None:
                self._copy = copy
            self._flight = None
            self._changed.notify_all()
