"""Writes an order's life into the journal, and keeps what could not be written for later.

An entry is begun before the wire and changed after it. When the journal cannot be written, an
order that opens a position is refused (`Unavailable`): nothing is sent without a committed intent.
The way out stays open: a cancel or an exit goes on, is told at CRITICAL, and is journalled as soon
as the journal is back. The same holds for what was learnt after the wire.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from broker.base import Clock
from database import journal
from database.engine import Database
from database.errors import AlreadyExists, IllegalTransition, StorageError
from database.journal import Intent, IntentKind, IntentState
from services import counting
from services.errors import Unavailable
from utils.metrics import counter

log = logging.getLogger(__name__)

_OUTCOMES = counter(
    "openalgo_order_outcomes_total",
    "What became of orders, modifications and cancellations, as the journal learnt it.",
    ("kind", "state"),
)

_MESSAGE_LENGTH = 2_000

Write = Callable[[Connection, int], None]


@contextmanager
def storage_needed() -> Iterator[None]:
    """A block before the wire that cannot go on without storage: `Unavailable` when it fails."""
    try:
        yield
    except StorageError as error:
        raise Unavailable(f"The database is not available; nothing was sent. {error}.") from error


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a book read showed of an accepted intent; `words` are the venue's, if any."""

    intent: Intent
    book_state: str
    cause: str
    words: str = ""


class Entry:
    """One intent on its way. Its methods are called by one thread at a time."""

    def __init__(self, recorder: Recorder, intent: Intent, way_out: bool) -> None:
        self._recorder = recorder
        self.intent = intent
        self._id = intent.id
        self._way_out = way_out
        self._late = False

    def receive(self) -> None:
        """Commit `received`, before a wait."""
        self._first([])

    def sending(self, cause: str) -> None:
        """Commit `sending` (and `received`, when that was not committed before).

        No byte goes out before this returns. `Unavailable` when it cannot be committed, or when
        the journal holds that the order is over (a reconciler gave it up while it waited).
        """
        change = self._change(IntentState.SENDING, cause)
        if self._id or self._late:
            self._go_on(change, must=True)
        else:
            self._first([change])

    def again(self, why: str) -> Intent | None:
        """Note that it is sent a second time, which only an order may be that nobody has ended.

        The journal's entry when somebody has: then nothing must go out.
        """
        at = self._recorder.now()

        def write(conn: Connection, intent_id: int) -> None:
            journal.send_again(conn, intent_id, at=at, message=why[:_MESSAGE_LENGTH])

        if self._late:
            self._recorder.keep(self.intent, [write], "")
            return None
        try:
            self._recorder.write(self._id, write)
        except IllegalTransition:
            return self._recorder.find(self.intent.reference)
        except StorageError as error:
            self._late = True
            self._recorder.keep(self.intent, [write], f"not journalled yet: {error}")
        return None

    def not_sent(self, cause: str, message: str) -> None:
        """Nothing went out and nothing will."""
        change = self._change(IntentState.NOT_SENT, cause, message=message)
        if self._id or self._late:
            self._go_on(change)
        else:
            try:
                self._first([change])
            except Unavailable:
                log.error("an order that was not sent could not be journalled either", extra={
                    "reference": self.intent.reference})

    def settle(
        self, state: IntentState, cause: str, *, order_id: str | None = None, message: str = ""
    ) -> None:
        """Record what became of it.

        The disk is not waited for: after a power cut the reconciler finds out again.
        """
        change = self._change(state, cause, order_id=order_id, message=message)
        self._go_on(change, durable=False)
        if state is IntentState.ACCEPTED and self.intent.kind is IntentKind.PLACE:
            waited = self._recorder.now() - self.intent.created_at
            counting.order_accepted(waited.total_seconds())

    def note(self, cause: str, message: str = "") -> None:
        """Append an event that changes no state."""
        at = self._recorder.now()
        self._go_on(lambda conn, intent_id: journal.note(
            conn, intent_id, cause, at=at, message=message[:_MESSAGE_LENGTH]
        ))

    def _change(
        self, state: IntentState, cause: str, *, order_id: str | None = None, message: str = ""
    ) -> Write:
        at = self._recorder.now()
        if state is not IntentState.SENDING:
            _OUTCOMES.inc(kind=self.intent.kind.value, state=state.value)

        def write(conn: Connection, intent_id: int) -> None:
            journal.change(
                conn, intent_id, state, cause, at=at, broker_order_id=order_id,
                message=message[:_MESSAGE_LENGTH] or None,
            )

        return write

    def _first(self, changes: list[Write]) -> None:
        """Commit the intent with these changes in one transaction."""
        try:
            self._id = self._recorder.begin(self.intent, changes)
        except AlreadyExists:
            raise Unavailable("This order's reference is taken; the order was not sent.") from None
        except StorageError as error:
            if not self._way_out:
                raise Unavailable(
                    f"The order journal cannot be written, so the order was not sent: {error}.",
                    reference=self.intent.reference,
                ) from error
            self._late = True
            self._recorder.keep(self.intent, changes, f"not journalled yet: {error}")

    def _go_on(self, change: Write, *, must: bool = False, durable: bool = True) -> None:
        if self._late:
            self._recorder.keep(self.intent, [change], "")
            return
        try:
            self._recorder.write(self._id, change, durable=durable)
        except IllegalTransition as error:
            if must:
                raise Unavailable(
                    f"The order was given up while it waited (it is {error.current}); it was not "
                    "sent.", reference=self.intent.reference,
                ) from error
            log.info("the journal knew already", extra={
                "reference": self.intent.reference, "state": error.current, "told": error.wanted})
        except StorageError as error:
            if must and not self._way_out:
                raise Unavailable(
                    f"The order journal cannot be written, so the order was not sent: {error}.",
                    reference=self.intent.reference,
                ) from error
            self._late = True
            self._recorder.keep(self.intent, [change], f"not journalled yet: {error}")


