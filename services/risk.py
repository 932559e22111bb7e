"""Who may enter the market: the switches, the risk rules, and the way out that is always open.

Every order that is not known to be an exit is admitted here before it is sent, and so is every
modification that asks for more. What the switches or a rule refuse may still go when it only
reduces a position: then it is an exit. Where a rule adds up what concurrent orders change, the
orders of the account are checked one after the other, each with the ones before it in the journal.

Without limits that are on, admission costs a few look-ups in memory.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache

from broker.base import Clock, Deadline, Priority
from broker.errors import BrokerError
from broker.models import InstrumentRef, Product, Side
from broker.redis_link import RedisAway, RedisLink
from broker.waiting import urgent
from database.errors import StorageError
from services.accounts import Account, AccountService
from services.books import HOLDINGS_AGE, Books
from services.errors import (
    BrokerDisabled,
    RiskLimit,
    RiskUnreadable,
    ServiceError,
    SharedAway,
)
from services.exposure import ExposureReader, is_flying, key_of, lock_name
from services.flags import KILL_SWITCH, FlagService
from services.locks import LockBusy, NamedLocks
from services.recording import storage_needed
from services.risk_facts import RiskReader
from services.risk_limits import NO_LIMITS, RiskLimits, RiskLimitService, variable_of
from services.risk_rules import RULES, Rule, Wish
from utils.clock import ist
from utils.metrics import counter

log = logging.getLogger(__name__)

LOCK_SHARE = 0.5
"""What waiting for a lock may take of the request's time."""

_GLANCE = 2.0
_GLANCE_AGE = 3.0
"""Seconds for the look at a copy that saves most refused orders the full reads, and how old that
copy may be: who is refused many times a second must not use up the reads that others need."""

_REFUSALS = counter(
    "openalgo_risk_refusals_total", "Orders that a risk rule refused, by account and rule.",
    ("account", "rule"),
)


@dataclass(frozen=True, slots=True)
class Admission:
    """An order may go, with this priority; `held`: locks are kept until it is in the journal."""

    priority: Priority
    held: bool = False
    warnings: tuple[str, ...] = ()


_FREE = Admission(Priority.ENTRY)


