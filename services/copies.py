"""Short-lived copies of what was read, with one read in flight per key.

Many callers that ask for the same thing at the same time cost the venue one call. A copy may
answer whoever only wants to look; a decision on quantities never reads from here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Generic, TypeVar

from broker.base import Clock, Deadline
from broker.errors import BrokerError, OutcomeUnknown

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Copies(Generic[K, V]):
    """Values by key, at most `max_age` seconds old; at most `capacity` of them are kept."""

    def __init__(self, clock: Clock, *, max_age: float, capacity: int = 4096) -> None:
        self._clock = clock
        self._max_age = max_age
        self._capacity = capacity
        self._lock = threading.Lock()
        self._kept: dict[K, tuple[float, V | None]] = {}
        self._flights: dict[K, tuple[Future[V | None], float]] = {}

    def fetch(
        self,
        keys: Iterable[K],
        read: Callable[[list[K]], Mapping[K, V]],
        deadline: Deadline,
        *,
        max_age: float | None = None,
    ) -> dict[K, V]:
        """The values of `keys`; a key that `read` does not answer for is missing.

        `max_age` asks for values younger than those that are kept (seconds).

        `read` gets the keys that nobody else is reading, in one call. Its error reaches everyone
        who waits for these keys and has no more time than the reader had; the others read again.
        `OutcomeUnknown` when somebody else's read does not end by the deadline.
        """
        found: dict[K, V | None] = {}
        awaited: dict[K, tuple[Future[V | None], float]] = {}
        mine: dict[K, Future[V | None]] = {}
        oldest = self._clock.monotonic() - (self._max_age if max_age is None else max_age)
        with self._lock:
            for key in dict.fromkeys(keys):
                kept = self._kept.get(key)
                if kept is not None and kept[0] >= oldest:
                    found[key] = kept[1]
                elif (flight := self._flights.get(key)) is not None:
                    awaited[key] = flight
                else:
                    mine[key] = Future()
                    self._flights[key] = (mine[key], deadline.at)
        if mine:
            found.update(self._read(mine, read))
        answer = {key: value for key, value in found.items() if value is not None}
        again = []
        for key, (others, due) in awaited.items():
            try:
                value = others.result(timeout=deadline.remaining())
            except FutureTimeout:
                raise OutcomeUnknown("The broker did not answer in time.") from None
            except BrokerError:
                if due >= deadline.at or deadline.expired:
                    raise
                again.append(key)
            else:
                if value is not None:
                    answer[key] = value
        if not again:
            return answer
        return answer | self.fetch(again, read, deadline, max_age=max_age)

    def _read(
        self, mine: dict[K, Future[V | None]], read: Callable[[list[K]], Mapping[K, V]]
    ) -> dict[K, V | None]:
        sent = self._clock.monotonic()
        try:
            values = read(list(mine))
        except BaseException as error:
            self._land(mine)
            for flight in mine.values():
                flight.set_exception(error)
            raise
        answer: dict[K, V | None] = {key: values.get(key) for key in mine}
        with self._lock:
            if len(self._kept) + len(answer) > self._capacity:
                self._forget(sent - self._max_age)
            for key, value in answer.items():
                self._kept[key] = (sent, value)
        self._land(mine)
        for key, flight in mine.items():
            flight.set_result(answer[key])
        return answer

    def _land(self, mine: Iterable[K]) -> None:
        with self._lock:
            for key in mine:
                del self._flights[key]

    def _forget(self, oldest: float) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] >= oldest}
        if len(self._kept) > self._capacity:
            self._kept.clear()
