"""Pacing: a call waits for its turn here, so that the venue never has a reason to refuse it.

Limits are rows of data (`Limit`); the counting lies in a `SlotStore` that may be shared by all
processes of a host. Exits and cancels go before entries, entries before reads. Waits and waiters
are bounded, and who cannot make it in time is told at once when to come back.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from broker.base import (
    Clock,
    Deadline,
    Grant,
    Limit,
    Observer,
    Operation,
    Priority,
    Slot,
    SlotStore,
    WindowKey,
)
from broker.errors import BrokerBusy
from broker.slots import MemorySlotStore, SlotsUnavailable

LEASE_MARGIN = 1.0
"""Seconds after its deadline for which a call that never ended still counts as under way."""


class Pacer:
    """Hands out slots for the metered calls of one scope (usually one app key at one venue).

    `queue_wait` is the longest wait in seconds, `queue_size` how many of this process may wait for
    the same limits. When the storage fails, only exits go on, under a limiter of this process at
    half the rate (design §4: the way out stays open).
    """

    def __init__(
        self,
        limits: Sequence[Limit],
        scope: str,
        store: SlotStore,
        clock: Clock,
        queue_wait: float,
        queue_size: int,
        observer: Observer,
        account: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._queue_wait = queue_wait
        self._observer = observer
        self._account = account
        spare = MemorySlotStore(clock)
        self._lines: dict[Operation, _Line] = {}
        self._spare_lines: dict[Operation, _Line] = {}
        shared: dict[tuple[WindowKey, ...], tuple[_Line, _Line]] = {}
        for operation in Operation:
            keys = tuple(
                WindowKey(f"{scope}/{limit.name}", limit.calls, limit.window)
                for limit in limits
                if operation in limit.operations
            )
            if not keys:
                continue
            if keys not in shared:
                halved = [WindowKey(k.scope, max(1, k.calls // 2), k.window) for k in keys]
                shared[keys] = (
                    _Line(store, keys, clock, queue_size),
                    _Line(spare, halved, clock, queue_size),
                )
            self._lines[operation], self._spare_lines[operation] = shared[keys]

    def reserve(
        self, operation: Operation, *, priority: Priority, deadline: Deadline, wait: bool = True
    ) -> Slot:
        """Wait for the right to make one call; `BrokerBusy` says when to come back (seconds).

        With `wait` False it is `BrokerBusy` too when the call could not be made at this moment.
        """
        line = self._lines.get(operation)
        if line is None:
            return _Unmetered()
        started = self._clock.monotonic()
        patience = deadline.within(self._queue_wait)
        try:
            grant = line.take(priority, patience, deadline, wait)
        except SlotsUnavailable as error:
            self._observer.anomaly(self._account, "pacing storage", str(error))
            if priority is not Priority.EXIT:
                raise BrokerBusy(
                    "The broker's limits cannot be counted at the moment; nothing was sent."
                ) from error
            line = self._spare_lines[operation]
            grant = line.take(priority, patience, deadline, wait)
        waited = self._clock.monotonic() - started
        if waited > 0.001:
            self._observer.waited(self._account, operation, waited)
        return _Granted(self, line.store, grant)

    def available_after(self, operation: Operation) -> float:
        """Seconds until a slot can be free at the earliest, 0 when one is; nothing is reserved."""
        line = self._lines.get(operation)
        return line.store.peek(line.wanted) if line else 0.0

    def give_back(self, store: SlotStore, grant: Grant) -> None:
        """The answer is in. A storage that fails now must not cost the caller the answer."""
        try:
            store.release(grant)
        except SlotsUnavailable as error:
            self._observer.anomaly(self._account, "pacing storage", str(error))


class _Granted(Slot):
    """A slot in use. Its lease frees it when it is never entered."""

    __slots__ = ("_grant", "_pacer", "_store")

    def __init__(self, pacer: Pacer, store: SlotStore, grant: Grant) -> None:
        self._pacer = pacer
        self._store = store
        self._grant: Grant | None = grant

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        grant, self._grant = self._grant, None
        if grant is not None:
            self._pacer.give_back(self._store, grant)


class _Unmetered(Slot):
    """A slot of a call that the venue does not meter."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


