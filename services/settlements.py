"""What only a person can settle: an order whose book is gone, or that somebody else has cleared up.

A venue's book holds one day, so the reconciler leaves an unknown order of an earlier day unknown,
with an alarm. A person can look into trades, positions and contract notes; their word is a journal
event and an entry of the audit, with their name and reason, and follows the same rules of state.
Nothing of the journal is deleted by itself either: that, too, is a person's word.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from broker.base import Clock
from database import audit, journal
from database.engine import Database
from database.journal import Intent, IntentState
from services.access import Principal
from services.errors import Conflict, InvalidRequest, NotFoundHere
from services.recording import storage_needed

OUTCOMES = (IntentState.ACCEPTED, IntentState.REJECTED, IntentState.ABSENT)

KEPT_AT_LEAST = timedelta(days=90)
"""Idempotency keys, alarms and a quarter's books refer to these orders."""

_OPEN_TO_A_PERSON = (IntentState.UNKNOWN, IntentState.ABSENT)

_LONGEST_REASON = 500
_CAUSE = "operator"


class Settlements:
    """Open orders as a person sees them, and their word on how one ended."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def open(self) -> list[Intent]:
        """Every intent without an outcome, the oldest first."""
        with storage_needed(), self._database.read() as conn:
            return journal.open_intents(conn)

    def settle(
        self, who: Principal, reference: str, outcome: IntentState, reason: str, order_id: str = ""
    ) -> Intent:
        """Record an outcome that `who` vouches for; the intent as it is then.

        `order_id` is the venue's, and needed for an accepted order. `InvalidRequest`,
        `NotFoundHere`, and `Conflict` when the intent's state does not lead there: what is being
        sent is the gateway's to settle.
        """
        who.demand("admin")
        self._check(outcome, reason, order_id)
        at = self._clock.now()
        with storage_needed(), self._database.write() as conn:
            intent = journal.get(conn, reference)
            if intent is None:
                raise NotFoundHere(f"There is no order with the reference {reference}.")
            if intent.state not in _OPEN_TO_A_PERSON:
                raise Conflict(
                    f"Order {reference} is {intent.state.value}: a person can settle what is "
                    "unknown, and take back that an order is absent.",
                    reference=reference,
                )
            journal.change(
                conn, intent.id, outcome, _CAUSE, at=at, broker_order_id=order_id or None,
                message=f"{who.name}: {reason}",
            )
            audit.record(
                conn, who.name, "order settled", reference, at=at,
                detail={
                    "from": intent.state.value, "to": outcome.value, "reason": reason,
                    "order_id": order_id,
                },
            )
        return replace(intent, state=outcome, broker_order_id=order_id or intent.broker_order_id)

    def prune(self, who: Principal, before: datetime) -> int:
        """Delete the orders that were created before then and have an outcome; how many.

        `InvalidRequest` for what is younger than `KEPT_AT_LEAST`. What is unsettled is kept.
        """
        who.demand("admin")
        at = self._clock.now()
        if before > at - KEPT_AT_LEAST:
            raise InvalidRequest(
                f"Orders of the last {KEPT_AT_LEAST.days} days are kept.", field="before"
            )
        with storage_needed(), self._database.write() as conn:
            deleted = journal.prune(conn, before)
            audit.record(
                conn, who.name, "orders pruned", at=at,
                detail={"before": before.isoformat(), "deleted": str(deleted)},
            )
        return deleted

    def _check(self, outcome: IntentState, reason: str, order_id: str) -> None:
        if outcome not in OUTCOMES:
            raise InvalidRequest("An order ends as accepted, rejected or absent.", field="as")
        if not reason.strip() or len(reason) > _LONGEST_REASON:
            raise InvalidRequest(
                f"Say why, in 1 to {_LONGEST_REASON} characters.", field="reason"
            )
        if (outcome is IntentState.ACCEPTED) != bool(order_id.strip()):
            raise InvalidRequest(
                "An accepted order needs the broker's order id (--order-id), and no other has one.",
                field="order_id",
            )
