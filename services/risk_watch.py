"""Looks at the day's result where a risk rule hangs on it: keeps the best one, raises alarms.

The rules themselves read the result with every entry. A drawdown, though, is counted from the best
result of the day, which nobody would know who only looks when an order comes. And a limit that is
reached should be told at once, not with the next order.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal

from broker.base import Clock, Deadline
from broker.errors import BrokerError
from database.errors import StorageError
from services.accounts import Account, AccountService
from services.alarms import AlarmService
from services.errors import ServiceError
from services.risk_facts import RiskReader
from services.risk_limits import RiskLimits, RiskLimitService
from services.risk_rules import money, percent
from services.sessions import SessionService

log = logging.getLogger(__name__)

LOSS_REACHED = "risk_daily_loss"
DRAWDOWN_REACHED = "risk_drawdown"


class RiskWatch:
    """One look at every account that has such a rule and is connected; never raises."""

    def __init__(
        self,
        accounts: AccountService,
        sessions: SessionService,
        limits: RiskLimitService,
        reader: RiskReader,
        alarms: AlarmService,
        clock: Clock,
        *,
        timeout: float = 10.0,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._limits = limits
        self._reader = reader
        self._alarms = alarms
        self._clock = clock
        self._timeout = timeout

    def look(self) -> dict[str, Decimal]:
        """The day's results, by label, of the accounts that were looked at."""
        results: dict[str, Decimal] = {}
        for account in self._accounts.all():
            try:
                limits = self._limits.of(account)
                watched = limits.max_daily_loss or limits.max_drawdown_percent
                if watched and self._sessions.status(account).connected:
                    results[account.label] = self._look_at(account, limits)
            except (BrokerError, ServiceError, StorageError) as error:
                log.warning("the day's result of %s cannot be read: %s", account.label, error)
        return results

    def prune(self, keep: timedelta) -> int:
        """Forget the best results of days that are over; how many."""
        return self._reader.prune(keep)

    def _look_at(self, account: Account, limits: RiskLimits) -> Decimal:
        due = Deadline(self._clock, self._timeout)
        result = self._reader.result(account, due)
        best = self._reader.best_result(account, result)
        most = limits.max_daily_loss
        self._tell(LOSS_REACHED, account, most is not None and -result >= most, (
            f"The day's loss of '{account.label}' is {money(-result)}: entries are refused, exits "
            "and cancels go on."
        ))
        reached = False
        if limits.max_drawdown_percent is not None and best > result:
            funds = self._reader.funds(account, due)
            fall = percent(best - result, funds.available + funds.utilised)
            reached = fall >= limits.max_drawdown_percent
        self._tell(DRAWDOWN_REACHED, account, reached, (
            f"The day's result of '{account.label}' fell from {money(best)} to {money(result)}: "
            "entries are refused, exits and cancels go on."
        ))
        return result

    def _tell(self, rule: str, account: Account, reached: bool, words: str) -> None:
        if reached:
            self._alarms.open(rule, account.label, words)
        else:
            self._alarms.close(rule, account.label)
