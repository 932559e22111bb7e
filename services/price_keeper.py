"""Keeps the last prices of books that somebody watches warm, so that showing one costs one read.

A position book needs two answers: the positions, and the last prices that they are valued at. Who
looks at a book usually looks again soon. For `WATCHED` seconds after a look the prices of its open
instruments are therefore read again every `EVERY` seconds, by one thread of the serving process,
into the copies that `MarketDataService` keeps for at most one second. A look finds them there; when
the keeper is late or the venue slow, the copies are too old and the look reads for itself. Nothing
is decided by these prices: they value what is shown.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from broker.base import Clock, Deadline
from broker.errors import BrokerError
from broker.models import InstrumentRef, Quote
from database.errors import StorageError
from services.accounts import Account
from services.errors import ServiceError

log = logging.getLogger(__name__)

EVERY = 0.7  # seconds from one read to the next; copies live for one second
WATCHED = 5.0  # seconds: pages ask every two
_FRESH = 0.3  # seconds: what somebody has read meanwhile is not read again
_TIMEOUT = 1.5  # seconds


class Prices(Protocol):
    """The part of `MarketDataService` that is used here."""

    def by_ref(
        self,
        account: Account,
        refs: Sequence[InstrumentRef],
        *,
        deadline: Deadline | None = None,
        max_age: float | None = None,
    ) -> dict[InstrumentRef, Quote]: ...


class PriceKeeper:
    """Watches instruments for accounts. Without `start` nothing is read, and nothing is lost."""

    def __init__(self, prices: Prices, clock: Clock) -> None:
        self._prices = prices
        self._clock = clock
        self._guard = threading.Lock()
        self._watched: dict[int, tuple[Account, Sequence[InstrumentRef], float]] = {}
        self._wanted = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, account: Account, refs: Sequence[InstrumentRef]) -> None:
        """Somebody looked at these instruments just now; they take the place of those before."""
        with self._guard:
            self._watched[account.id] = (account, refs, self._clock.monotonic() + WATCHED)
        self._wanted.set()

    def start(self) -> None:
        """Begin to read, in a thread of its own: to be called after any fork."""
        self._thread = threading.Thread(target=self._run, name="prices", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read no more. Safe to call twice, and without `start`."""
        self._over.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_TIMEOUT + 1.0)

    def refresh(self) -> int:
        """Read the prices of every watched account once; how many are watched still."""
        now = self._clock.monotonic()
        with self._guard:
            self._watched = {
                key: watched for key, watched in self._watched.items() if watched[2] > now
            }
            watched = list(self._watched.values())
        for account, refs, _ in watched:
            due = Deadline(self._clock, _TIMEOUT)
            try:
                self._prices.by_ref(account, refs, deadline=due, max_age=_FRESH)
            except (BrokerError, ServiceError, StorageError) as error:
                log.info("last prices are not kept warm", extra={
                    "account": account.label, "error": type(error).__name__})
                self._forget(account)
        return len(watched)

    def _forget(self, account: Account) -> None:
        """The next look reads for itself, and is told what is wrong."""
        with self._guard:
            self._watched.pop(account.id, None)

    def _run(self) -> None:
        while not self._over.is_set():
            self._wanted.wait()
            if self._over.wait(EVERY):
                return
            self._wanted.clear()
            try:
                if self.refresh():
                    self._wanted.set()
            except Exception:
                log.exception("keeping last prices warm failed")
