"""How old each secret is, when it is due, and the second half of its rotation.

A secret's age is counted from when the gateway first saw it; only a keyed mark of it is kept.
Rotation has two halves, because several processes use a secret at once: first the new one is
written beside the old one (`<NAME>_PREVIOUS`) and the gateway reloaded, so that every process knows
both; then `finish` moves what hangs on the old one over, and it can be taken away.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from broker.base import Clock
from database import accounts, broker_sessions, users
from database.crypto import CannotOpen, Vault
from database.engine import Database
from services.alarms import AlarmService
from services.backup import BackupService
from services.errors import Conflict, InvalidRequest
from services.flags import FlagService
from utils.config import SECRETS, Settings, plain, value_of

log = logging.getLogger(__name__)

SECRET_DUE = "secret_due"  # noqa: S105 - the name of an alarm
WARN_BEFORE = timedelta(days=14)

DATABASE_DAYS, KEY_DAYS, SIGNING_DAYS = 90, 180, 365
_SIGNING = ("SECRET_KEY", "BACKUP_KEY")
_DATABASES = ("DATABASE_URL", "REDIS_URL")
ROTATABLE = ("SECRET_KEY", "API_KEY_PEPPER", "BACKUP_KEY", "METRICS_TOKEN")
_PREFIX = "version.secret."
_BY = "secrets"


@dataclass(frozen=True, slots=True)
class SecretAge:
    """A secret that is set. `limit` in days; `overlap`: the one of before still works."""

    name: str
    since: datetime
    limit: int
    due_at: datetime
    overlap: bool


class SecretService:
    """Ages and rotation of the secrets in the settings. No method ever tells one."""

    def __init__(
        self, settings: Settings, database: Database, flags: FlagService, alarms: AlarmService,
        backups: BackupService, vault: Vault, clock: Clock,
    ) -> None:
        self._settings = settings
        self._database = database
        self._flags = flags
        self._alarms = alarms
        self._backups = backups
        self._vault = vault
        self._clock = clock

    def ages(self) -> list[SecretAge]:
        """Every secret that is set, the one that is due first in front."""
        found = []
        for name, value in self._given():
            since = self._since(name, value)
            limit = limit_of(name)
            due = since + timedelta(days=limit)
            found.append(SecretAge(name, since, limit, due, self._has_previous(name)))
        return sorted(found, key=lambda age: (age.due_at, age.name))

    def look(self) -> None:
        """Warn of secrets that are due soon; open an alarm for what is due, close what is not."""
        now = self._clock.now()
        for age in self.ages():
            if now >= age.due_at:
                self._alarms.open(
                    SECRET_DUE, age.name,
                    f"{age.name} is older than {age.limit} days: rotate it.",
                )
                continue
            self._alarms.close(SECRET_DUE, age.name)
            if now >= age.due_at - WARN_BEFORE:
                log.warning("%s is due for rotation on %s", age.name, age.due_at.date())

    def finish(self, name: str, *, give_up: bool = False) -> str:
        """Move over what hangs on the old secret; what was done, in a sentence.

        `Conflict` when something would be lost by it, unless `give_up` accepts that.
        """
        if name not in ROTATABLE:
            raise InvalidRequest(f"One of: {', '.join(ROTATABLE)}.", field="name")
        if not self._has_previous(name):
            raise Conflict(f"{name}_PREVIOUS is not set: there is no rotation to finish.")
        if name == "SECRET_KEY":
            return self._reseal()
        if name == "API_KEY_PEPPER":
            return self._count_left_keys(give_up)
        if name == "BACKUP_KEY":
            left = self._backups.sealed_before()
            if left and not give_up:
                raise Conflict(
                    f"{len(left)} backups can only be opened with the key of before, the newest is "
                    f"{left[0]}: wait until they are pruned, or keep that key elsewhere."
                )
            return f"{len(left)} backups need the key of before."
        return "Nothing hangs on it."

    def _reseal(self) -> str:
        try:
            with self._database.write() as conn:
                moved = accounts.reseal(conn, self._vault) + broker_sessions.reseal(
                    conn, self._vault
                )
        except CannotOpen:
            raise Conflict(
                "A stored secret opens with neither SECRET_KEY nor SECRET_KEY_PREVIOUS: nothing "
                "was changed. Remove and add that account."
            ) from None
        return f"{moved} stored secrets are sealed with the new SECRET_KEY."

    def _count_left_keys(self, give_up: bool) -> str:
        since = self._since("API_KEY_PEPPER", plain(self._settings.api_key_pepper))
        with self._database.read() as conn:
            rows = [row for row in users.list_keys(conn, None) if row.revoked_at is None]
        left = [
            row.prefix for row in rows
            if row.created_at < since and (row.last_used_at is None or row.last_used_at < since)
        ]
        if left and not give_up:
            raise Conflict(
                f"{len(left)} API keys were not used since the rotation and would stop working "
                f"({', '.join(left[:5])}…): wait, revoke them, or say --yes."
            )
        return f"{len(rows) - len(left)} API keys go on, {len(left)} end."

    def _given(self) -> Iterator[tuple[str, str]]:
        for name in sorted(SECRETS):
            if name.endswith("_PREVIOUS"):
                continue
            value = value_of(self._settings, name)
            text = value.get_secret_value() if isinstance(value, SecretStr) else ""
            if text and not (name in _DATABASES and "@" not in text):  # no password in it
                yield name, text

    def _since(self, name: str, value: str) -> datetime:
        """When this secret was seen first; noted now, if it is a new one."""
        now = self._clock.now()
        stored = self._flags.get(_PREFIX + name.lower())
        kept = json.loads(stored) if stored else {}
        mark = _mark(value, plain(self._settings.secret_key))
        before = _mark(value, plain(self._settings.secret_key_previous))
        known = kept.get("mark") in (mark, before)
        since = datetime.fromisoformat(kept["since"]) if known else now
        if kept.get("mark") != mark:
            note = json.dumps({"mark": mark, "since": since.isoformat()})
            self._flags.set(_PREFIX + name.lower(), note, _BY)
        return since

    def _has_previous(self, name: str) -> bool:
        return name in ROTATABLE and bool(
            plain(getattr(self._settings, f"{name.lower()}_previous"))
        )


def limit_of(name: str) -> int:
    """After how many days a secret is due: 90 for databases, 365 for what signs, else 180."""
    if name in _DATABASES:
        return DATABASE_DAYS
    return SIGNING_DAYS if name in _SIGNING else KEY_DAYS


def _mark(value: str, key: str) -> str:
    return hmac.new(key.encode(), f"age of a secret: {value}".encode(), hashlib.sha256).hexdigest()
