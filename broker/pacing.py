"""Pacing: a call waits for its turn here, so that the venue never has a reason to refuse it.

Limits are rows of data (`Limit`); the counting lies in a `SlotStore` that may be shared by all
processes of a host, or by several hosts. Exits and cancels go before entries, entries before reads;
among equals the callers take turns, so that one who floods the line delays himself. Waits and
waiters are bounded, and who cannot make it in time is told at once when to come back.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
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
from broker.errors import BrokerBusy, LimitsUnknown
from broker.slots import MemorySlotStore, SlotsUnavailable
from broker.waiting import LOOK_UP, RoomFull, Seat, WaitingRoom, rank

LEASE_MARGIN = 1.0
"""Seconds after its deadline for which a call that never ended still counts as under way."""

_NEWEST = 2**62
_TICK = 1e-6


class Pacer:
    """Hands out slots for the metered calls of one scope (usually one app key at one venue).

    `queue_wait` is the longest wait in seconds, `room` has the seats of those of this process who
    wait; `caller` names whom the call is for. When the storage fails, entries are refused and the
    rest goes on at half the rate, counted in `spare` (what this host shares) or, without one that
    works, in this process (design §4: the way out stays open).
    """

    def __init__(
        self,
        limits: Sequence[Limit],
        scope: str,
        store: SlotStore,
        clock: Clock,
        queue_wait: float,
        room: WaitingRoom,
        observer: Observer,
        account: str,
        *,
        spare: SlotStore | None = None,
        caller: Callable[[], str] = lambda: "",
    ) -> None:
        self._clock = clock
        self._queue_wait = queue_wait
        self._observer = observer
        self._account = account
        self._caller = caller
        own = MemorySlotStore(clock)
        self._lines: dict[Operation, tuple[_Line, ...]] = {}
        shared: dict[tuple[WindowKey, ...], tuple[_Line, ...]] = {}
        for operation in Operation:
            keys = tuple(
                WindowKey(f"{scope}/{limit.name}", limit.calls, limit.window)
                for limit in limits
                if operation in limit.operations
            )
            if not keys:
                continue
            if keys not in shared:
                halved = [_half(key) for key in keys]
                shared[keys] = (
                    _Line(store, keys, clock, room),
                    *(
                        _Line(other, halved, clock, room)
                        for other in (spare, own)
                        if other is not None
                    ),
                )
            self._lines[operation] = shared[keys]

    def reserve(
        self, operation: Operation, *, priority: Priority, deadline: Deadline, wait: bool = True
    ) -> Slot:
        """Wait for the right to make one call; `BrokerBusy` says when to come back (seconds).

        With `wait` False it is `BrokerBusy` too when the call could not be made at this moment.
        """
        lines = self._lines.get(operation)
        if lines is None:
            return _Unmetered()
        started = self._clock.monotonic()
        patience = deadline.within(self._queue_wait)
        priority = rank(priority)
        for line in lines:
            try:
                grant = line.take(priority, self._caller(), patience, deadline, wait)
            except SlotsUnavailable as error:
                self._observer.anomaly(self._account, "pacing storage", str(error))
                if priority is Priority.ENTRY:
                    raise LimitsUnknown(
                        "The broker's limits cannot be counted at the moment; nothing was sent. "
                        f"{error}",
                        retry_after=1.0,
                    ) from error
            else:
                break
        waited = self._clock.monotonic() - started
        if waited > 0.001:
            self._observer.waited(self._account, operation, waited)
        return _Granted(self, line.store, grant)

    def available_after(self, operation: Operation) -> float:
        """Seconds until a slot can be free at the earliest, 0 when one is; nothing is reserved."""
        lines = self._lines.get(operation)
        return lines[0].store.peek(lines[0].wanted) if lines else 0.0

    def give_back(self, store: SlotStore, grant: Grant) -> None:
        """The answer is in. A storage that fails now must not cost the caller the answer."""
        try:
            store.release(grant)
        except SlotsUnavailable as error:
            self._observer.anomaly(self._account, "pacing storage", str(error))


def _half(key: WindowKey) -> WindowKey:
    """The window at half its rate."""
    if key.calls > 1:
        return WindowKey(key.scope, key.calls // 2, key.window)
    return WindowKey(key.scope, 1, 2 * key.window)


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
    turn: int
    number: int
    seat: Seat = field(compare=False)


class _Line:
    """Those of this process who wait for one set of limits. The first of them asks the store.

    Each caller's requests have turns of rising numbers, counted from the turn that is being served:
    the first request of every caller comes before the second one of any.
    """

    def __init__(
        self, store: SlotStore, wanted: Sequence[WindowKey], clock: Clock, room: WaitingRoom
    ) -> None:
        self.store = store
        self.wanted = wanted
        self._clock = clock
        self._room = room
        self._lock = threading.Lock()
        self._waiters: list[_Waiter] = []
        self._turn = 0
        self._served: dict[str, int] = {}
        self._next_at = 0.0

    def take(
        self, priority: Priority, caller: str, patience: Deadline, deadline: Deadline, wait: bool
    ) -> Grant:
        """A grant before `patience` is over, leased until `deadline`; else `BrokerBusy`."""
        with self._lock:
            first = self._first()
            if first is None or first.priority > priority:
                grant = self._ask(priority, deadline)
                if grant is not None:
                    return grant
            if not wait:
                raise _busy(self._bound(self._as_next(priority, caller)))
            waiter = self._join(priority, caller, patience)
        seat = waiter.seat
        with self._announced(waiter, priority):
            while True:
                with self._lock:
                    if seat.lost:
                        raise _busy(self._bound(waiter))
                    leads = self._first() is waiter
                    if leads and self._clock.monotonic() > self._next_at - _TICK:
                        grant = self._ask(priority, deadline)
                        if grant is not None:
                            self._serve(waiter)
                            return grant
                    pause = self._bound(waiter)
                    seat.moved.clear()
                if pause > patience.remaining() or patience.expired:
                    raise _busy(pause)
                if leads:
                    self._clock.sleep(min(pause, LOOK_UP))
                else:
                    seat.moved.wait(patience.remaining())

    def _first(self) -> _Waiter | None:
        return next((waiter for waiter in self._waiters if not waiter.seat.lost), None)

    def _ask(self, priority: Priority, deadline: Deadline) -> Grant | None:
        answer = self.store.acquire(self.wanted, priority, deadline.remaining() + LEASE_MARGIN)
        if isinstance(answer, Grant):
            return answer
        self._next_at = self._clock.monotonic() + answer.seconds
        return None

    def _serve(self, waiter: _Waiter) -> None:
        self._turn = waiter.turn
        self._served[waiter.seat.caller] = waiter.turn

    def _as_next(self, priority: Priority, caller: str) -> _Waiter:
        """A waiter in the place that this caller's next request has."""
        turns = [other.turn for other in self._waiters if other.seat.caller == caller]
        turn = max(self._turn, self._served.get(caller, -1) + 1, *(turn + 1 for turn in turns))
        return _Waiter(priority, turn, _NEWEST, Seat(priority, caller, _NEWEST))

    def _join(self, priority: Priority, caller: str, patience: Deadline) -> _Waiter:
        """Enter the line, if there is a seat and the turn can come in time."""
        waiter = self._as_next(priority, caller)
        wait = self._bound(waiter)
        if wait > patience.remaining():
            raise _busy(wait)
        try:
            waiter.seat = self._room.sit(priority, caller)
        except RoomFull:
            raise _busy(wait) from None
        waiter.number = waiter.seat.number
        insort(self._waiters, waiter)
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
            self._room.leave(waiter.seat)
            with self._lock:
                self._waiters.remove(waiter)
                first = self._first()
                if first is not None:
                    first.seat.moved.set()
                if not self._waiters:
                    self._turn = 0
                    self._served.clear()


def _busy(wait: float) -> BrokerBusy:
    return BrokerBusy(
        "Rate limit exceeded: as many requests as the broker allows are under way or waiting. "
        f"Nothing was sent; try again in {wait:.1f} seconds.",
        retry_after=wait,
    )