class EntryControl:
    """Admits or refuses entries."""

    def __init__(
        self,
        accounts: AccountService,
        flags: FlagService,
        limits: RiskLimitService,
        reader: RiskReader,
        books: Books,
        exposure: ExposureReader,
        locks: NamedLocks,
        clock: Clock,
        shared: RedisLink | None = None,
    ) -> None:
        self._accounts = accounts
        self._flags = flags
        self._limits = limits
        self._reader = reader
        self._books = books
        self._exposure = exposure
        self._locks = locks
        self._clock = clock
        self._shared = shared

    def at_once(self, account: Account, user_id: int | None) -> Admission | None:
        """The admission of an entry against which nothing stands, and which nothing has to check.

        None when `admit` has to say more. This is the way of most orders, so it costs next to
        nothing.
        """
        try:
            is_shared = self._shared is None or not self._shared.is_away
            is_free = is_shared and self._is_open(account, user_id)
            if is_free and self._limits.of(account) == NO_LIMITS:
                return _FREE
        except StorageError:
            return None
        return None

    def last_look(self, account: Account, user_id: int | None) -> None:
        """What `check_switches` says, for an order that is about to be sent."""
        try:
            if self._is_open(account, user_id):
                return
        except StorageError:
            pass  # what follows says it in the words of a refusal
        self.check_switches(account, user_id)

    def _is_open(self, account: Account, user_id: int | None) -> bool:
        """Whether no switch stands against entries; looked up in memory."""
        return (
            not self._flags.is_on(KILL_SWITCH)
            and not self._flags.is_on(KILL_SWITCH, user_id=user_id)
            and self._accounts.is_broker_enabled(account.broker)[0]
        )

    def check_switches(self, account: Account, user_id: int | None) -> None:
        """`BrokerDisabled` while entries are switched off, by the broker's or the kill switch.

        The kill switch stops everybody, or one user; neither takes the other's back.
        """
        with storage_needed():
            self._accounts.require_broker(account.broker)
            if self._flags.is_on(KILL_SWITCH):
                raise BrokerDisabled(
                    "The kill switch is on: no new orders; exits and cancels go on."
                )
            if self._flags.is_on(KILL_SWITCH, user_id=user_id):
                raise BrokerDisabled(
                    "An administrator stopped your new orders; exits and cancels go on."
                )

    def _check_shared(self) -> None:
        """`SharedAway` while what all hosts count together is away: then only exits go."""
        if self._shared is None or not self._shared.is_away:
            return
        try:
            self._shared.ping()
        except RedisAway as error:
            raise SharedAway(
                f"{error}: no new orders; exits and cancels go on.", retry_after=1.0
            ) from error

    def admit(
        self, wish: Wish, deadline: Deadline, held: ExitStack, *, may_reduce: bool = True
    ) -> Admission:
        """Let an order pass, or raise why not.

        The caller commits its intent before it closes `held`, where `Admission.held` says so.
        `may_reduce` False: the caller holds the position's lock and knows that this is an entry.
        `BrokerDisabled`, `RiskLimit` (the rule and its figures), `RiskUnreadable`, `LockBusy`,
        `SharedAway`.
        """
        try:
            if wish.enlarges:
                self.check_switches(wish.account, wish.user_id)
                self._check_shared()
            with storage_needed():
                limits = self._limits.of(wish.account)
            rules = rules_of(limits)
            if not rules and limits.square_off_time is None:
                return _FREE
            return self._as_entry(wish, limits, rules, deadline, held)
        except (BrokerDisabled, RiskLimit, RiskUnreadable, SharedAway) as refusal:
            held.close()
            with urgent():
                is_exit = may_reduce and self._only_reduces(wish, deadline, held, refusal)
            if is_exit:
                return Admission(Priority.EXIT, held=True)
            held.close()
            raise

    def warnings(self, wish: Wish, limits: RiskLimits) -> tuple[str, ...]:
        """What is said about an order that is not refused."""
        at = limits.square_off_at
        if at is None or wish.product is not Product.MIS or ist(self._clock.now()).time() < at:
            return ()
        words = (
            f"It is past the square-off time {at:%H:%M} IST: the broker may close intraday (MIS) "
            "positions at any moment."
        )
        return (words,)

    # Entries -----------------------------------------------------------------------------------

    def _as_entry(
        self,
        wish: Wish,
        limits: RiskLimits,
        rules: tuple[Rule, ...],
        deadline: Deadline,
        held: ExitStack,
    ) -> Admission:
        sums = any(rule.sums for rule in rules)
        if sums:
            self._queue_up(wish.account, deadline, held)
        facts = self._reader.facts(wish, deadline)
        for rule in rules:
            if wish.replaces is not None and not wish.enlarges and not rule.on_price:
                continue
            try:
                words = rule.check(wish, limits, facts)
            except (BrokerError, ServiceError, StorageError) as error:
                raise self._unreadable(wish, rule, error) from error
            if words:
                _REFUSALS.inc(account=wish.account.label, rule=rule.name)
                raise RiskLimit(
                    f"{variable_of(rule.name)} of '{wish.account.label}' refuses this order: "
                    f"{words}. Nothing was sent.",
                    code=f"risk_{rule.name}",
                )
        return Admission(Priority.ENTRY, held=sums, warnings=self.warnings(wish, limits))

    def _queue_up(self, account: Account, deadline: Deadline, held: ExitStack) -> None:
        """Be alone among the orders of the account that are checked."""
        try:
            held.enter_context(
                self._locks.lock(f"risk/{account.id}", deadline.remaining() * LOCK_SHARE)
            )
        except LockBusy:
            raise LockBusy(
                f"Other orders of '{account.label}' are being held against its limits. Nothing "
                "was sent; try again in a moment.",
                retry_after=1.0,
            ) from None

    def _unreadable(self, wish: Wish, rule: Rule, error: Exception) -> RiskUnreadable:
        words = error.message if isinstance(error, BrokerError | ServiceError) else f"{error}."
        after = getattr(error, "retry_after", None)
        _REFUSALS.inc(account=wish.account.label, rule="unreadable")
        return RiskUnreadable(
            f"{variable_of(rule.name)} of '{wish.account.label}' refuses this order: what it "
            f"needs could not be read. {words} Nothing was sent.",
            retry_after=1.0 if after is None else after,
        )

    # Exits -------------------------------------------------------------------------------------

    def _only_reduces(
        self, wish: Wish, deadline: Deadline, held: ExitStack, refusal: ServiceError
    ) -> bool:
        """Whether the order, with all that work beside it, can only make a position smaller.

        True leaves the position's lock in `held`. What cannot be read is no exit, and the refusal
        says so.
        """
        try:
            return self._might_reduce(wish, deadline) and self._does_reduce(wish, deadline, held)
        except (BrokerError, ServiceError, StorageError) as error:
            log.info("a refused order may be an exit, which cannot be told", extra={
                "account": wish.account.label, "error": str(error)})
            refusal.message += " Whether it only reduces a position could not be read."
            return False

    def _might_reduce(self, wish: Wish, deadline: Deadline) -> bool:
        """A look at a copy of the positions, which is enough to see that most orders do not."""
        due = deadline.within(_GLANCE)
        rows = self._books.positions(wish.account, due, max_age=_GLANCE_AGE).value
        net = sum(row.quantity for row in rows if key_of(row) == _key(wish))
        return _against(wish.side, net) > 0 or self._deliverable(wish, deadline) > 0

    def _does_reduce(self, wish: Wish, deadline: Deadline, held: ExitStack) -> bool:
        key = _key(wish)
        held.enter_context(
            self._locks.lock(lock_name(wish.account, key), deadline.remaining() * LOCK_SHARE)
        )
        exposure = self._exposure.read(wish.account, lambda other: other == key, deadline)
        if key in exposure.unsettled or key in exposure.moving or key in exposure.behind:
            return False
        shown = _against(wish.side, exposure.net(key))
        expected = _against(wish.side, exposure.net(key) + exposure.in_flight.get(key, 0))
        beside = sum(
            row.pending_quantity for row in exposure.orders
            if row.state.is_open and row.side is wish.side and key_of(row) == key
            and not is_flying(row)
            and (wish.replaces is None or row.order_id != wish.replaces.order_id)
        )
        free = min(shown, expected) - beside + self._deliverable(wish, deadline)
        return wish.remaining <= free

    def _deliverable(self, wish: Wish, deadline: Deadline) -> int:
        """Shares of the demat account that a delivery sale takes from, without a position."""
        if wish.product is not Product.CNC or wish.side is not Side.SELL:
            return 0
        rows = self._books.holdings(wish.account, deadline, max_age=HOLDINGS_AGE).value
        return sum(row.sellable for row in rows if wish.record.ref in row.instruments)


@lru_cache(maxsize=256)
def rules_of(limits: RiskLimits) -> tuple[Rule, ...]:
    """The rules that are on."""
    return tuple(rule for rule in RULES if limits.is_on(rule.name))


def _key(wish: Wish) -> tuple[InstrumentRef, Product]:
    return wish.record.ref, wish.product


def _against(side: Side, net: int) -> int:
    """How much of a net position an order of this side can close; negative: it would add."""
    return net if side is Side.SELL else -net
