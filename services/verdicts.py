"""What the venue's order book says about an intent of ours: pure judgement, no input or output.

A placed order is found by its tag. A modification or cancellation shows in the row of the order it
is about. A book that is silent proves nothing by itself; see the rule of absence in
`services.reconciler`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.models import Order, OrderState
from database.journal import Intent, IntentKind, IntentState


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome that a book proves: ACCEPTED or REJECTED, with the venue's id and words."""

    state: IntentState
    order_id: str
    message: str = ""


class Rows:
    """The rows of one book read, found without going through the book for every intent.

    Of rows with the same tag or id the first one counts.
    """

    def __init__(self, orders: Iterable[Order]) -> None:
        self._by_tag: dict[str, Order] = {}
        self._by_id: dict[str, Order] = {}
        for row in orders:
            if row.tag:
                self._by_tag.setdefault(row.tag, row)
            self._by_id.setdefault(row.order_id, row)

    def of(self, intent: Intent) -> Order | None:
        """The row that an intent is about: by its tag, or by the id of its target."""
        if intent.kind is IntentKind.PLACE:
            return self._by_tag.get(intent.tag) if intent.tag else None
        return self._by_id.get(intent.target_order_id)

    def of_accepted(self, intent: Intent) -> Order | None:
        """The same for an accepted intent: where the venue echoes no tag, its id names the row."""
        row = self.of(intent)
        if row is None and intent.kind is IntentKind.PLACE and intent.broker_order_id:
            row = self._by_id.get(intent.broker_order_id)
        return row


def judge(intent: Intent, rows: Rows) -> Verdict | None:
    """The outcome of `intent` by this book; None when the book does not tell."""
    row = rows.of(intent)
    if row is None:
        return None
    if intent.kind is IntentKind.PLACE:
        return _judge_placed(row)
    if intent.kind is IntentKind.CANCEL:
        return _judge_cancelled(row)
    return _judge_modified(intent, row)


def _judge_placed(row: Order) -> Verdict:
    if row.state is OrderState.REJECTED:
        return Verdict(IntentState.REJECTED, row.order_id, row.reason or row.state_text)
    return Verdict(IntentState.ACCEPTED, row.order_id)


def _judge_cancelled(row: Order) -> Verdict | None:
    if row.state is OrderState.CANCELLED:
        return Verdict(IntentState.ACCEPTED, row.order_id)
    if not row.state.is_open:
        return Verdict(
            IntentState.REJECTED, row.order_id,
            f"The order was {row.state.value.lower()} before it could be cancelled.",
        )
    return None


def _judge_modified(intent: Intent, row: Order) -> Verdict | None:
    if has_terms(intent, row):
        return Verdict(IntentState.ACCEPTED, row.order_id)
    if not row.state.is_open:
        return Verdict(
            IntentState.REJECTED, row.order_id,
            f"The order was {row.state.value.lower()} before it could be modified.",
        )
    return None


def has_terms(intent: Intent, row: Order) -> bool:
    """Whether the row stands as the modification wanted it."""
    return (
        row.quantity == intent.quantity
        and row.order_type.value == intent.order_type
        and row.product.value == intent.product
        and (not row.order_type.needs_price or row.price == intent.price)
        and (not row.order_type.needs_trigger or row.trigger_price == intent.trigger_price)
    )
