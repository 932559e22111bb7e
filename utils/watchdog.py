"""`Watchdog`: says that a process is alive only while real work gets through it.

A thread hands a probe to the threads that do the work, and waits. As long as probes come back in
time the process is fed: `on_alive` is called (systemd, through `utils.systemd`) and `is_alive` is
true (gunicorn's heartbeat, which `config/gunicorn.py` ties to it). A probe that does not come back
is left hanging and no further one is sent after it; when it does come back, feeding goes on.

An error is an answer: a database that is down or a full disk is not cured by a restart, and a
restart would close the way out. What a restart does cure raises `Stuck`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Protocol

log = logging.getLogger(__name__)


class Stuck(Exception):
    """Work does not get through, and only a new process helps. The message says where it stops."""


class Threads(Protocol):
    """What is needed of a `ThreadPoolExecutor`."""

    def submit(self, fn: Callable[[], None], /) -> Future[None]:
        """Have a thread do this."""


class Watchdog:
    """Probes from `start` to `stop`.

    probe: goes where all work goes, raises `Stuck`; it runs in one of `threads`. patience: seconds
    after which silence means death; every: seconds between two probes.
    """

    def __init__(
        self,
        probe: Callable[[], None],
        threads: Threads,
        *,
        patience: float,
        every: float,
        on_alive: Callable[[], object] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probe = probe
        self._threads = threads
        self._patience = patience
        self._every = every
        self._on_alive = on_alive
        self._monotonic = monotonic
        self._ended = threading.Event()
        self._last = monotonic()
        self._pending: Future[None] | None = None
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._complained = False

    @property
    def is_alive(self) -> bool:
        """Whether work got through within `patience`."""
        return self._monotonic() - self._last <= self._patience

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a probe that hangs is not waited for."""
        self._ended.set()

    def check(self, patience: float) -> bool:
        """Send a probe, or go on waiting for the last one, up to `patience` seconds.

        Whether work gets through. Called by the watchdog's own thread.
        """
        if self._pending is None:
            self._pending = self._threads.submit(self._probe)
        try:
            self._pending.result(patience)
        except FutureTimeout:
            if not self._pending.done():
                self._complain(f"no answer for {self._monotonic() - self._last:.0f} s")
                return False
        except Stuck as stuck:
            self._pending = None
            self._complain(str(stuck))
            return False
        except Exception as error:
            log.debug("the watchdog's probe was answered by an error: %s", error)
        self._pending = None
        self._last = self._monotonic()
        if self._complained:
            self._complained = False
            log.warning("work gets through again")
        self._on_alive()
        return True

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.check(self._patience)
            except RuntimeError:  # the threads were told to end
                return
            self._ended.wait(self._every)

    def _complain(self, why: str) -> None:
        """Say it once, with what every thread is doing: the process may be killed for it."""
        if not self._complained:
            self._complained = True
            log.critical("work does not get through: %s\n%s", why, stacks())


def stacks() -> str:
    """What every thread of this process is doing now."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"[{names.get(ident, ident)}]\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )
