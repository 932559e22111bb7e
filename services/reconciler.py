"""Settles what is unknown, and checks that what was accepted really shows up.

Runs at start, on a schedule, on demand, over all accounts; one complete book read serves every open
intent of an account. Every change is a journal event with its cause.

* `received` whose request is over was never sent: *not sent*.
* `sending` whose request is over has lost its sender: *unknown*.
* A tag that the book shows settles its order, whoever is still waiting for it.
* *Absent* is concluded from complete, successful reads only: at least three, over at least ten
  seconds, the last at least five seconds after the request's deadline. Reads count by the steady
  clock, so that setting the wall clock hastens nothing.
* A venue's book holds one trading day. It proves nothing about an order of an earlier one: that
  stays unknown, and is an alarm until a person has looked.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from broker.base import Clock, Deadline
from broker.errors import BrokerError
from broker.models import Order
from broker.waiting import urgent
from database import journal
from database.journal import UNSETTLED, Intent, IntentKind, IntentState
from services.accounts import Account, AccountService
from services.alarms import AlarmService
from services.bearing_out import BearingOut
from services.books import Books
from services.errors import ServiceError
from services.evidence import Evidence
from services.locks import LockBusy, NamedLocks
from services.recording import Ending, Recorder, storage_needed
from services.shared_reads import Copy
from services.verdicts import Rows, Verdict, judge
from utils.clock import start_of_trading_day, trading_day
from utils.turns import giving_way

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""How often `run_once` should run; it costs one indexed query while there is nothing to do."""

ABSENT_WATCHED = timedelta(minutes=15)
ABSENT_PAUSE = 15.0
"""For how long, and every how many seconds, the book is read for orders that were held absent."""

ROWS_A_SECOND = 500
LONGEST_REST = 5.0
"""A book of so many rows is read once a second, a longer one less often, but after so many seconds
at the latest, while it is only read to see what was accepted: reading it costs orders their time.
What is unknown does not wait for that."""

OVERDUE = timedelta(seconds=2)
"""How long after a request's deadline its worker is held to be gone."""

ALARM_AFTER = timedelta(seconds=10)
"""How long after its deadline an order may stay unknown before that is an alarm."""

UNSETTLED_ORDERS = "orders_unsettled"
ORDER_TWICE = "order_twice"
ABSENT_APPEARED = "absent_order_appeared"

