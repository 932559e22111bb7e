"""Is the gateway well? What is checked, and what it means for traffic.

The storage decides whether requests can be served at all (the database, and Redis where it is
configured). A broker that is not connected, or does not answer, makes the gateway `degraded`, not
unfit: cancels, exits and the other brokers still work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.base import Clock
from broker.breaker import BreakerState
from database.engine import Database
from database.errors import StorageError
from services.accounts import AccountService
from services.alarms import AlarmService
from services.session_status import SessionStatus
from services.sessions import SessionService


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `vital`: without it nothing can be served."""

    name: str
    ok: bool
    vital: bool
    detail: Any


@dataclass(frozen=True, slots=True)
class Health:
    """All checks of one moment."""

    at: datetime
    checks: tuple[Check, ...]

    @property
    def serves(self) -> bool:
        """Whether everything vital is there."""
        return all(check.ok for check in self.checks if check.vital)

    @property
    def status(self) -> str:
        """ "ok", "degraded" or "unavailable"."""
        if not self.serves:
            return "unavailable"
        return "ok" if all(check.ok for check in self.checks) else "degraded"


class HealthService:
    """Looks at storage, sessions and alarms. `ping_redis` raises when Redis gives no answer."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        accounts: AccountService,
        sessions: SessionService,
        alarms: AlarmService,
        ping_redis: Callable[[], None] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._sessions = sessions
        self._alarms = alarms
        self._ping_redis = ping_redis

    def check_storage(self) -> Health:
        """What decides whether the gateway takes traffic."""
        return Health(self._clock.now(), tuple(self._storage()))

    def check(self) -> Health:
        """Everything, for operators."""
        checks = self._storage()
        if all(check.ok for check in checks):
            try:
                checks += [*self._brokers(), *self._circuits(), self._open_alarms()]
            except StorageError as error:
                checks.append(Check("brokers", False, True, {"error": str(error)}))
        return Health(self._clock.now(), tuple(checks))

    def _storage(self) -> list[Check]:
        checks = [self._timed("database", self._database.ping)]
        if self._ping_redis is not None:
            checks.append(self._timed("redis", self._ping_redis))
        return checks

    def _timed(self, name: str, ping: Callable[[], None]) -> Check:
        started = self._clock.monotonic()
        try:
            ping()
        except Exception as error:
            return Check(name, False, True, {"status": "down", "error": type(error).__name__})
        spent = round((self._clock.monotonic() - started) * 1000, 2)
        return Check(name, True, True, {"status": "up", "milliseconds": spent})

    def _brokers(self) -> list[Check]:
        """An account is down when it should be connected, is not, and says what went wrong."""
        found: dict[str, list[SessionStatus]] = {}
        for account in self._accounts.all():
            found.setdefault(account.broker, []).append(self._sessions.status(account))
        return [
            Check(
                f"broker:{name}",
                not any(one.wanted and not one.connected and one.last_error for one in statuses),
                False,
                {"accounts": len(statuses), "connected": sum(one.connected for one in statuses)},
            )
            for name, statuses in sorted(found.items())
        ]

    def _circuits(self) -> list[Check]:
        """A broker's circuits, where this process has used it: open ones refuse entries.

        One closes with the first answer; an idle gateway learns of that with its next call.
        """
        names = sorted({account.broker for account in self._accounts.all()})
        found = {name: self._sessions.circuits(name) for name in names}
        well = {BreakerState.CLOSED.value}
        return [
            Check(f"circuit:{name}", set(states.values()) == well, False, states)
            for name, states in found.items() if states
        ]

    def _open_alarms(self) -> Check:
        alarms = self._alarms.list()
        return Check("alarms", not alarms, False, {"open": len(alarms)})
