"""Ready to trade? What must be true before the market opens, for each account.

There is a session, the broker's master contract is today's, the funds can be read, and our clock
agrees with the broker's (orders, candles and the trading day hang on it). Asked on the command line
and on the broker page; on trading days it is looked at from 08:55 (IST) until it is true, and an
alarm tells at 09:00 that it is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time

from broker.base import Clock, Deadline
from broker.errors import BrokerError
from database.errors import StorageError
from services.accounts import Account, AccountService
from services.alarms import AlarmService
from services.books import Books
from services.errors import ServiceError
from services.master_contract import MasterContractService
from services.sessions import SessionService
from utils.clock import ist, trading_day

log = logging.getLogger(__name__)

NOT_READY = "not_ready"

CLOCK_TOLERANCE = 3.0
"""Seconds by which the broker's clock may differ from ours; its answers tell whole seconds."""

BEGINS = time(8, 55)
ENDS = time(15, 30)
PATIENT_LOOKS = 5
"""Looks, one a minute, that may fail before that is an alarm: at 09:00, or when a gateway that was
started later has had the time to log in and to load its contract."""


@dataclass(frozen=True, slots=True)
class ReadyCheck:
    """One thing that was looked at, and what was seen, as a sentence."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether one account could trade at this moment."""

    account: str
    at: datetime
    checks: tuple[ReadyCheck, ...]

    @property
    def ready(self) -> bool:
        """Whether all is as it must be."""
        return all(check.ok for check in self.checks)

    @property
    def problems(self) -> str:
        """What is not, in sentences."""
        return " ".join(check.detail for check in self.checks if not check.ok)


class ReadinessService:
    """Looks at accounts. `timeout` bounds what one look spends on the broker, in seconds."""

    def __init__(
        self,
        accounts: AccountService,
        sessions: SessionService,
        contracts: MasterContractService,
        books: Books,
        alarms: AlarmService,
        clock: Clock,
        *,
        timeout: float = 10.0,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._contracts = contracts
        self._books = books
        self._alarms = alarms
        self._clock = clock
        self._timeout = timeout
        self._was_ready: dict[str, date] = {}
        self._failed: dict[str, int] = {}

    def check(self, account: Account) -> Readiness:
        """Look now; logs in when there is no session and one may be had. Never raises."""
        due = Deadline(self._clock, self._timeout)
        steps: tuple[tuple[str, Callable[[], ReadyCheck]], ...] = (
            ("session", lambda: self._session(account, due)),
            ("master contract", lambda: self._contract(account)),
            ("funds", lambda: self._funds(account, due)),
            ("clock", lambda: self._clocks(account)),
        )
        checks = tuple(_tried(name, step) for name, step in steps)
        return Readiness(account.label, self._clock.now(), checks)

    def look(self) -> list[Readiness]:
        """On a schedule, once a minute: on trading days until each account was ready once."""
        now = self._clock.now()
        local = ist(now)
        if local.isoweekday() > 5 or not BEGINS <= local.time() < ENDS:
            self._failed.clear()
            return []
        found = []
        for account in self._expected():
            if self._was_ready.get(account.label) == trading_day(now):
                continue
            readiness = self.check(account)
            found.append(readiness)
            self._tell(readiness, trading_day(now))
        return found

    def _expected(self) -> list[Account]:
        """The accounts that somebody means to trade with."""
        try:
            return [
                account for account in self._accounts.all()
                if self._accounts.is_broker_enabled(account.broker)[0]
                and self._sessions.status(account).wanted
            ]
        except StorageError as error:
            log.error("nobody can say which accounts should be ready: %s", error)
            return []

    def _tell(self, found: Readiness, today: date) -> None:
        if found.ready:
            self._was_ready[found.account] = today
            self._failed.pop(found.account, None)
            self._alarms.close(NOT_READY, found.account)
            log.info("account %s is ready to trade", found.account)
            return
        failed = self._failed[found.account] = self._failed.get(found.account, 0) + 1
        log.warning("account %s is not ready to trade: %s", found.account, found.problems)
        if failed > PATIENT_LOOKS:
            self._alarms.open(
                NOT_READY, found.account,
                f"'{found.account}' is not ready to trade. {found.problems}",
            )

    # The checks --------------------------------------------------------------------------------

    def _session(self, account: Account, due: Deadline) -> ReadyCheck:
        self._sessions.connection(account, due)
        until = self._sessions.status(account).expires_at
        words = f"Connected until {ist(until):%H:%M on %d-%b-%Y} IST." if until else "Connected."
        return ReadyCheck("session", True, words)

    def _contract(self, account: Account) -> ReadyCheck:
        status = self._contracts.status(account.broker)
        if status.rows and not self._contracts.is_stale(account.broker):
            return ReadyCheck("master contract", True, f"{status.rows:,} instruments of today.")
        words = f"The master contract of '{account.broker}' is not today's: it is {status.state}."
        return ReadyCheck("master contract", False, words)

    def _funds(self, account: Account, due: Deadline) -> ReadyCheck:
        funds = self._books.funds(account, due).value
        return ReadyCheck("funds", True, f"₹{funds.available:,.2f} are available.")

    def _clocks(self, account: Account) -> ReadyCheck:
        offset = self._sessions.clock_offset(account)
        if offset is None:
            return ReadyCheck("clock", False, "The broker has not said what time it is.")
        if abs(offset) <= CLOCK_TOLERANCE:
            return ReadyCheck("clock", True, "Our clock and the broker's agree.")
        where = "ahead of" if offset > 0 else "behind"
        words = (
            f"The broker's clock is {abs(offset):.0f} seconds {where} ours: set this machine's "
            "clock (NTP)."
        )
        return ReadyCheck("clock", False, words)


def _tried(name: str, step: Callable[[], ReadyCheck]) -> ReadyCheck:
    try:
        return step()
    except (BrokerError, ServiceError) as error:
        return ReadyCheck(name, False, error.message)
    except StorageError as error:
        return ReadyCheck(name, False, f"The database does not answer: {error}.")