class Recorder:
    """The journal as the order services write it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._guard = threading.Lock()
        self._late: deque[tuple[Intent, list[Write]]] = deque()

    def now(self) -> datetime:
        """The time that events carry."""
        return self._clock.now()

    def entry(self, intent: Intent, *, way_out: bool) -> Entry:
        """A new intent, not committed yet. `way_out`: a cancel or an exit."""
        return Entry(self, intent, way_out)

    def resume(self, intent: Intent) -> Entry:
        """An intent that the journal holds already."""
        return Entry(self, intent, True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read the journal by. `Unavailable` when it cannot be read."""
        with storage_needed(), self._database.read() as conn:
            yield conn
        self._catch_up()

    def find(self, reference: str) -> Intent | None:
        """The intent of this reference."""
        with self.reading() as conn:
            return journal.get(conn, reference)

    def begin(self, intent: Intent, changes: list[Write]) -> int:
        """Commit an intent and its first changes together; its id."""
        with self._database.write() as conn:
            intent_id = journal.new_intent(conn, intent)
            for change in changes:
                change(conn, intent_id)
        self._catch_up()
        return intent_id

    def write(self, intent_id: int, change: Write, *, durable: bool = True) -> None:
        """Commit one change."""
        with self._database.write(durable=durable) as conn:
            change(conn, intent_id)
        self._catch_up()

    def _catch_up(self) -> None:
        """The database answers: if something waits for it, now is the time."""
        if self._late:
            self.flush()

    def saw(self, sightings: Sequence[Sighting]) -> None:
        """Record, in one commit, that the book bore accepted intents out."""
        if not sightings:
            return
        at = self.now()
        with storage_needed(), self._database.write() as conn:
            for item in sightings:
                if journal.saw_in_book(conn, item.intent.id, item.book_state, at=at):
                    journal.note(
                        conn, item.intent.id, item.cause, at=at,
                        message=item.words[:_MESSAGE_LENGTH],
                    )

    def keep(self, intent: Intent, changes: list[Write], why: str) -> None:
        """Hold back what could not be written, and say so where somebody looks."""
        with self._guard:
            self._late.append((intent, list(changes)))
        if why:
            log.critical("an order's journal entry waits in memory: %s", why, extra={
                "reference": intent.reference, "kind": intent.kind.value, "tag": intent.tag,
                "account_id": intent.account_id, "symbol": intent.symbol, "side": intent.side,
                "quantity": intent.quantity, "target_order_id": intent.target_order_id})

    @property
    def waiting(self) -> int:
        """How many writes wait in memory."""
        return len(self._late)

    def flush(self) -> int:
        """Write what waited, in order; how many. Stops without a sound at the first failure."""
        written = 0
        with self._guard:
            while self._late:
                intent, changes = self._late[0]
                try:
                    self._write_late(intent, changes)
                except StorageError:
                    break
                self._late.popleft()
                written += 1
        return written

    def _write_late(self, intent: Intent, changes: list[Write]) -> None:
        try:
            with self._database.write() as conn:
                known = journal.get(conn, intent.reference)
                intent_id = known.id if known else journal.new_intent(conn, intent)
                for change in changes:
                    change(conn, intent_id)
        except IllegalTransition as error:
            log.info("the journal knew already", extra={
                "reference": intent.reference, "state": error.current, "told": error.wanted})