@dataclass(order=True, slots=True)
class _Waiter:
    priority: int
    number: int
    evicted: bool = field(default=False, compare=False)
    moved: threading.Event = field(default_factory=threading.Event, compare=False)


class _Line:
    """Those of this process who wait for one set of limits. The first of them asks the store."""

    def __init__(
        self, store: SlotStore, wanted: Sequence[WindowKey], clock: Clock, size: int
    ) -> None:
        self.store = store
        self.wanted = wanted
        self._clock = clock
        self._size = size
        self._lock = threading.Lock()
        self._waiters: list[_Waiter] = []
        self._numbers = 0
        self._next_at = 0.0

    def take(
        self, priority: Priority, patience: Deadline, deadline: Deadline, wait: bool
    ) -> Grant:
        """A grant before `patience` is over, leased until `deadline`; else `BrokerBusy`."""
        with self._lock:
            if not self._waiters or self._waiters[0].priority > priority:
                grant = self._ask(priority, deadline)
                if grant is not None:
                    return grant
            if not wait:
                raise _busy(self._bound(_Waiter(priority, self._numbers + 1)))
            waiter = self._join(priority, patience)
        with self._announced(waiter, priority):
            while True:
                with self._lock:
                    if waiter.evicted:
                        raise _busy(self._bound(waiter))
                    first = self._waiters[0] is waiter
                    if first:
                        grant = self._ask(priority, deadline)
                        if grant is not None:
                            return grant
                    pause = self._bound(waiter)
                    waiter.moved.clear()
                if pause > patience.remaining() or patience.expired:
                    raise _busy(pause)
                if first:
                    self._clock.sleep(pause)
                else:
                    waiter.moved.wait(patience.remaining())

    def _ask(self, priority: Priority, deadline: Deadline) -> Grant | None:
        answer = self.store.acquire(self.wanted, priority, deadline.remaining() + LEASE_MARGIN)
        if isinstance(answer, Grant):
            return answer
        self._next_at = self._clock.monotonic() + answer.seconds
        return None

    def _join(self, priority: Priority, patience: Deadline) -> _Waiter:
        """Enter the line; when it is full, in the place of the last one, if less urgent."""
        self._numbers += 1
        waiter = _Waiter(priority, self._numbers)
        insort(self._waiters, waiter)
        wait = self._bound(waiter)
        if wait > patience.remaining():
            self._waiters.remove(waiter)
            raise _busy(wait)
        if len(self._waiters) > self._size:
            last = self._waiters.pop()
            if last is waiter:
                raise _busy(wait)
            last.evicted = True
            last.moved.set()
        return waiter

    def _bound(self, waiter: _Waiter) -> float:
        """Seconds that this waiter needs at least: who is before it uses up whole windows."""
        ahead = sum(1 for other in self._waiters if other < waiter)
        windows = max(ahead // key.calls * key.window for key in self.wanted)
        return max(0.0, self._next_at - self._clock.monotonic()) + windows

    @contextmanager
    def _announced(self, waiter: _Waiter, priority: Priority) -> Iterator[None]:
        """Count as waiting in all processes; on leaving, let the next one of this line ask."""
        try:
            self.store.waiting(self.wanted, priority, 1)
            try:
                yield
            finally:
                self.store.waiting(self.wanted, priority, -1)
        finally:
            with self._lock:
                if not waiter.evicted:
                    self._waiters.remove(waiter)
                if self._waiters:
                    self._waiters[0].moved.set()


def _busy(wait: float) -> BrokerBusy:
    return BrokerBusy(
        "Rate limit exceeded: as many requests as the broker allows are under way or waiting. "
        f"Nothing was sent; try again in {wait:.1f} seconds.",
        retry_after=wait,
    )
