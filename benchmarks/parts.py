"""What small parts of an order's way cost in process, each against the least that it has to do.

Rounds alternate like those over HTTP, and the fastest of each side counts: these take microseconds,
and whatever else the machine does only adds.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.measure import Effort
from benchmarks.report import Figure, at_most
from benchmarks.servers import Stack
from broker.base import Grant, Priority, WindowKey
from broker.breaker import Breaker
from broker.errors import CircuitOpen
from broker.slots import FileSlotStore
from database.engine import Database
from services.access import AccessService, Principal
from services.flags import FlagService
from utils.clock import SystemClock

_CALLS = 200
_PEPPER = "a pepper of the benchmark alone, which opens nothing"


def slot(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """A place in two of the broker's windows, taken and given back, over all processes of a host.

    Against the least that processes can do to agree: lock a file, read it, write it, unlock it.
    """
    clock = SystemClock()
    keys = [WindowKey("orders", 1_000_000, 1e-5), WindowKey("place", 1_000_000, 1e-5)]
    with tempfile.TemporaryDirectory() as folder:
        store = FileSlotStore(Path(folder), clock)
        handle = os.open(Path(folder) / "least", os.O_RDWR | os.O_CREAT, 0o600)

        def ours() -> None:
            answer = store.acquire(keys, Priority.ENTRY, 5)
            assert isinstance(answer, Grant)
            store.release(answer)

        def least() -> None:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.pwrite(handle, os.pread(handle, 64, 0) or b"\0" * 64, 0)
            fcntl.flock(handle, fcntl.LOCK_UN)

        yield _versus("A slot of the broker's limits, to a locked file", ours, least, 12.0)
        os.close(handle)


def key_check(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """An API key that was verified a moment ago, against its hash alone."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/keys.db")
        database.upgrade()
        clock = SystemClock()
        access = AccessService(database, FlagService(database, clock), clock, _PEPPER)
        user = access.create_user("asha", "a long password of asha")
        _, key = access.create_key(user, "benchmark")

        def ours() -> None:
            assert isinstance(access.authenticate_key(key), Principal)

        def least() -> None:
            hmac.new(_PEPPER.encode(), key.encode(), hashlib.sha256).hexdigest()

        yield _versus("A verified API key, to its hash", ours, least, 4.0)
        database.dispose()


def open_circuit(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """The refusal of a broker that is down, against raising an exception."""
    breaker = Breaker(SystemClock(), threshold=1, first_pause=3600.0, longest_pause=3600.0)
    breaker.before()
    breaker.failure()

    def ours() -> None:
        with suppress(CircuitOpen):
            breaker.before()

    def least() -> None:
        with suppress(ValueError):
            raise ValueError("the broker is down")

    yield _versus("A refusal under an open circuit, to an exception", ours, least, 10.0)


def _versus(name: str, ours: Callable[[], None], least: Callable[[], None], limit: float) -> Figure:
    """The ratio of the fastest rounds; `ours` is called for real in every one."""
    best = [float("inf"), float("inf")]
    for _ in range(30):
        for side, work in enumerate((least, ours)):
            started = time.perf_counter()
            for _ in range(_CALLS):
                work()
            best[side] = min(best[side], (time.perf_counter() - started) / _CALLS * 1e6)
    note = f"{best[1]:.1f} µs to {best[0]:.1f} µs"
    return at_most(name, best[1] / best[0], limit, "×", note=note)
