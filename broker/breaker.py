"""A circuit breaker per broker and API: a venue that is down is not asked again and again.

While it is open, entries and reads are refused at once, with the time after which to come back.
Cancels and exits always try: the way out is never barred by a guess (docs/decisions/0001).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from broker.base import Clock
from broker.errors import (
    BrokerError,
    CircuitOpen,
    ConnectFailed,
    OutcomeUnknown,
    ProtocolError,
    RateLimitedUnknown,
)

THRESHOLD = 5
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 4.0


class BreakerState(StrEnum):
    """CLOSED lets all through, OPEN nobody, HALF_OPEN one at a time to see whether it is over."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens after `threshold` failures in a row; the pause (seconds) doubles while they go on.

    A failure is an answer that tells nothing or none at all; a refusal is a healthy venue's word.
    `on_change` hears of every change of state, outside the lock. Safe between threads.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "The broker",
        threshold: int = THRESHOLD,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        on_change: Callable[[BreakerState], None] = lambda state: None,
    ) -> None:
        self._clock = clock
        self._name = name
        self._threshold = threshold
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._on_change = on_change
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._pause = first_pause
        self._until = 0.0

    @property
    def state(self) -> BreakerState:
        """Where it stands; an open one turns half open with the first call after its pause."""
        return self._state

    def before(self, exempt: bool = False) -> None:
        """Ask before a call; raises `CircuitOpen` with `retry_after` seconds."""
        if exempt or self.state is BreakerState.CLOSED:
            return
        with self._lock:
            if self._state is BreakerState.CLOSED:
                return
            now = self._clock.monotonic()
            left = self._until - now
            if left > 0:
                raise CircuitOpen(
                    f"{self._name} has failed repeatedly and gets time to recover; nothing was "
                    f"sent. Try again in {left:.1f} seconds.",
                    retry_after=left,
                )
            # This caller is the probe; if it never reports back, another one is after a pause.
            self._state = BreakerState.HALF_OPEN
            self._until = now + self._pause
        self._on_change(BreakerState.HALF_OPEN)

    def success(self) -> None:
        """The venue answered, be it with a refusal."""
        if self._state is BreakerState.CLOSED and not self._failures:
            return
        with self._lock:
            changed = self._state is not BreakerState.CLOSED
            self._state = BreakerState.CLOSED
            self._failures = 0
            self._pause = self._first_pause
        if changed:
            self._on_change(BreakerState.CLOSED)

    def failure(self) -> None:
        """The venue did not answer, or with nothing that could be read."""
        with self._lock:
            self._failures += 1
            probe = self._state is BreakerState.HALF_OPEN
            if self._state is BreakerState.OPEN or not (
                probe or self._failures >= self._threshold
            ):
                return
            if probe:
                self._pause = min(self._longest_pause, self._pause * 2)
            self._state = BreakerState.OPEN
            self._until = self._clock.monotonic() + self._pause
        self._on_change(BreakerState.OPEN)

    @contextmanager
    def watch(self, exempt: bool = False) -> Iterator[None]:
        """`before`, the block, then `success` or `failure` by how the block ended."""
        self.before(exempt)
        try:
            yield
        except BrokerError as error:
            if is_failure(error):
                self.failure()
            elif error.fate is not error.fate.NOT_SENT:
                self.success()
            raise
        else:
            self.success()


def is_failure(error: BrokerError) -> bool:
    """Whether an error speaks against the venue's health."""
    if isinstance(error, RateLimitedUnknown):
        return False
    return isinstance(error, ConnectFailed | OutcomeUnknown | ProtocolError)


class Breakers:
    """Every breaker, by clock (one application, one clock) and name: accounts share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[tuple[int, str], Breaker] = {}
        self.on_change: Callable[[str, BreakerState], None] = lambda name, state: None
        """Hears the name and the new state of every breaker, outside any lock."""

    def get(self, clock: Clock, name: str, title: str) -> Breaker:
        """The breaker called `name` (a broker's host and API), made at the first call."""
        with self._lock:
            # The breaker keeps its clock alive, so the clock's id is not given out again.
            key = (id(clock), name)
            if key not in self._all:
                self._all[key] = Breaker(
                    clock, name=title, on_change=lambda state: self.on_change(name, state)
                )
                self.on_change(name, BreakerState.CLOSED)
            return self._all[key]


BREAKERS = Breakers()
