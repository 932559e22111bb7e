"""Checks that the book bears out what the broker accepted.

An acceptance means "request sent", nothing more (XTS reference §7.2): the risk system may reject
the order a moment later, one cluster drops orders of a wrong client id in silence (§6.2), and a
modification may be accepted without effect. So every accepted intent is held against the book
until it shows there. A rejection that comes later is a journal event; what never shows is an
alarm, and nothing is sent again.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from broker.base import Clock
from broker.models import Order, OrderState
from database import journal
from database.journal import Intent, IntentKind
from services.accounts import Account
from services.alarms import AlarmService
from services.recording import Recorder, Sighting
from services.verdicts import Rows, has_terms
from utils.clock import start_of_trading_day

log = logging.getLogger(__name__)

LOST_AFTER = timedelta(seconds=10)
"""How long an order may be missing in the book after its acceptance (XTS reference §6.4: 3 s)."""

WATCHED = timedelta(minutes=15)
"""How long an accepted intent is watched in ordinary rounds; at start it is the whole day."""

ORDER_LOST = "order_lost"
NO_EFFECT = "change_without_effect"


class BearingOut:
    """Holds accepted intents against book reads."""

    def __init__(self, recorder: Recorder, alarms: AlarmService, clock: Clock) -> None:
        self._recorder = recorder
        self._alarms = alarms
        self._clock = clock

    def waiting(self, account: Account, whole_day: bool) -> list[Intent]:
        """The account's accepted intents that no book has borne out yet."""
        now = self._clock.now()
        midnight = start_of_trading_day(now)
        since = midnight if whole_day else max(midnight, now - WATCHED)
        with self._recorder.reading() as conn:
            return journal.unseen(conn, account.id, since, kinds=tuple(IntentKind))

    def check(self, account: Account, accepted: list[Intent], rows: Rows, as_of: datetime) -> int:
        """Hold these against a book that was read at `as_of`; how many it bore out."""
        seen: list[Sighting] = []
        shown: list[str] = []
        newest = {
            intent.target_order_id: intent.id
            for intent in accepted if intent.kind is IntentKind.MODIFY
        }
        for intent in accepted:
            if as_of <= (intent.sent_at or intent.created_at):
                continue
            row = rows.of_accepted(intent)
            if intent.kind is IntentKind.PLACE:
                sighting = self._placed(account, intent, row, as_of)
                if sighting is not None:
                    shown.append(_subject(account, intent))
            elif newest.get(intent.target_order_id, intent.id) != intent.id:
                sighting = Sighting(intent, "superseded", "superseded")
            else:
                sighting = self._changed(account, intent, row, as_of)
            if sighting is not None:
                seen.append(sighting)
        self._alarms.close_all(ORDER_LOST, shown)
        self._recorder.saw(seen)
        return len(seen)

    def _placed(
        self, account: Account, intent: Intent, row: Order | None, as_of: datetime
    ) -> Sighting | None:
        if row is None:
            if as_of - _accepted_at(intent) >= LOST_AFTER:
                self._alarm(intent, ORDER_LOST, _subject(account, intent), (
                    f"Order {intent.broker_order_id} ({intent.symbol}, reference "
                    f"{intent.reference}) was accepted by the broker and is not in its book. Was "
                    "it sent under a wrong client id? It is not sent again."
                ))
            return None
        if row.state is OrderState.PENDING:
            return None
        if row.state is OrderState.REJECTED:
            return _otherwise(intent, row.state.value, "rejected later", row.reason)
        return Sighting(intent, row.state.value, "in the book")

    def _changed(
        self, account: Account, intent: Intent, row: Order | None, as_of: datetime
    ) -> Sighting | None:
        """A modification or cancellation: has it had its effect on the order's row?"""
        if row is not None and _has_effect(intent, row):
            return Sighting(intent, row.state.value, "in the book")
        if row is not None and not row.state.is_open:
            words = f"The order was {row.state.value.lower()} before it took effect."
            return _otherwise(intent, row.state.value, "too late", words)
        if as_of - _accepted_at(intent) < LOST_AFTER:
            return None
        subject = f"{account.label}/{intent.target_order_id}"
        shown = "does not show it" if row is None else "does not show any effect"
        self._alarm(intent, NO_EFFECT, subject, (
            f"The broker accepted to {intent.kind.value} order {intent.target_order_id}, but its "
            f"book {shown}."
        ))
        return Sighting(intent, row.state.value if row else "missing", "no effect")

    def _alarm(self, intent: Intent, rule: str, subject: str, message: str) -> None:
        if self._alarms.open(rule, subject, message):
            self._recorder.resume(intent).note(rule, message)


def _subject(account: Account, intent: Intent) -> str:
    """Whom an alarm about a lost order concerns."""
    return f"{account.label}/{intent.reference}"


def _accepted_at(intent: Intent) -> datetime:
    """When the broker accepted it. It may have waited long for its turn before that."""
    return intent.updated_at or intent.sent_at or intent.created_at


def _otherwise(intent: Intent, state: str, cause: str, words: str) -> Sighting:
    """An accepted request that did not end as it was meant."""
    log.warning("an accepted request ended otherwise", extra={
        "reference": intent.reference, "cause": cause, "words": words})
    return Sighting(intent, state, cause, words)


def _has_effect(intent: Intent, row: Order) -> bool:
    if intent.kind is IntentKind.CANCEL:
        return row.state is OrderState.CANCELLED
    return has_terms(intent, row)
