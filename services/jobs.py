"""`Scheduler`: recurring work, done by one process at a time.

Every process that serves has one, and `flask jobs run` is nothing else; `RUN_JOBS=false` leaves the
work to that one. Work that is meant for one process only runs where the lease is held (a row in
the database, so it holds over hosts too); the others look every few seconds whether it has lapsed.
A holder that can't renew stops by itself before anybody else starts. The lease of a process of
this machine that is gone (killed, crashed) is taken over at once: what it left behind waits for
the reconciler.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeGuard

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from broker.base import Clock
from database import leases
from database.engine import Database
from database.errors import StorageError
from utils.clock import IST

log = logging.getLogger(__name__)

LEASE = "scheduler"
_RENEW_EVERY = 5.0
_LASTS = 20.0
_MARGIN = 2.0  # seconds before the lease lapses at which its holder stops by itself
_THREADS = 4
_LATE = 60.0  # seconds without a look at the lease, after which the threads are taken to hang


@dataclass(frozen=True, slots=True)
class Recurring:
    """A piece of recurring work, and when it comes next (None: not scheduled yet)."""

    name: str
    seconds: float
    leased: bool
    next_run: datetime | None


class Scheduler:
    """Runs work at intervals, from `start` to `close`. Work that raises is logged and goes on."""

    def __init__(
        self, database: Database, clock: Clock, *, holder: str | None = None, may_lead: bool = True
    ) -> None:
        """may_lead: whether this process ever asks for the lease."""
        self._may_lead = may_lead
        self._database = database
        self._clock = clock
        self._place = _process_space()
        self.holder = holder or (
            f"{socket.gethostname()[:40]}:{self._place}:{os.getpid()}:{secrets.token_hex(4)}"
        )
        self._works: dict[str, tuple[float, bool, bool, Callable[[], object]]] = {}
        self._scheduler: Any = None
        self._held_until = float("-inf")
        self._looked = float("-inf")

    @property
    def holds_lease(self) -> bool:
        """Whether this process is the one that does what only one may do."""
        return self._clock.monotonic() < self._held_until

    def every(
        self, name: str, seconds: float, work: Callable[[], object], *,
        leased: bool = True, at_once: bool = False,
    ) -> None:
        """Do `work` every so many seconds; `at_once`: the first time when this process may.

        `leased` False: in every process. A run that lasts longer than the interval is not doubled.
        """
        if name in self._works:
            raise ValueError(f"there is recurring work called {name!r} already")
        self._works[name] = (seconds, leased, at_once, work)
        if self._scheduler is not None:
            self._schedule(name)

    def start(self, *, leads: bool = False) -> None:
        """Begin. To be called in the process that serves, after any fork.

        leads: this process may hold the lease although it was built as one that may not.
        """
        if self._scheduler is not None:
            return
        self._may_lead = self._may_lead or leads
        self._scheduler = BackgroundScheduler(
            timezone=IST, executors={"default": ThreadPoolExecutor(_THREADS)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            daemon=True,
        )
        self._scheduler.start()
        self.renew()
        self._scheduler.add_job(
            self._renew_and_catch_up, IntervalTrigger(seconds=_RENEW_EVERY), id="_lease"
        )
        for name in self._works:
            self._schedule(name)

    def renew(self) -> bool:
        """Take or keep the lease; whether it is held."""
        asked = self._looked = self._clock.monotonic()
        if not self._may_lead:
            return False
        try:
            with self._database.write() as conn:
                now, lasts = leases.now(conn, self._clock.now()), timedelta(seconds=_LASTS)
                held = leases.acquire(conn, LEASE, self.holder, at=now, lasts=lasts)
                if not held and self._is_gone(before := leases.holder(conn, LEASE, at=now)):
                    leases.release(conn, LEASE, before)
                    held = leases.acquire(conn, LEASE, self.holder, at=now, lasts=lasts)
        except StorageError as error:
            log.warning("the scheduler's lease can't be renewed: %s", error)
            return self.holds_lease
        self._held_until = asked + _LASTS - _MARGIN if held else float("-inf")
        return held

    def _is_gone(self, holder: str | None) -> TypeGuard[str]:
        """Whether a holder is known to be a process of this machine that lives no more."""
        _, place, pid, _ = (*(holder or "").split(":"), "", "", "", "")[:4]
        return bool(place) and place == self._place and pid.isdigit() and not _lives(int(pid))

    def run(self, name: str) -> bool:
        """Do a piece of work now, if this process may; False when it may not or it failed."""
        _, leased, _, work = self._works[name]
        if leased and not self.holds_lease:
            return False
        try:
            work()
        except Exception:
            log.exception("the recurring work %r failed", name)
            return False
        return True

    def works(self) -> bool:
        """Whether its threads still get to what is due: the look at the lease, for one."""
        return self._clock.monotonic() - self._looked < _LATE

    def leader(self) -> str | None:
        """Who holds the lease now, in any process; None when nobody does."""
        with self._database.read() as conn:
            return leases.holder(conn, LEASE, at=leases.now(conn, self._clock.now()))

    def list(self) -> list[Recurring]:
        """All recurring work, by name."""
        found = []
        for name, (seconds, leased, _, _) in sorted(self._works.items()):
            job = None if self._scheduler is None else self._scheduler.get_job(name)
            found.append(Recurring(name, seconds, leased, job.next_run_time if job else None))
        return found

    def close(self) -> None:
        """Stop, wait for what is running, and give the lease back."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is None:
            return
        scheduler.shutdown(wait=True)
        self._held_until = float("-inf")
        try:
            with self._database.write() as conn:
                leases.release(conn, LEASE, self.holder)
        except StorageError as error:
            log.warning("the scheduler's lease lapses by itself: %s", error)

    def _renew_and_catch_up(self) -> None:
        held_before = self.holds_lease
        if self.renew() and not held_before:
            log.info("this process now runs the recurring work")
            for name, (_, leased, at_once, _) in self._works.items():
                if leased and at_once:
                    self._scheduler.modify_job(name, next_run_time=datetime.now(IST))

    def _schedule(self, name: str) -> None:
        seconds, _, at_once, _ = self._works[name]
        first = {"next_run_time": datetime.now(IST)} if at_once else {}
        self._scheduler.add_job(
            self.run, IntervalTrigger(seconds=seconds), args=[name], id=name, **first
        )


def _process_space() -> str:
    """Names this run of the machine and the space of its process numbers; "" where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
