"""Idempotency keys: a request that is repeated under its key gets its first answer again.

Follows the IETF draft "The Idempotency-Key HTTP Header Field": same key and request, same answer;
another request under the key is 422; a repeat while the first is being worked on is 409. Keys are
the user's and the account's own, and are kept for 24 hours and to the end of the trading day.

Whoever works on a key holds a lock of its name, which dies with the process. So a key without an
answer whose lock is free was left behind by a crash: the request is taken up again under the same
reference, and the services answer from the journal for every order that they find under it. The
same happens to a repeat of an answer that said "unknown": by now the truth may be known.

What was provably not sent does not use up its key: after a 400, 429 or 503 of that kind the client
may come again with the same one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from broker.base import Clock
from broker.errors import BrokerError, Fate
from broker.waiting import urgent
from database import idempotency as keys
from database.engine import Database
from services.access import Principal
from services.accounts import Account
from services.errors import (
    DuplicateInFlight,
    IdempotencyMismatch,
    InvalidRequest,
    ServiceError,
    Unavailable,
)
from services.locks import LockBusy, NamedLocks
from services.recording import storage_needed
from utils.clock import end_of_trading_day
from utils.ids import new_reference

log = logging.getLogger(__name__)

KEPT = timedelta(hours=24)
LONGEST_KEY = 128
UNKNOWN_STATUS = 504
"""The status of an answer that says "unknown": a repeat asks the journal again."""

NO_REFERENCE = ""
"""What `produce` gets where no reference was fixed, because its key could not be kept."""

Body = dict[str, Any]
Produce = Callable[[str], tuple[int, Body]]
Describe = Callable[[Exception], tuple[int, Body]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request; `replayed` when it is the first one's."""

    status: int
    body: Body
    replayed: bool


class IdempotencyService:
    """Runs requests under their keys."""

    def __init__(
        self,
        database: Database,
        locks: NamedLocks,
        clock: Clock,
        *,
        reference: Callable[[], str] = new_reference,
    ) -> None:
        self._database = database
        self._locks = locks
        self._clock = clock
        self._reference = reference

    def run(
        self,
        principal: Principal,
        account: Account,
        key: str,
        fingerprint: str,
        produce: Produce,
        describe: Describe,
        *,
        way_out: bool = False,
        repeatable: bool = False,
    ) -> Answer:
        """The answer to this request: from `produce(reference)`, or the one it had before.

        `produce` gives status and JSON body, or raises; it passes the reference on to the service
        that it calls, which makes it safe to run again after a crash. `describe` turns an error
        into the status and body that the client will see, so that a repeat sees the same.
        `way_out`: a cancel or an exit, which goes on where locks cannot be kept for all hosts.
        `repeatable`: a cancel, which does no harm twice and goes on where keys cannot be kept.

        Raises what `produce` raises, `DuplicateInFlight`, `IdempotencyMismatch`.
        """
        checked_key(key)
        scope = keys.Scope(principal.user_id, account.id)
        try:
            answer = self._answered(scope, key, fingerprint)
        except Unavailable as error:
            return self._without_key(produce, repeatable, error)
        if answer is not None:
            return answer
        with ExitStack() as held:
            if way_out:
                held.enter_context(urgent())
            try:
                held.enter_context(
                    self._locks.lock(f"key/{scope.user_id}/{scope.account_id}/{key}", 0.0)
                )
            except LockBusy:
                raise DuplicateInFlight(
                    "A request with this idempotency key is being worked on. Wait for its answer, "
                    "then repeat it to see that answer.",
                    reference=self._reference_in_flight(scope, key),
                ) from None
            return self._alone(scope, key, fingerprint, produce, describe, repeatable)

    def _without_key(self, produce: Produce, repeatable: bool, error: Unavailable) -> Answer:
        """What may be done twice goes on where keys cannot be kept; all else is refused."""
        if not repeatable:
            raise error
        log.warning("a request goes on without its idempotency key: %s", error.message)
        status, body = produce(NO_REFERENCE)
        return Answer(status, body, replayed=False)

    def _answered(self, scope: keys.Scope, key: str, fingerprint: str) -> Answer | None:
        """The kept answer. One that is final changes no more, so that no lock is needed."""
        with storage_needed(), self._database.read() as conn:
            before = keys.answered(conn, scope, key, fingerprint, at=self._clock.now())
        return None if before is None else _told(before)

    def _alone(
        self,
        scope: keys.Scope,
        key: str,
        fingerprint: str,
        produce: Produce,
        describe: Describe,
        repeatable: bool,
    ) -> Answer:
        now = self._clock.now()
        reference = self._reference()
        try:
            with storage_needed(), self._database.write() as conn:
                before = keys.begin(
                    conn, scope, key, fingerprint, reference,
                    at=now, expires_at=max(now + KEPT, end_of_trading_day(now)),
                )
        except Unavailable as error:
            return self._without_key(produce, repeatable, error)
        told = _told(before)
        if told is not None:
            return told
        again = not isinstance(before, keys.New)
        if isinstance(before, keys.Replay | keys.InFlight):
            reference = before.reference
        return self._work(scope, key, reference, produce, describe, again)

    def _work(
        self,
        scope: keys.Scope,
        key: str,
        reference: str,
        produce: Produce,
        describe: Describe,
        again: bool,
    ) -> Answer:
        try:
            status, body = produce(reference)
        except (BrokerError, ServiceError) as error:
            if error.fate is Fate.NOT_SENT:
                self._release(scope, key)
            else:
                self._finish(scope, key, *describe(error))
            raise
        self._finish(scope, key, status, body)
        return Answer(status, body, replayed=again)

    def _finish(self, scope: keys.Scope, key: str, status: int, body: Body) -> None:
        """Keep the answer. When that fails the key stays open, and a repeat asks the journal."""
        try:
            with storage_needed(), self._database.write() as conn:
                keys.finish(conn, scope, key, status, json.dumps(body, separators=(",", ":")))
        except Unavailable:
            return

    def _release(self, scope: keys.Scope, key: str) -> None:
        try:
            with storage_needed(), self._database.write() as conn:
                keys.release(conn, scope, key)
        except Unavailable:
            return

    def _reference_in_flight(self, scope: keys.Scope, key: str) -> str:
        with storage_needed(), self._database.read() as conn:
            return keys.reference_of(conn, scope, key) or ""


def _told(before: keys.Outcome) -> Answer | None:
    """What a repeat gets at once; None where the work must begin or be looked at again."""
    if isinstance(before, keys.Mismatch):
        raise IdempotencyMismatch(
            "This idempotency key was used with another request. Use a new key for a new request.",
            reference=before.reference,
        )
    if isinstance(before, keys.Replay) and before.status != UNKNOWN_STATUS:
        return Answer(before.status, json.loads(before.body), replayed=True)
    return None


def checked_key(key: str) -> None:
    """`InvalidRequest` unless the key is 1 to 128 visible characters."""
    if not key or len(key) > LONGEST_KEY or not key.isprintable() or key != key.strip():
        raise InvalidRequest(
            f"An idempotency key has 1 to {LONGEST_KEY} printable characters and no blanks around "
            "it.",
            field="client_order_id",
        )
