"""Sessions at brokers: one owner logs in, everybody shares the tokens.

A venue keeps one session per key, so a login is made by one thread of one process at a time, under
a lock that is named after the key. Tokens are sealed in the database; another process finds the
new ones there. A dead token is met by reading the database again, and if nobody was faster, by
one login. When a login is allowed at all is decided by `services.session_policy`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from broker.base import Broker, Clock, Deadline, Runtime
from broker.errors import BrokerError, LoginFailed, SessionExpired
from broker.models import Session
from broker.waiting import urgent
from database.crypto import Vault
from database.engine import Database
from database.errors import StorageError
from services import counting
from services.accounts import Account, AccountService
from services.adapters import Adapters, Held
from services.alarms import AlarmService
from services.errors import ServiceError
from services.flags import FlagService
from services.locks import LockBusy, NamedLocks
from services.session_policy import (
    CAP_REACHED,
    CREDENTIALS_REFUSED,
    DISPLACED,
    LoginPolicy,
    LoginState,
)
from services.session_status import SessionStatus, status_of
from services.session_store import SessionStore, Stored
from utils.metrics import counter, gauge
from utils.redaction import register_secret

__all__ = ["SessionService", "SessionStatus"]

log = logging.getLogger(__name__)

SELF_CHECK = "self_check"

SHORTEST_LOGIN = 1.0
"""Seconds that a request must have left for a login to be begun for it."""

_NO_TIME = "Account '{}' has no session, and no time was left to log in. Try again in a moment."

T = TypeVar("T")

_VERSION = "version.sessions"
_LOGINS = counter(
    "openalgo_broker_logins_total", "Logins at brokers, by outcome.", ("account", "outcome")
)
_EXPIRES = gauge(
    "openalgo_session_expires_timestamp_seconds",
    "When an account's session ends (Unix time); 0 while there is none.",
    ("account",),
    across_workers="mostrecent",
)


class SessionService:
    """The adapters of this process, each with the session that all processes share.

    `timeout` bounds, in seconds, what waits where the caller sets no deadline.
    """

    def __init__(
        self,
        database: Database,
        accounts: AccountService,
        flags: FlagService,
        locks: NamedLocks,
        alarms: AlarmService,
        vault: Vault,
        runtime: Runtime,
        *,
        policy: LoginPolicy | None = None,
        timeout: float = 20.0,
    ) -> None:
        self._accounts = accounts
        self._flags = flags
        self._locks = locks
        self._alarms = alarms
        self._runtime = runtime
        self._clock: Clock = runtime.clock
        self._policy = policy or LoginPolicy()
        self._timeout = timeout
        self._store = SessionStore(database, vault, runtime.clock)
        self._adapters = Adapters(accounts, runtime)

    # Using -------------------------------------------------------------------------------------

    def connection(self, account: Account, deadline: Deadline | None = None) -> Broker:
        """The account's adapter with a session attached; logs in when it has none and may.

        `SessionExpired` or `LoginFailed` when there is no session and none can be had now.
        """
        held = self._adapters.hold(account)
        stamp = self._flags.get(_VERSION)
        session = held.broker.session
        if session is not None and held.seen == stamp and not self._is_over(session):
            return held.broker
        due = deadline or Deadline(self._clock, self._timeout)
        self._look(account, held, stamp, due)
        if held.foreign:
            raise _foreign(account)
        session = held.broker.session
        if session is None or self._is_over(session):
            self.renew(account, session, due)
        return held.broker

    def deadline(self, account: Account) -> Deadline:
        """How long a request of ours may take from now on, by the account's setting."""
        return Deadline(self._clock, self._adapters.hold(account).config.api_timeout)

    def read(
        self,
        account: Account,
        fn: Callable[[Broker, Deadline], T],
        deadline: Deadline | None = None,
    ) -> T:
        """Call `fn` with the adapter; when the token turns out dead, renew it and call once more.

        Only for what may be repeated: reads. Orders are sent by `services.orders` alone.
        """
        due = deadline or self.deadline(account)
        broker = self.connection(account, due)
        seen = broker.session
        try:
            return fn(broker, due)
        except SessionExpired as error:
            self.renew(account, seen, due, partial=error.partial)
        return fn(self.connection(account, due), due)

    def renew(
        self,
        account: Account,
        seen_session: Session | None,
        deadline: Deadline | None = None,
        *,
        partial: bool = False,
    ) -> None:
        """Have another session attached than the one that was found dead (None: there was none).

        Over all threads and processes that found the same session dead, one logs in. `partial`:
        only its market data died; the session is kept until a better one is there.
        `SessionExpired` (perhaps with `retry_after`) or `LoginFailed` when no login is allowed.
        """
        held = self._adapters.hold(account)
        due = deadline or Deadline(self._clock, self._timeout)
        with self._alone(account, held, due):
            current = held.broker.session
            if current is not None and current is not seen_session and not self._is_over(current):
                return
            stored = self._store.load(account.id)
            if self._is_foreign(held, stored):
                raise _foreign(account)
            session, state = stored.session, stored.state
            if session is not None and not self._is_over(session):
                if stored.version != held.version:  # another process was faster
                    self._attach(held, stored)
                    return
                if partial:
                    self._policy.check_partial(state, account.label, self._clock.now())
                    self._log_in(account, held, state, automatic=True, keep=session, due=due)
                    return
                state = self._policy.died(
                    state, session.opened_at, self._clock.now(), self._runtime.rand
                )
            elif session is not None:  # it lived as long as it should
                state = replace(state, short_lives=0)
            self._log_in_again(account, held, state, due)

    # Connecting and disconnecting --------------------------------------------------------------

    def login(self, account: Account, *, force: bool = False) -> SessionStatus:
        """A person connects the account: what kept it out is forgotten.

        A live session is kept unless `force`. Raises what the broker said. After a new login the
        self-check runs, and an alarm tells what it could not read.
        """
        self._accounts.require_broker(account.broker)
        held = self._adapters.hold(account)
        with self._alone(account, held, Deadline(self._clock, self._timeout)):
            stored = self._store.load(account.id)
            live = (
                stored.session is not None and not self._is_over(stored.session)
                and not self._is_foreign(held, stored)
            )
            if live and not force:
                self._attach(held, stored)
            else:
                state = self._policy.forgiven(stored.state)
                self._log_in(account, held, state, automatic=False)
        if not live or force:
            self._check_up(account)
        return self.status(account)

    def logout(self, account: Account) -> None:
        """A person disconnects the account: it stays out until a person connects it again."""
        held = self._adapters.hold(account)
        with self._alone(account, held, Deadline(self._clock, self._timeout)):
            stored = self._store.load(account.id)
            state = replace(self._policy.forgiven(stored.state), wanted=False)
            self._put(held, account, None, state)
            self._changed(account, None)
            if stored.session is not None:
                try:
                    held.broker.logout(stored.session)
                except BrokerError as error:
                    log.warning(
                        "%s is disconnected, but its broker did not confirm the logout: %s",
                        account.label, error.message,
                    )
        self._close_alarms(account)
        log.info("account %s was disconnected", account.label)

    def status(self, account: Account) -> SessionStatus:
        """How the account stands, as all processes see it. Asks the broker nothing."""
        return status_of(self._store.load(account.id), self._policy, self._clock.now())

    def self_check(self, account: Account) -> list[str]:
        """Read what the login should be able to read; what is wrong, in sentences."""
        deadline = Deadline(self._clock, max(self._timeout, 30.0))
        return self.read(account, lambda broker, by: broker.self_check(deadline=by), deadline)

    def circuits(self, broker: str) -> dict[str, str]:
        """How a broker's circuits stand in this process: see `Adapters.circuits`."""
        return self._adapters.circuits(broker)

    def clock_offset(self, account: Account) -> float | None:
        """Seconds by which the broker's clock was ahead at its last answer to this process."""
        return self._adapters.hold(account).broker.clock_offset()

    def connect_all(self) -> dict[str, str]:
        """At start: connect every account that wants to be. Errors by label; never raises."""
        return self._connect(self._accounts.all())

    def keep_alive(self) -> dict[str, str]:
        """On a schedule: renew what has expired, within the hours in which brokers are up.

        And replace what was opened with other settings: a session outlives the process, and after a
        restart with another key, cluster or address orders would go on to the account of before.
        Only here, in one process at a time: a command that runs with other settings, or a worker
        that is about to be replaced, must not fight for the session.
        """
        now = self._clock.now()
        due = []
        for account in self._accounts.all():
            stored = self._store.load(account.id)
            if stored.state.wanted and self._is_foreign(self._adapters.hold(account), stored):
                self._replace_foreign(account)
                continue
            expires = stored.session.expires_at if stored.session is not None else None
            next_login = self._policy.next_login(stored.state, expires, now)
            if next_login is not None and next_login <= now:
                due.append(account)
        return self._connect(due)

    def close(self) -> None:
        """Give back the connections of this process; the sessions live on."""
        self._adapters.close()

    # Inside ------------------------------------------------------------------------------------

    def _is_foreign(self, held: Held, stored: Stored) -> bool:
        """Whether the stored session is of other credentials, or another address, than ours.

        Nobody trades with such a session: it may be the account of before.
        """
        if stored.session is None or not stored.state.mark:
            return False
        return bool(held.config.credentials) and stored.state.mark != held.mark

    def _replace_foreign(self, account: Account) -> None:
        """Log in with the settings of now; where that fails, there is no session."""
        held = self._adapters.hold(account)
        due = Deadline(self._clock, self._timeout)
        try:
            with self._alone(account, held, due):
                stored = self._store.load(account.id)
                if self._is_foreign(held, stored):
                    log.warning("the settings of account %s have changed: it logs in anew",
                                account.label)
                    self._log_in_again(account, held, stored.state, due)
        except (BrokerError, ServiceError) as error:
            log.warning("account %s is not connected: %s", account.label, error)

    def _check_up(self, account: Account) -> None:
        """Run the self-check and tell its result as an alarm, or end the one there is."""
        try:
            faults = self.self_check(account)
        except (BrokerError, ServiceError) as error:
            faults = [str(error)]
        if faults:
            self._alarms.open(SELF_CHECK, account.label, " ".join(faults))
        else:
            self._alarms.close(SELF_CHECK, account.label)

    @contextmanager
    def _alone(self, account: Account, held: Held, deadline: Deadline) -> Iterator[None]:
        """Nobody else, in any process, changes the session of this key meanwhile."""
        busy = f"Account '{account.label}' is being logged in. Try again in a moment."
        if not held.lock.acquire(timeout=deadline.remaining()):
            raise SessionExpired(busy, retry_after=1.0)
        try:
            with urgent(), self._locks.lock(f"login:{held.mark}", deadline.remaining()):
                yield
        except LockBusy:
            raise SessionExpired(busy, retry_after=1.0) from None
        finally:
            held.lock.release()

    def _look(self, account: Account, held: Held, stamp: str, deadline: Deadline) -> None:
        """Attach what the database holds, if it is another session than the attached one."""
        if not held.lock.acquire(timeout=deadline.remaining()):
            raise SessionExpired(
                f"Account '{account.label}' is being logged in. Try again in a moment.",
                retry_after=1.0,
            )
        try:
            stored = self._store.load(account.id)
            if stored.version != held.version:
                self._attach(held, stored)
            held.seen = stamp
        except StorageError:
            if held.broker.session is None:
                raise
            log.warning("sessions cannot be read: %s goes on with the one it has", account.label)
        finally:
            held.lock.release()

    def _attach(self, held: Held, stored: Stored) -> None:
        held.foreign = self._is_foreign(held, stored)
        session = None if held.foreign else stored.session
        if session is not None:
            register_secret(*(token.reveal() for token in session.tokens.values()))
        held.broker.attach(session)
        held.version = stored.version

    def _put(
        self, held: Held, account: Account, session: Session | None, state: LoginState
    ) -> None:
        """Store the session (None: there is none) with the record of logins, and use it here."""
        version = self._store.save(account.id, session, state)
        if session is None or session is not held.broker.session:
            held.broker.attach(session)
        held.version = version
        held.foreign = False

    def _log_in_again(
        self, account: Account, held: Held, state: LoginState, due: Deadline
    ) -> None:
        """An automatic login, if the rules allow one."""
        if state.mark and state.mark != held.mark:
            state = replace(self._policy.forgiven(state), wanted=state.wanted)
        now = self._clock.now()
        try:
            self._policy.check(state, account.label, now)
            if state.attempts_on(now) == 0:  # connected today: the way out stays open
                self._accounts.require_broker(account.broker)
        except (BrokerError, ServiceError) as error:
            self._put(held, account, None, state)
            self._changed(account, None)
            if self._policy.is_capped(state, now):
                self._alarms.open(CAP_REACHED, account.label, str(error))
            elif state.blocked:
                self._alarms.open(state.rule, account.label, str(error))
            raise
        self._log_in(account, held, state, automatic=True, due=due)

    def _log_in(
        self,
        account: Account,
        held: Held,
        state: LoginState,
        *,
        automatic: bool,
        keep: Session | None = None,
        due: Deadline | None = None,
    ) -> None:
        """Log in once. The attempt is stored before it is made, so that a crash counts too.

        `keep` is the session that stays in use if the login fails. `due` is the deadline of the
        order or read that waits: the login is over by then, and is not begun when there is hardly
        any time, because cut short it would cost a login of the day for nothing.
        """
        if due is not None and due.remaining() < SHORTEST_LOGIN:
            raise SessionExpired(_NO_TIME.format(account.label), retry_after=1.0)
        state = self._policy.attempted(state, self._clock.now(), held.mark)
        self._put(held, account, keep, state)
        try:
            session = held.broker.login(deadline=due)
        except BrokerError as error:
            state = self._policy.failed(state, error, self._clock.now(), self._runtime.rand)
            self._put(held, account, keep, state)
            self._store.note(account.id, error, automatic=automatic)
            self._changed(account, keep)
            _LOGINS.inc(account=account.label, outcome=error.kind)
            if isinstance(error, LoginFailed):
                counting.authentication_failed("broker")
            log.warning("login of %s failed: %s", account.label, error.message)
            if state.blocked:
                self._alarms.open(state.rule, account.label, state.blocked)
            raise
        register_secret(*(token.reveal() for token in session.tokens.values()))
        self._put(held, account, session, self._policy.succeeded(state))
        self._store.note(account.id, None, automatic=automatic)
        self._changed(account, session)
        _LOGINS.inc(account=account.label, outcome="ok")
        log.info("account %s is connected until %s", account.label, session.expires_at.isoformat())
        self._close_alarms(account)

    def _connect(self, accounts: list[Account]) -> dict[str, str]:
        errors: dict[str, str] = {}
        for account in accounts:
            try:
                self.connection(account)
            except (BrokerError, ServiceError, StorageError) as error:
                errors[account.label] = str(error)
                log.warning("account %s is not connected: %s", account.label, error)
        return errors

    def _is_over(self, session: Session) -> bool:
        return self._clock.now() >= session.expires_at

    def _changed(self, account: Account, session: Session | None) -> None:
        """Tell every process that a session has changed."""
        _EXPIRES.set(session.expires_at.timestamp() if session else 0, account=account.label)
        self._flags.bump(_VERSION, account.label)

    def _close_alarms(self, account: Account) -> None:
        for rule in (CREDENTIALS_REFUSED, DISPLACED, CAP_REACHED):
            self._alarms.close(rule, account.label)


def _foreign(account: Account) -> SessionExpired:
    return SessionExpired(
        f"Account '{account.label}' is connected with other settings than those of this process, "
        "and is about to be connected with the ones that hold. Try again in a moment.",
        retry_after=2.0,
    )
