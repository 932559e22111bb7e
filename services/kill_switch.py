"""The kill switch: no entries in any process, and the way out of everything on demand.

Turning it on is one row in the database, which every process reads at most half a second later;
what waits for its turn at a broker is held back by a last look before it is sent. Exits and cancels
go on. Squaring off cancels every open order and then closes every position, account by account, and
reports each; it goes on past whatever fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from broker.base import Clock
from broker.errors import BrokerError
from database import audit
from database.engine import Database
from database.errors import StorageError
from services.access import Principal
from services.accounts import Account, AccountService
from services.baskets import BasketService
from services.children import side_by_side
from services.errors import ServiceError
from services.flags import KILL_SWITCH, FlagService
from services.order_models import ChildResult, ChildStatus, Origin, Provenance

log = logging.getLogger(__name__)

SEEN_EVERYWHERE = 1.0
"""Seconds after which every process has seen the switch (`services.flags`)."""

STRATEGY = "kill switch"


@dataclass(frozen=True, slots=True)
class KillState:
    """Whether entries are stopped, and who turned the switch last, and when."""

    is_on: bool
    changed_by: str
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class SquareOff:
    """What became of one account: a row for each order and position, or why it was not read."""

    account: str
    cancelled: tuple[ChildResult, ...] = ()
    closed: tuple[ChildResult, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether everything that was there was cancelled or is being closed."""
        rows = (*self.cancelled, *self.closed)
        return not self.problems and all(row.status is ChildStatus.SUCCESS for row in rows)


class KillSwitch:
    """Turns the switch and squares off. Every turn and every square-off is in the audit trail."""

    def __init__(
        self,
        database: Database,
        flags: FlagService,
        accounts: AccountService,
        baskets: BasketService,
        clock: Clock,
    ) -> None:
        self._database = database
        self._flags = flags
        self._accounts = accounts
        self._baskets = baskets
        self._clock = clock

    @property
    def is_on(self) -> bool:
        """Whether entries are stopped, from memory: for every page and every answer."""
        return self._flags.is_on(KILL_SWITCH)

    def state(self) -> KillState:
        """The switch with who turned it, from the database."""
        for flag in self._flags.list():
            if flag.name == KILL_SWITCH and flag.user_id is None:
                return KillState(flag.value == "on", flag.changed_by, flag.changed_at)
        return KillState(False, "", None)

    def turn(self, on: bool, who: str, *, address: str = "", request_id: str = "") -> KillState:
        """Stop entries in every process within a second, or allow them again."""
        self._flags.switch(KILL_SWITCH, on, who)
        self._record(who, f"kill switch {'on' if on else 'off'}", "", {}, address, request_id)
        log.log(
            logging.CRITICAL if on else logging.WARNING,
            "the kill switch was turned %s by %s", "on" if on else "off", who,
        )
        return self.state()

    def square_off(
        self, principal: Principal, *, address: str = "", request_id: str = ""
    ) -> list[SquareOff]:
        """Cancel every order and close every position of every account; a report for each.

        Demands the right of an administrator, and the switch on: otherwise orders could come in
        while others are closed. Waits until every process has seen the switch.
        """
        principal.demand("admin")
        since = self.state()
        if since.is_on and since.changed_at is not None:
            seen = SEEN_EVERYWHERE - (self._clock.now() - since.changed_at).total_seconds()
            self._clock.sleep(min(max(seen, 0.0), SEEN_EVERYWHERE))
        accounts = self._accounts.all()
        reports = side_by_side(
            [self._task(principal, account, request_id) for account in accounts]
        )
        for report in reports:
            detail = {
                "cancelled": _counted(report.cancelled), "closed": _counted(report.closed),
                "problems": " ".join(report.problems),
            }
            self._record(
                principal.name, "square off", report.account, detail, address, request_id
            )
        return reports

    def _task(
        self, principal: Principal, account: Account, request_id: str
    ) -> Callable[[], SquareOff]:
        return lambda: self._square_off(principal, account, request_id)

    def _square_off(self, principal: Principal, account: Account, request_id: str) -> SquareOff:
        whence = Provenance(request_id=request_id, origin=Origin.EXIT)
        problems: list[str] = []
        cancelled: list[ChildResult] = []
        closed: list[ChildResult] = []
        try:
            cancelled = self._baskets.cancel_all(
                principal, account, strategy=STRATEGY, provenance=whence
            ).children
        except (BrokerError, ServiceError, StorageError) as error:
            problems.append(f"The orders were not cancelled. {_words(error)}")
        try:
            closed = self._baskets.close_positions(
                principal, account, strategy=STRATEGY, provenance=whence
            )
        except (BrokerError, ServiceError, StorageError) as error:
            problems.append(f"The positions were not closed. {_words(error)}")
        for problem in problems:
            log.error("square off of %s: %s", account.label, problem)
        return SquareOff(account.label, tuple(cancelled), tuple(closed), tuple(problems))

    def _record(
        self, who: str, action: str, subject: str, detail: dict[str, str], address: str,
        request_id: str,
    ) -> None:
        """Into the audit trail. It must not stand in the way: a failing database is only logged."""
        try:
            with self._database.write() as conn:
                audit.record(
                    conn, who, action, subject, at=self._clock.now(), detail=detail,
                    address=address, request_id=request_id,
                )
        except StorageError as error:
            log.error("%s by %s is not in the audit trail: %s", action, who, error)


def _counted(rows: tuple[ChildResult, ...]) -> str:
    good = sum(row.status is ChildStatus.SUCCESS for row in rows)
    return f"{good} of {len(rows)}"


def _words(error: Exception) -> str:
    return error.message if isinstance(error, BrokerError | ServiceError) else str(error)
