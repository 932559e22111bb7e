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
_USER = "user."
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class FlagView:
    """A flag as people see it; `user_id`: whom it holds for, None for everybody."""

    name: str
    value: str
    changed_by: str
    changed_at: datetime
    user_id: int | None = None


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

    def get(self, name: str, default: str = "", *, user_id: int | None = None) -> str:
        """The value of a flag, `default` where it was never set.

        With `user_id` what was set for that user goes before what holds for everybody. While the
        database cannot be read the last copy stands; without any copy `StorageError`.
        """
        if self._clock.monotonic() >= self._fresh_until:
            self._refresh()
        if user_id is not None:
            own = self._values.get(_of_user(name, user_id))
            if own is not None:
                return own
        return self._values.get(name, default)

    def is_on(self, name: str, default: bool = False, *, user_id: int | None = None) -> bool:
        """Whether a switch is on, for that user if one is named."""
        return self.get(name, _ON if default else _OFF, user_id=user_id) == _ON

    def set(self, name: str, value: str, who: str, *, user_id: int | None = None) -> None:
        """Set a flag, for everybody or for one user. `who` is the user's name, for the record."""
        if not _NAME.fullmatch(name) or name.startswith(_USER):
            raise InvalidRequest(
                "A flag's name has lower-case letters, digits, dots, dashes and underscores.",
                field="name",
            )
        if len(value) > 1000 or not (value.isprintable()):
            raise InvalidRequest(
                "A flag's value has at most 1,000 printable characters.", field="value"
            )
        stored = name if user_id is None else _of_user(name, user_id)
        with self._database.write() as conn:
            flags.set_flag(conn, stored, value, at=self._clock.now(), by=who)
        if not name.startswith(_INTERNAL):
            log.info("flag %s set to %s by %s", stored, value, who)
        self.look()

    def forget(self, name: str, who: str, *, user_id: int | None = None) -> None:
        """Take a flag away, so that its default holds again; for a user, what holds for all."""
        stored = name if user_id is None else _of_user(name, user_id)
        with self._database.write() as conn:
            flags.clear(conn, stored, at=self._clock.now())
        log.info("flag %s taken away by %s", stored, who)
        self.look()

    def switch(self, name: str, on: bool, who: str) -> None:
        """Set a switch."""
        self.set(name, _ON if on else _OFF, who)

    def bump(self, name: str, who: str) -> None:
        """Give a `version.` flag a value it never had: copies that were made under it are old."""
        self.set(name, secrets.token_hex(8), who)

    def look(self) -> None:
        """Read what has changed now, for who misses what another process may just have added."""
        with self._reading:
            self._read_or_keep()

    def list(self) -> FlagViews:
        """The flags that people set, by name."""
        with self._database.read() as conn:
            rows = flags.list_flags(conn)
        return [
            FlagView(name, row.value, row.changed_by, row.changed_at, user_id)
            for row in rows
            if not row.name.startswith(_INTERNAL)
            for user_id, name in (_apart(row.name),)
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


def _of_user(name: str, user_id: int) -> str:
    return f"{_USER}{user_id}.{name}"


def _apart(stored: str) -> tuple[int | None, str]:
    """The user that a stored flag holds for, and its name."""
    if not stored.startswith(_USER):
        return None, stored
    number, _, name = stored.removeprefix(_USER).partition(".")
    return int(number), name
