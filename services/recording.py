"""Writes an order's life into the journal, and keeps what could not be written for later.

An entry is begun before the wire and changed after it. When the journal cannot be written, an
order that opens a position is refused (`Unavailable`): nothing is sent without a committed intent.
The way out stays open: a cancel or an exit goes on, is told at CRITICAL, and is journalled as soon
as the journal is back. The same holds for what was learnt after the wire. What waits for the
journal outlives this process (`services.late_entries`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from broker.base import Clock
from database import journal
from database.engine import Database
from database.errors import (
    UNREACHABLE,
    AlreadyExists,
    DatabaseUnavailable,
    IllegalTransition,
    StorageError,
)
from database.journal import Intent, IntentKind, IntentState
from services import counting
from services.errors import Unavailable
from services.late_entries import Change, LateEntries, LateEntry
from utils.metrics import counter

log = logging.getLogger(__name__)

_OUTCOMES = counter(
    "openalgo_order_outcomes_total",
    "What became of orders, modifications and cancellations, as the journal learnt it.",
    ("kind", "state"),
)

for _kind in IntentKind:  # a series that is there from the start has no first increase
    for _state in IntentState:
        if _state not in (IntentState.RECEIVED, IntentState.SENDING):
            _OUTCOMES.inc(0, kind=_kind.value, state=_state.value)

_MESSAGE_LENGTH = 2_000
_SIGHTINGS = 16
"""How many sightings of orders in the book are committed at a time."""


@contextmanager
def storage_needed() -> Iterator[None]:
    """A block before the wire that cannot go on without storage: `Unavailable` when it fails."""
    try:
        yield
    except StorageError as error:
        why = str(error).removeprefix(UNREACHABLE)  # the sentence says that already
        raise Unavailable(
            f"The database is not available; nothing was sent. It says: {why}."
        ) from error


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a book read showed of an accepted intent; `words` are the venue's, if any."""

    intent: Intent
    book_state: str
    cause: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an intent ended, as somebody found out who did not send it."""

    intent: Intent
    state: IntentState
    cause: str
    order_id: str | None = None
    message: str = ""


class Entry:
    """One intent on its way. Its methods are called by one thread at a time."""

    def __init__(self, recorder: Recorder, intent: Intent, way_out: bool) -> None:
        self._recorder = recorder
        self.intent = intent
        self._id = intent.id
        self._way_out = way_out
        self._late = False

    def receive(self) -> None:
        """Commit `received`, before a wait; once."""
        if not self._id and not self._late:
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

        The journal's entry when somebody has: then nothing must go out. `Unavailable` when it
        cannot be read what they found.
        """
        at, message = self._recorder.now(), why[:_MESSAGE_LENGTH]
        late = Change(at, "sending again", message=message)
        if self._late:
            self._recorder.keep(self.intent, [late], "")
            return None
        try:
            with self._recorder.writing() as conn:
                journal.send_again(conn, self._id, at=at, message=message)
        except IllegalTransition:
            return self._recorder.find(self.intent.reference)
        except StorageError as error:
            self._late = True
            self._recorder.keep(self.intent, [late], f"not journalled yet: {error}")
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
        _count_accepted(self.intent, state, change.at)

    def note(self, cause: str, message: str = "") -> None:
        """Append an event that changes no state."""
        self._go_on(Change(self._recorder.now(), cause, message=message[:_MESSAGE_LENGTH]))

    def _change(
        self, state: IntentState, cause: str, *, order_id: str | None = None, message: str = ""
    ) -> Change:
        if state is not IntentState.SENDING:
            _OUTCOMES.inc(kind=self.intent.kind.value, state=state.value)
        return Change(self._recorder.now(), cause, state, order_id, message[:_MESSAGE_LENGTH])

    def _first(self, changes: list[Change]) -> None:
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

    def _go_on(self, change: Change, *, must: bool = False, durable: bool = True) -> None:
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

    def __init__(self, database: Database, clock: Clock, late: Path | None = None) -> None:
        """`late` is the folder for entries that the journal could not take yet."""
        self._database = database
        self._clock = clock
        self._guard = threading.Lock()
        self._late = LateEntries(late)

    def open(self) -> None:
        """Make ready for a database that goes away; for a process that serves."""
        with self._guard:
            self._late.prepare()

    def close(self) -> None:
        """Write what waits, if that is possible now; what is left waits for another process."""
        self.flush_own()
        if self._late:
            log.critical("%d late journal entries wait for the next start", len(self._late))
        with self._guard:
            self._late.close()

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

    def begin(self, intent: Intent, changes: list[Change]) -> int:
        """Commit an intent and its first changes together; its id."""

        sending = None
        rest = changes
        if changes and changes[0].state is IntentState.SENDING:
            sending, rest = (changes[0].at, changes[0].cause), changes[1:]

        def write(conn: Connection) -> int:
            intent_id = journal.new_intent(conn, intent, sending=sending)
            for change in rest:
                change.apply(conn, intent_id)
            return intent_id

        intent_id = self._database.commit(write)
        self._catch_up()
        return intent_id

    def write(self, intent_id: int, change: Change, *, durable: bool = True) -> None:
        """Commit one change."""
        self._database.commit(
            lambda conn: change.apply(conn, intent_id), durable=durable
        )
        self._catch_up()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One write transaction of the journal."""
        with self._database.write() as conn:
            yield conn
        self._catch_up()

    def _catch_up(self) -> None:
        """The database answers: if something waits for it, now is the time."""
        if self._late:
            self.flush_own()

    def saw(self, sightings: Sequence[Sighting]) -> None:
        """Record that the book bore accepted intents out.

        A few at a time, for orders wait for these commits; and without the disk: the next read of
        the book tells again what a power cut takes back.
        """
        at = self.now()
        for start in range(0, len(sightings), _SIGHTINGS):
            some = sightings[start : start + _SIGHTINGS]

            def write(conn: Connection, some: Sequence[Sighting] = some) -> None:
                for item in some:
                    journal.bear_out(
                        conn, item.intent.id, item.book_state, item.cause, at=at,
                        message=item.words[:_MESSAGE_LENGTH],
                    )

            with storage_needed():
                self._database.commit(write, durable=False)

    def end(self, endings: Sequence[Ending]) -> None:
        """Record many outcomes in one commit. What somebody else has ended meanwhile stays so."""
        if not endings:
            return
        at = self.now()
        with storage_needed(), self._database.write(durable=False) as conn:
            for item in endings:
                change = Change(
                    at, item.cause, item.state, item.order_id, item.message[:_MESSAGE_LENGTH]
                )
                try:
                    change.apply(conn, item.intent.id)
                except IllegalTransition as error:
                    log.info("the journal knew already", extra={
                        "reference": item.intent.reference, "state": error.current,
                        "told": error.wanted})
                    continue
                _OUTCOMES.inc(kind=item.intent.kind.value, state=item.state.value)
                _count_accepted(item.intent, item.state, at)
        self._catch_up()

    def keep(self, intent: Intent, changes: list[Change], why: str) -> None:
        """Hold back what could not be written, and say so where somebody looks."""
        entry = LateEntry(intent, tuple(changes))
        with self._guard:
            is_safe = self._late.add(entry)
        if why or not is_safe:
            where = "in a file" if is_safe else "in memory"
            log.critical("an order's journal entry waits %s: %s", where, why, extra={
                "reference": intent.reference, "kind": intent.kind.value, "tag": intent.tag,
                "account_id": intent.account_id, "symbol": intent.symbol, "side": intent.side,
                "quantity": intent.quantity, "target_order_id": intent.target_order_id,
                "changes": [f"{change.at.isoformat()} {change.cause}" for change in changes]})

    def late_intents(self) -> list[Intent]:
        """The intents of this process that the journal does not show as they stand."""
        with self._guard:
            return self._late.intents()

    @property
    def waiting(self) -> int:
        """How many writes wait in this process."""
        return len(self._late)

    def flush(self) -> int:
        """Write what waited, in this process and in those that have ended; how many."""
        return self.flush_own() + self._take_over()

    def flush_own(self) -> int:
        """Write what waited here, in order. Stops without a sound at the first failure."""
        written = 0
        with self._guard, suppress(StorageError):
            while self._late:
                self._write_late(self._late.first())
                self._late.done()
                written += 1
        return written

    def _take_over(self) -> int:
        """Write what processes that have ended left behind."""
        written = 0
        with self._guard, suppress(StorageError):
            for path, entries in self._late.left_behind():
                for entry in entries:
                    self._write_late(entry)
                    written += 1
                path.unlink()
        if written:
            log.warning("%d late journal entries of an ended process were written", written)
        return written

    def _write_late(self, entry: LateEntry) -> None:
        """`StorageError` while the journal cannot be written. One that it refuses is told."""
        try:
            with self._database.write() as conn:
                entry.write(conn)
        except IllegalTransition as error:
            log.info("the journal knew already", extra={
                "reference": entry.intent.reference, "state": error.current,
                "told": error.wanted})
        except DatabaseUnavailable:
            raise
        except (StorageError, SQLAlchemyError) as error:
            log.critical("the journal refuses a late entry (%s): %s", error, entry.to_json())


def _count_accepted(intent: Intent, state: IntentState, at: datetime) -> None:
    if state is IntentState.ACCEPTED and intent.kind is IntentKind.PLACE:
        counting.order_accepted((at - intent.created_at).total_seconds())