_NOT_SHOWN = "The broker's book does not show them."
_DAY_OVER = (
    "The broker's order book holds one day only and cannot tell any more: look into its trades, "
    "positions and contract notes."
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did, and what is still open (`unknown`); `unread`: books it could not read."""

    at: datetime
    settled: int = 0
    absent: int = 0
    not_sent: int = 0
    unknown: int = 0
    confirmed: int = 0
    unread: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tally:
    settled: int = 0
    absent: int = 0
    not_sent: int = 0
    confirmed: int = 0
    unread: list[str] = field(default_factory=list)


class Reconciler:
    """The one who finds out. `timeout` bounds one book read, in seconds."""

    def __init__(
        self,
        accounts: AccountService,
        books: Books,
        recorder: Recorder,
        bearing_out: BearingOut,
        alarms: AlarmService,
        locks: NamedLocks,
        clock: Clock,
        *,
        timeout: float = 10.0,
    ) -> None:
        self._accounts = accounts
        self._books = books
        self._recorder = recorder
        self._bearing_out = bearing_out
        self._alarms = alarms
        self._locks = locks
        self._clock = clock
        self._timeout = timeout
        self._guard = threading.Lock()
        self._evidence = Evidence(clock)
        self._absent: dict[int, Intent] = {}
        self._absent_asked: dict[int, float] = {}
        self._absent_read: dict[int, float] = {}
        self._rests_until: dict[int, float] = {}
        self._alarmed: set[str] = set()
        self._summary = Summary(clock.now())

    @property
    def summary(self) -> Summary:
        """What the last run of this process did."""
        return self._summary

    def on_start(self) -> Summary:
        """The run of a process that begins: looks at the whole trading day."""
        return self.run_once(whole_day=True)

    @urgent()
    def run_once(self, *, whole_day: bool = False) -> Summary:
        """One round. When another process is at it, the last summary and nothing else."""
        try:
            self._alone(0.0, whole_day)
        except LockBusy:
            log.debug("another process is reconciling")
        return self._summary

    @urgent()
    def run_now(self, patience: float) -> Summary:
        """A round over the whole day, for a person, whom the last summary would mislead.

        Waits so many seconds for another process's round to end; `LockBusy` when it does not.
        """
        return self._alone(patience, True)

    def _alone(self, patience: float, whole_day: bool) -> Summary:
        with self._guard, self._locks.lock("reconciler", patience), giving_way():
            self._summary = self._round(whole_day)
        return self._summary

    def run_until_settled(self, seconds: float) -> Summary:
        """Rounds until nothing is unknown or the time is up; for the command line."""
        deadline = Deadline(self._clock, seconds)
        summary = self.run_once(whole_day=True)
        while summary.unknown and deadline.remaining() > POLL_SECONDS:
            self._clock.sleep(POLL_SECONDS)
            summary = self.run_once()
        return summary

    # A round -----------------------------------------------------------------------------------

    def _round(self, whole_day: bool) -> Summary:
        self._recorder.flush()
        tally = _Tally()
        with storage_needed():
            waiting = self._give_up_overdue(tally)
            still_open = 0
            accounts = {account.id: account for account in self._accounts.all()}
            by_account: dict[int, list[Intent]] = {}
            for intent in waiting:
                by_account.setdefault(intent.account_id, []).append(intent)
            for account_id in {*accounts, *by_account}:
                mine = by_account.get(account_id, [])
                still_open += self._account(
                    accounts.get(account_id), account_id, mine, whole_day, tally
                )
        return Summary(
            self._clock.now(), tally.settled, tally.absent, tally.not_sent, still_open,
            tally.confirmed, tuple(tally.unread),
        )

    def _give_up_overdue(self, tally: _Tally) -> list[Intent]:
        """End what nobody works on any more; the intents of open outcome that are left."""
        with self._recorder.reading() as conn:
            found = journal.open_intents(conn, UNSETTLED)
        self._evidence.keep_only({intent.id for intent in found})
        left, endings = [], []
        for intent in found:
            overdue = self._evidence.is_over(intent, OVERDUE)
            if intent.state is IntentState.RECEIVED:
                if overdue:
                    endings.append(Ending(
                        intent, IntentState.NOT_SENT, "abandoned",
                        message="The gateway stopped before it was sent.",
                    ))
                continue
            if intent.state is IntentState.SENDING and overdue:
                endings.append(Ending(
                    intent, IntentState.UNKNOWN, "sender gone",
                    message="The gateway stopped while it was sent.",
                ))
                intent = replace(intent, state=IntentState.UNKNOWN)
            left.append(intent)
        self._recorder.end(endings)
        tally.not_sent += sum(item.state is IntentState.NOT_SENT for item in endings)
        return left

    def _account(
        self,
        account: Account | None,
        account_id: int,
        waiting: list[Intent],
        whole_day: bool,
        tally: _Tally,
    ) -> int:
        """Read one account's book if anything hangs on it; how many intents stay unknown."""
        if account is None:
            self._alarm_if_old(f"account {account_id}", waiting, "The account is gone.")
            return len(waiting)
        absent_due = self._absent_is_due(account, whole_day)
        must = whole_day or absent_due or any(
            intent.state is IntentState.UNKNOWN and self._is_of_today(intent) for intent in waiting
        )
        if not must and self._clock.monotonic() < self._rests_until.get(account.id, 0.0):
            return _count_unknown(waiting)
        accepted = self._bearing_out.waiting(account, whole_day)
        if not (accepted or absent_due or any(self._is_of_today(intent) for intent in waiting)):
            if waiting or whole_day or account.label in self._alarmed:
                self._alarm_if_old(account.label, waiting, _DAY_OVER)
            if not (waiting and whole_day):
                return _count_unknown(waiting)
        try:
            copy = self._books.orders(account, Deadline(self._clock, self._timeout))
        except (BrokerError, ServiceError) as error:
            tally.unread.append(account.label)
            self._alarm_if_old(account.label, waiting, error.message)
            return _count_unknown(waiting)
        self._absent_read[account.id] = copy.begun
        rest = min(len(copy.value) // ROWS_A_SECOND, LONGEST_REST)
        self._rests_until[account.id] = self._clock.monotonic() + rest
        self._watch_for_doubles(account, copy.value)
        rows = Rows(copy.value)
        left = self._without_seen(waiting, rows, copy, tally)
        left = self._without_absent(account, left, copy, tally)
        told = all(self._is_of_today(intent) for intent in left)
        self._alarm_if_old(account.label, left, _NOT_SHOWN if told else _DAY_OVER)
        self._watch_absent(account, rows)
        tally.confirmed += self._bearing_out.check(account, accepted, rows, copy.as_of)
        return _count_unknown(left)

    def _without_seen(
        self, waiting: list[Intent], rows: Rows, copy: Copy[list[Order]], tally: _Tally
    ) -> list[Intent]:
        """Settle what the book shows; the others."""
        left, endings = [], []
        for intent in waiting:
            # The order id that a change names may be another order's on another day.
            judged = intent.kind is IntentKind.PLACE or _of_one_day(intent, copy)
            verdict = judge(intent, rows) if judged else None
            if verdict is None:
                left.append(intent)
            else:
                endings.append(_ending(intent, verdict, "reconciled"))
        self._recorder.end(endings)
        tally.settled += len(endings)
        return left

    def _without_absent(
        self, account: Account, waiting: list[Intent], copy: Copy[list[Order]], tally: _Tally
    ) -> list[Intent]:
        """End those of which this read proves the absence; the others."""
        proven = [
            intent for intent in waiting
            if _of_one_day(intent, copy) and self._evidence.proves_absence(intent, copy)
            and intent.state is IntentState.UNKNOWN
        ]
        if not proven:
            return waiting
        try:
            elsewhere = self._elsewhere(account, proven)
        except (BrokerError, ServiceError):
            return waiting
        endings = []
        for intent in proven:
            verdict = elsewhere.get(intent.id)
            if verdict is not None:
                endings.append(_ending(intent, verdict, "under another client"))
                tally.settled += 1
                continue
            endings.append(Ending(
                intent, IntentState.ABSENT, "absent",
                message="Complete reads of the broker's book did not show it.",
            ))
            self._absent[intent.id] = replace(
                intent, state=IntentState.ABSENT, updated_at=self._clock.now()
            )
            tally.absent += 1
        self._recorder.end(endings)
        ended = {intent.id for intent in proven}
        return [intent for intent in waiting if intent.id not in ended]

    def _elsewhere(self, account: Account, intents: list[Intent]) -> dict[int, Verdict]:
        """What the whole book says, rows of clients that are not expected included: by intent."""
        placed = {item.tag: item for item in intents if item.kind is IntentKind.PLACE}
        if not placed:
            return {}
        rows = self._books.find(account, list(placed), Deadline(self._clock, self._timeout))
        found = {placed[tag].id: judge(placed[tag], Rows([row])) for tag, row in rows.items()}
        return {number: verdict for number, verdict in found.items() if verdict is not None}

    def _is_of_today(self, intent: Intent) -> bool:
        return trading_day(intent.created_at) == trading_day(self._clock.now())

    # Alarms ------------------------------------------------------------------------------------

    def _alarm_if_old(self, subject: str, waiting: list[Intent], why: str) -> None:
        old = [intent for intent in waiting if self._evidence.is_over(intent, ALARM_AFTER)]
        if not old:
            self._alarms.close(UNSETTLED_ORDERS, subject)
            self._alarmed.discard(subject)
            return
        self._alarmed.add(subject)
        self._alarms.open(
            UNSETTLED_ORDERS, subject,
            f"Orders of unknown outcome: {len(old)}, the oldest is {old[0].reference}. {why}",
        )

    def _watch_for_doubles(self, account: Account, orders: list[Order]) -> None:
        """Two rows with one tag of ours: something sent an order twice."""
        counts = Counter(row.tag for row in orders if row.tag)
        for tag in (tag for tag, count in counts.items() if count > 1):
            with self._recorder.reading() as conn:
                intent = journal.by_tag(conn, tag)
            if intent is not None:
                self._alarms.open(
                    ORDER_TWICE, account.label,
                    f"The broker's book shows the order {intent.reference} more than once.",
                )

    def _absent_is_due(self, account: Account, whole_day: bool) -> bool:
        """Whether the book should be read for orders of today that were held absent.

        Nothing else may hang on it, and an order that shows up after all must not go unnoticed.
        The journal is asked, because others hold orders absent too: a process that has ended, and
        a person at the command line, who may be mistaken.
        """
        asked = self._absent_asked.get(account.id, float("-inf"))
        if whole_day or self._clock.monotonic() - asked >= ABSENT_PAUSE:
            self._absent_asked[account.id] = self._clock.monotonic()
            with self._recorder.reading() as conn:
                since = start_of_trading_day(self._clock.now())
                found = journal.absent(conn, account.id, since)
            self._absent.update((intent.id, intent) for intent in found)
        now = self._clock.now()
        mine = [
            intent for intent in self._absent.values()
            if intent.account_id == account.id and self._is_of_today(intent)
        ]
        if whole_day:
            return bool(mine)
        last = self._absent_read.get(account.id, float("-inf"))
        return self._clock.monotonic() - last >= ABSENT_PAUSE and any(
            now - (intent.updated_at or intent.created_at) < ABSENT_WATCHED for intent in mine
        )

    def _watch_absent(self, account: Account, rows: Rows) -> None:
        """An order that was held absent and shows up after all is accepted, and an alarm."""
        for intent in [item for item in self._absent.values() if item.account_id == account.id]:
            if not self._is_of_today(intent):
                del self._absent[intent.id]
                continue
            verdict = judge(intent, rows)
            if verdict is None:
                continue
            del self._absent[intent.id]
            self._recorder.end([_ending(intent, verdict, "appeared late")])
            self._alarms.open(
                ABSENT_APPEARED, account.label,
                f"Order {intent.reference} was held absent and is in the broker's book now, as "
                f"{verdict.order_id}.",
            )


def _ending(intent: Intent, verdict: Verdict, cause: str) -> Ending:
    return Ending(intent, verdict.state, cause, verdict.order_id, verdict.message)


def _of_one_day(intent: Intent, copy: Copy[list[Order]]) -> bool:
    """Whether a book is of the trading day of an intent: it proves nothing about another one."""
    return trading_day(intent.created_at) == trading_day(copy.as_of)


def _count_unknown(intents: list[Intent]) -> int:
    return sum(intent.state in (IntentState.UNKNOWN, IntentState.SENDING) for intent in intents)
