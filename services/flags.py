"""Switches that all processes share, read from a copy that is at most half a second old.

A change made here is seen here at once, in every other process within a second. Reading costs a
dictionary look-up; every `max_age` seconds one caller asks the database for the store's version.
Names under `version.` belong to caches: their value changes whenever what is cached has changed.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime

from broker.base import Clock
from database import flags
from database.engine import Database
from database.errors import StorageError
from services.errors import InvalidRequest

log = logging.getLogger(__name__)

KILL_SWITCH = "kill"
_ON = "on"
_OFF = "off"
_INTERNAL = "version."
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class FlagView:
    """A flag as people see it."""

    name: str
    value: str
    changed_by: str
    changed_at: datetime


FlagViews = list[FlagView]


class FlagService:
    """The flags of the instance. `max_age` in seconds bounds how old the copy may be."""

    def __init__(self, database: Database, clock: Clock, *, max_age: float = 0.5) -> None:
        self._database = database
        self._clock = clock
        self._max_age = max_age
        self._reading = threading.Lock()
        self._values: dict[str, str] = {}
        self._version = -1
        self._fresh_until = float("-inf")

    def get(self, name: str, default: str = "") -> str:
        """The value of a flag, `default` where it was never set.

        While the database cannot be read the last copy stands; without any copy `StorageError`.
        """
        if self._clock.monotonic() >= self._fresh_until:
            self._refresh()
        return self._values.get(name, default)

    def is_on(self, name: str, default: bool = False) -> bool:
        """Whether a switch is on."""
        return self.get(name, _ON if default else _OFF) == _ON

    def set(self, name: str, value: str, who: str) -> None:
        """Set a flag. `who` is the user's name, for the record."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                "A flag's name has lower-case letters, digits, dots, dashes and underscores.",
                field="name",
            )
        if len(value) > 1000 or not (value.isprintable()):
            raise InvalidRequest(
                "A flag's value has at most 1,000 printable characters.", field="value"
            )
        with self._database.write() as conn:
            flags.set_flag(conn, name, value, at=self._clock.now(), by=who)
        if not name.startswith(_INTERNAL):
            log.info("flag %s set to %s by %s", name, value, who)
        with self._reading:
            self._read_or_keep()

    def switch(self, name: str, on: bool, who: str) -> None:
        """Set a switch."""
        self.set(name, _ON if on else _OFF, who)

    def bump(self, name: str, who: str) -> None:
        """Give a `version.` flag a value it never had: copies that were made under it are old."""
        self.set(name, secrets.token_hex(8), who)

    def list(self) -> FlagViews:
        """The flags that people set, by name."""
        with self._database.read() as conn:
            rows = flags.list_flags(conn)
        return [
            FlagView(row.name, row.value, row.changed_by, row.changed_at)
            for row in rows
            if not row.name.startswith(_INTERNAL)
        ]

    def _refresh(self) -> None:
        """Read what has changed. One thread reads; the others use the copy that there is."""
        have_copy = self._version >= 0
        if not self._reading.acquire(blocking=not have_copy):
            return
        try:
            if self._clock.monotonic() >= self._fresh_until:
                self._read_or_keep()
        finally:
            self._reading.release()

    def _read_or_keep(self) -> None:
        now = self._clock.monotonic()
        try:
            self._read()
        except StorageError:
            if self._version < 0:
                raise
            log.warning("the flags cannot be read: the last known ones stand")
        self._fresh_until = now + self._max_age

    def _read(self) -> None:
        with self._database.read() as conn:
            version = flags.version(conn)
            if version == self._version:
                return
            values = {row.name: row.value for row in flags.list_flags(conn)}
        self._values = values
        self._version = version
