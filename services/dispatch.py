"""Sends one intent to its venue: journal, slot, one request, and the truth about its outcome.

Everything that decides whether a request may go out a second time stands here (design: "An order's
life"). A request goes out once. It may go out once more, with the same tag, after

* `SessionExpired`: the venue refused the token, by a documented code; the session is renewed;
* `RateLimited`: refused by a code that is documented to precede acceptance; a pause, and for a
  placed order a look into the book, because that documentation has never been proved live;
* `ConnectFailed`: provably nothing left this host.

All else after the first byte is *unknown*, and is settled by reading the book.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from broker.base import Broker, Clock, Deadline, Operation, Priority, Slot
from broker.errors import (
    BrokerBusy,
    BrokerError,
    CircuitOpen,
    ConnectFailed,
    Fate,
    LimitsUnknown,
    LoginFailed,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SessionExpired,
)
from broker.models import Session
from database.journal import Intent, IntentKind, IntentState
from services.accounts import Account
from services.errors import ServiceError
from services.locks import demand_held
from services.recording import Entry, Recorder, storage_needed
from services.settling import Settler
from services.verdicts import Verdict

log = logging.getLogger(__name__)

CALL_SHARE = 0.7
"""What one call may take of the time that is left: the rest is for looking the order up."""

SHORTEST_CALL = 0.5
"""Seconds that must be left for a second request to be worth its risk."""

RATE_LIMIT_PAUSE = 1.0
"""Seconds to wait after a rate limit that names no time: one window of every published limit."""

CONNECT_PAUSE = 0.25
"""Seconds before the second attempt at a connection that could not be made."""

Send = Callable[[Broker, Slot, Deadline], str]


class Sessions(Protocol):
    """What is needed of `services.sessions`."""

    def connection(self, account: Account, deadline: Deadline | None = None) -> Broker: ...

    def renew(
        self, account: Account, seen_session: Session | None, deadline: Deadline | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """An intent and how to send it. `send` makes exactly one request.

    `last_look` is asked when the slot is granted: it raises when the order must not go any more.
    """

    account: Account
    intent: Intent
    operation: Operation
    priority: Priority
    deadline: Deadline
    send: Send
    last_look: Callable[[], None] | None = None

    @property
    def reference(self) -> str:
        return self.intent.reference


class Dispatcher:
    """The one way by which anything is submitted to a broker."""

    def __init__(
        self, sessions: Sessions, recorder: Recorder, settler: Settler, clock: Clock
    ) -> None:
        self._sessions = sessions
        self._recorder = recorder
        self._settler = settler
        self._clock = clock

    def begin(self, job: Job) -> Entry:
        """Commit `received`: from now on everybody who counts what is in flight counts this.

        `LockLost` when the lock under which it was decided was not kept until then.
        """
        entry = self._entry(job)
        entry.receive()
        try:
            demand_held()
        except ServiceError as error:
            entry.not_sent(error.kind, error.message)
            error.reference = job.reference
            raise
        return entry

    def refuse(self, intent: Intent, error: ServiceError) -> None:
        """Journal an order that a rule refused: nothing goes out. The error gets its reference."""
        self._recorder.entry(intent, way_out=False).not_sent(error.kind, error.message)
        error.reference = intent.reference

    def submit(self, job: Job, entry: Entry | None = None) -> str:
        """Send it; the venue's order id. Raises broker errors with `reference` set.

        `entry` is what `begin` gave for this job, if it was begun before. `OutcomeUnknown` only
        when the book did not tell within the deadline either.
        """
        if entry is None:
            entry = self._entry(job)
        try:
            broker, slot = self._claim(job, entry)
        except (BrokerError, ServiceError) as error:
            entry.not_sent(error.kind, error.message)
            error.fate = Fate.NOT_SENT  # of this order nothing went out, whatever the class says
            error.reference = job.reference
            raise
        session = broker.session
        try:
            return self._accepted(entry, self._call(job, broker, slot))
        except (SessionExpired, RateLimited, ConnectFailed) as error:
            return self._once_more(job, entry, broker, session, error)
        except (BrokerError, ServiceError) as error:
            return self._failed(job, entry, error)

    def _entry(self, job: Job) -> Entry:
        return self._recorder.entry(job.intent, way_out=job.priority is Priority.EXIT)

    # Before the wire ---------------------------------------------------------------------------

    def _claim(self, job: Job, entry: Entry) -> tuple[Broker, Slot]:
        """A session and a slot, with `sending` committed; `received` before any wait."""
        broker = self._connect(job)
        slot = self._slot_at_once(job, broker)
        if slot is None:
            entry.receive()
            slot = broker.reserve(job.operation, priority=job.priority, deadline=job.deadline)
        try:
            if job.deadline.remaining() < SHORTEST_CALL:
                raise BrokerBusy("The wait for the broker took too long.", retry_after=1.0)
            demand_held()
            if job.last_look is not None:
                job.last_look()
            entry.sending("slot granted")
        except BaseException:
            _give_back(slot)
            raise
        return broker, slot

    def _connect(self, job: Job) -> Broker:
        """The broker with a session. A login of unknown outcome is no order of unknown outcome."""
        try:
            with storage_needed():
                return self._sessions.connection(job.account, job.deadline)
        except BrokerError as error:
            if error.fate in (Fate.NOT_SENT, Fate.REFUSED):
                raise
            raise SessionExpired(f"There is no session with the broker. {error.message}") from error

    def _slot_at_once(self, job: Job, broker: Broker) -> Slot | None:
        """A slot that needs no wait, None when there is none: saves a commit in the common case."""
        try:
            return broker.reserve(
                job.operation, priority=job.priority, deadline=job.deadline, wait=False
            )
        except (CircuitOpen, LimitsUnknown):
            raise
        except BrokerBusy:
            return None

    # The wire ----------------------------------------------------------------------------------

    def _call(self, job: Job, broker: Broker, slot: Slot) -> str:
        time = min(job.deadline.remaining(), broker.account.api_timeout)
        try:
            order_id = job.send(broker, slot, job.deadline.within(CALL_SHARE * time))
        except BrokerError:
            _give_back(slot)  # an adapter that refuses by itself has not used it
            raise
        except Exception as error:
            _give_back(slot)
            log.exception("an adapter failed while it submitted", extra={
                "reference": job.reference, "account": broker.account.label})
            raise OutcomeUnknown("The gateway failed while it sent the request.") from error
        if not order_id:
            raise OutcomeUnknown("The broker answered success without an order id.")
        return order_id

    def _once_more(
        self,
        job: Job,
        entry: Entry,
        broker: Broker,
        session: Session | None,
        first: SessionExpired | RateLimited | ConnectFailed,
    ) -> str:
        """The second and last request, where the first is known to have had no effect."""
        found: Verdict | None = None
        try:
            found = self._prepare(job, entry, session, first)
            if found is None:
                slot = self._slot_again(job, broker, first)
        except (BrokerError, ServiceError) as error:
            if error is not first:
                log.info("no second request", extra={
                    "reference": job.reference, "first": first.kind, "why": error.kind})
            told = error if isinstance(error, LoginFailed | SessionExpired) else first
            return self._failed(job, entry, first, told=told)
        if found is not None:
            return self._adopt(job, entry, found)
        try:
            known = entry.again(f"{first.kind}: {first.message}")
        except ServiceError as error:  # somebody has ended it, and nobody can say how
            _give_back(slot)
            raise _named(unknown(entry.intent, error.message), job) from error
        if known is not None:
            _give_back(slot)
            return self._ended_elsewhere(job, entry, known, first)
        try:
            return self._accepted(entry, self._call(job, broker, slot))
        except (BrokerError, ServiceError) as error:
            return self._failed(job, entry, error)

    def _slot_again(self, job: Job, broker: Broker, first: BrokerError) -> Slot:
        """A slot with enough time left to use it; raises `first` when there is not."""
        slot = broker.reserve(job.operation, priority=job.priority, deadline=job.deadline)
        try:
            if job.deadline.remaining() < SHORTEST_CALL:
                raise first
            if job.last_look is not None:
                job.last_look()
        except BaseException:
            _give_back(slot)
            raise
        return slot

    def _ended_elsewhere(
        self, job: Job, entry: Entry, known: Intent, first: BrokerError
    ) -> str:
        """What the reconciler has found out meanwhile; nothing is sent on top of it."""
        if known.state is IntentState.ACCEPTED and known.broker_order_id:
            return known.broker_order_id
        if known.state is IntentState.REJECTED:
            raise _named(refusal(known.message), job)
        return self._failed(job, entry, first)

    def _prepare(
        self,
        job: Job,
        entry: Entry,
        session: Session | None,
        first: SessionExpired | RateLimited | ConnectFailed,
    ) -> Verdict | None:
        """Remove the obstacle; raises when a second request is not worth trying.

        A verdict says that the first request had arrived after all.
        """
        if isinstance(first, SessionExpired):
            self._sessions.renew(job.account, session, job.deadline)
        elif isinstance(first, RateLimited):
            pause = max(first.retry_after or 0.0, RATE_LIMIT_PAUSE)
            if job.deadline.remaining() < pause + SHORTEST_CALL:
                raise first
            self._clock.sleep(pause)
            if job.intent.kind is IntentKind.PLACE:
                return self._settler.read_once(job.account, entry.intent, job.deadline)
        else:
            self._clock.sleep(CONNECT_PAUSE)
        if job.deadline.remaining() < SHORTEST_CALL:
            raise first
        return None

    # After the wire ----------------------------------------------------------------------------

    def _accepted(self, entry: Entry, order_id: str) -> str:
        entry.settle(IntentState.ACCEPTED, "broker accepted", order_id=order_id)
        return order_id

    def _adopt(self, job: Job, entry: Entry, verdict: Verdict) -> str:
        """End as the book says."""
        entry.settle(
            verdict.state, "seen in the book", order_id=verdict.order_id, message=verdict.message
        )
        if verdict.state is IntentState.REJECTED:
            raise _named(refusal(verdict.message), job)
        return verdict.order_id

    def _failed(
        self,
        job: Job,
        entry: Entry,
        error: BrokerError | ServiceError,
        *,
        told: BrokerError | ServiceError | None = None,
    ) -> str:
        """Journal what the error proves, and raise it; an unknown outcome is looked up first."""
        if error.fate is Fate.NOT_SENT:
            entry.settle(IntentState.NOT_SENT, error.kind, message=error.message)
            raise _named(told or error, job)
        if error.fate is Fate.REFUSED:
            entry.settle(IntentState.REJECTED, error.kind, message=error.message)
            raise _named(told or error, job)
        entry.settle(IntentState.UNKNOWN, error.kind, message=error.message)
        verdict = self._settler.look_up(job.account, entry.intent, job.deadline)
        if verdict is not None:
            return self._adopt(job, entry, verdict)
        raise _named(unknown(entry.intent, error.message), job) from error


def unknown(intent: Intent, what: str) -> OutcomeUnknown:
    """The error that tells a client that nobody knows yet, and how to ask."""
    thing = {
        IntentKind.PLACE: "this order", IntentKind.MODIFY: "this modification",
        IntentKind.CANCEL: "this cancellation",
    }[intent.kind]
    error = OutcomeUnknown(
        f"{_sentence(what)} The outcome of {thing} is unknown: do not send it again, ask with its "
        f"reference {intent.reference}."
    )
    error.reference = intent.reference
    return error


def refusal(words: str) -> Refused:
    """The error for what the venue is known to have refused, in its own words."""
    return Refused(words or "The broker refused without giving a reason.")


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _named(error: BrokerError | ServiceError, job: Job) -> BrokerError | ServiceError:
    error.reference = job.reference
    return error


def _give_back(slot: Slot) -> None:
    with slot:
        pass

