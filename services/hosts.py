"""`HostWatch`: a second host on one database, and whether the two may work beside each other.

Processes of one host count calls in files that they share. Another host does not see them, so two
hosts on one database need Redis on both, and SQLite is for one host alone. Every host signs in
under a lease of the database that its processes renew; one that must not run beside those that it
finds there refuses to start and says what to set.

A host is a folder of shared state in one boot of a machine: two releases with the same `STATE_DIR`
are one host, two containers without a common volume are two. SQLite has that folder beside it, so
there only another machine is another host: what else is found is a copy that was restored.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import socket
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from broker.base import Clock
from database import leases
from database.engine import Database
from database.errors import StorageError
from services.alarms import AlarmService

log = logging.getLogger(__name__)

RENEW_EVERY = 5.0
LASTS = 15.0
"""Seconds between two signs of life of a host, and for how long one is believed."""

CLASH = "hosts_not_shared"
"""The alarm of two hosts that run beside each other and must not."""

_PREFIX = "host/"
_ALONE, _SHARED = "alone", "shared"
_LOOK = 0.5
_LEASE = timedelta(seconds=LASTS)


class HostsClash(RuntimeError):
    """Another host works on this database, and the two do not share what they must."""


class HostWatch:
    """Signs this host in and out. `shared`: its limits and locks lie in Redis."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        alarms: AlarmService,
        state: Path,
        shared: bool,
        *,
        boot: str = "",
    ) -> None:
        """`boot` names this run of the machine; by default as the system says."""
        self._database = database
        self._clock = clock
        self._alarms = alarms
        self._state = state
        self._kind = _SHARED if shared else _ALONE
        self._is_sqlite = database.engine.dialect.name == "sqlite"
        self._boot = hashlib.sha256((boot or _boot()).encode()).hexdigest()[:12]
        self._lease = ""
        self._is_in = False

    def enter(self) -> None:
        """At start: sign in. `HostsClash` when another host is there that this one may not join.

        A host that ended without signing out is waited for until its lease has run out.
        """
        first = self._others()
        while clash := self._clash(others := self._others()):
            if any(others[name] != first.get(name, others[name]) for name in others):
                raise HostsClash(clash)  # it has renewed its lease: it lives
            self._clock.sleep(_LOOK)
        self._is_in = True
        self.renew()

    def renew(self) -> None:
        """On a schedule: a sign of life; an alarm when a host is there that must not be."""
        try:
            with self._database.write() as conn:
                at = leases.now(conn, self._clock.now())
                leases.acquire(conn, self._name(), self._holder(), at=at, lasts=_LEASE)
            clash = self._clash(self._others())
        except StorageError as error:
            log.warning("this host cannot sign in: %s", error)
            return
        if clash:
            log.critical(clash)
            self._alarms.open(CLASH, "hosts", clash)
        else:
            self._alarms.close(CLASH, "hosts")

    def leave(self) -> None:
        """At the end: sign out. Another process of this host signs in again by itself."""
        if not self._is_in:
            return
        self._is_in = False
        with suppress(StorageError), self._database.write() as conn:
            leases.release(conn, self._name(), self._holder())

    def _others(self) -> dict[str, tuple[str, datetime]]:
        with self._database.read() as conn:
            at = leases.now(conn, self._clock.now())
            found = leases.named(conn, _PREFIX, at=at)
        return {name: lease for name, lease in found.items() if name != self._name()}

    def _clash(self, others: dict[str, tuple[str, datetime]]) -> str:
        """Why this host must not run beside those; "" when it may."""
        for holder, _ in others.values():
            kind, boot, host = holder.split(":", 2)
            if kind == _SHARED == self._kind or (self._is_sqlite and boot == self._boot):
                continue
            if self._is_sqlite:
                return (
                    f"The host {host} works on this SQLite database already. Several hosts need "
                    "PostgreSQL and Redis: set DATABASE_URL and REDIS_URL, the same on each."
                )
            where = "there" if kind == _ALONE else "here"
            return (
                f"The host {host} works on this database already, and limits are not shared with "
                f"it. Several hosts need one Redis: set REDIS_URL on each (it is missing {where})."
            )
        return ""

    def _holder(self) -> str:
        return f"{self._kind}:{self._boot}:{socket.gethostname()}"[:128]

    def _name(self) -> str:
        if not self._lease:
            self._lease = f"{_PREFIX}{_identity(self._state, self._boot)}"
        return self._lease


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def _identity(state: Path, boot: str) -> str:
    """Names this folder in this boot of this machine."""
    mark = state / "host"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not mark.exists():  # made whole and then named, since processes begin side by side
        made = state / f"host.{secrets.token_hex(8)}"
        made.write_text(secrets.token_hex(16), encoding="ascii")
        with suppress(FileExistsError):
            os.link(made, mark)
        made.unlink()
    return hashlib.sha256(f"{boot}/{mark.read_text(encoding='ascii')}".encode()).hexdigest()[:32]
