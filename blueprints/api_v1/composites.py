"""Several orders in one call: basket, split, cancel-all, close-all (REST reference §8.5 to §8.8).

Each answers with `results`, one row a child, in request order (design §11): `"status":"partial"`
when some failed, an error when all did. A child whose fate is not known says `"unknown"` and gives
the reference to ask with; it counts as neither success nor failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blueprints.api_v1.endpoint import KIB, Answer, Call, Routes
from blueprints.api_v1.idempotency import once, provenance
from blueprints.api_v1.schemas import BasketOrder, PlacedRequest, SplitOrder
from blueprints.api_v1.translate import draft_of
from blueprints.http import Body
from services.errors import ALL_SERVICE_ERRORS
from services.order_models import ChildResult, ChildStatus, OrderDraft
from services.vocabulary import ALL_ERRORS

routes = Routes("Composite orders")


_STATUSES = {error.kind: error.http_status for error in ALL_ERRORS} | {
    error.kind: error.http_status for error in ALL_SERVICE_ERRORS
}


def _count(children: Sequence[ChildResult], status: ChildStatus) -> int:
    return sum(child.status is status for child in children)


def _message(children: Sequence[ChildResult]) -> str:
    """One sentence that counts what happened, with the first reason for a failure."""
    unknown = _count(children, ChildStatus.UNKNOWN)
    text = f"{_count(children, ChildStatus.SUCCESS)} of {len(children)} orders were accepted."
    if unknown:
        text += f" The outcome of {unknown} is unknown: ask with their references."
    reason = next((c.message for c in children if c.status is ChildStatus.ERROR), "")
    return f"{text} First failure: {reason}" if reason else text


def _row(child: ChildResult) -> dict[str, Any]:
    """What every child's row tells."""
    row: dict[str, Any] = {}
    if child.code:
        row["code"] = child.code
    if child.message:
        row["message"] = child.message
    if child.order_id:
        row["orderid"] = child.order_id
    if child.reference:
        row["reference"] = child.reference
    row["status"] = child.status.value
    return row


def placed_row(child: ChildResult) -> dict[str, Any]:
    """A child's row with the instrument that it is for."""
    return {
        "exchange": child.exchange,
        "product": child.product,
        "quantity": child.quantity,
        "symbol": child.symbol,
        **_row(child),
    }


def _answer(children: Sequence[ChildResult], body: dict[str, Any]) -> Body | Answer:
    """`body` with its verdict: success, partial, or an error when no child succeeded.

    The error's HTTP status is that of the gravest child: 504 when an outcome is unknown, else what
    a single order would have got.
    """
    good = _count(children, ChildStatus.SUCCESS)
    if good == len(children):
        body["status"] = "success"
        return body
    body.setdefault("message", _message(children))
    if good:
        body["status"] = "partial"
        return body
    body["status"] = "error"
    if _count(children, ChildStatus.UNKNOWN):
        body["code"], status = "outcome_unknown", 504
    else:
        status, body["code"] = max(
            (_STATUSES.get(child.code, 400), child.code or "refused") for child in children
        )
    return Answer(body, status)


@routes.post("/basketorder", BasketOrder, scope="trade", body_limit=1024 * KIB)
def basketorder(call: Call[BasketOrder]) -> Body | Answer:
    """Place several orders; buys are accepted before sells are sent."""
    account = call.account
    drafts: list[OrderDraft] = []
    for row in call.body.orders:
        draft = draft_of(row, row.quantity, call.body.strategy)
        drafts += call.gateway.baskets.sliced(account, draft) if row.auto_slice else [draft]

    def place(reference: str | None) -> Body | Answer:
        children = call.gateway.baskets.basket(
            call.principal, account, drafts, provenance=provenance(call, reference)
        )
        return _answer(children, {"results": [placed_row(child) for child in children]})

    return once(call, place)


def sliced_answer(
    children: Sequence[ChildResult], more: dict[str, Any] | None = None
) -> Body | Answer:
    """One order that went out in parts: a row for each."""
    rows = [
        {"order_num": child.index + 1, "quantity": child.quantity, **_row(child)}
        for child in children
    ]
    return _answer(children, {"results": rows, **(more or {})})


def split_answer(call: Call[Any], draft: OrderDraft, quantity: int, size: int) -> Body | Answer:
    """Place `quantity` in children of `size`, once per idempotency key."""
    account = call.account

    def place(reference: str | None) -> Body | Answer:
        children = call.gateway.baskets.split(
            call.principal, account, draft, size, provenance=provenance(call, reference)
        )
        return sliced_answer(children, {"split_size": size, "total_quantity": quantity})

    return once(call, place)


@routes.post("/splitorder", SplitOrder, scope="trade")
def splitorder(call: Call[SplitOrder]) -> Body | Answer:
    """Place one order in parts of `splitsize`."""
    body = call.body
    draft = draft_of(body, body.quantity, body.strategy)
    return split_answer(call, draft, body.quantity, body.splitsize)


@routes.post("/cancelallorder", PlacedRequest, scope="trade")
def cancelallorder(call: Call[PlacedRequest]) -> Body | Answer:
    """Cancel every open order of the account."""
    account = call.account

    def cancel(reference: str | None) -> Body | Answer:
        result = call.gateway.baskets.cancel_all(
            call.principal,
            account,
            strategy=call.body.strategy,
            provenance=provenance(call, reference),
        )
        done, failed = result.cancelled, result.failed
        return _answer(
            result.children,
            {
                "canceled_orders": done,
                "failed_cancellations": failed,
                "message": f"Canceled {len(done)} orders. Failed to cancel {len(failed)} orders.",
                "results": [placed_row(child) for child in result.children],
            },
        )

    return once(call, cancel, way_out=True, repeatable=True)


@routes.post("/closeposition", PlacedRequest, scope="trade")
def closeposition(call: Call[PlacedRequest]) -> Body | Answer:
    """Close every open position of the account at the market."""
    account = call.account

    def close(reference: str | None) -> Body | Answer:
        children = call.gateway.baskets.close_positions(
            call.principal,
            account,
            strategy=call.body.strategy,
            provenance=provenance(call, reference),
        )
        body: dict[str, Any] = {"results": [placed_row(child) for child in children]}
        if _count(children, ChildStatus.SUCCESS) == len(children):
            body["message"] = "All Open Positions Squared Off"
        return _answer(children, body)

    return once(call, close, way_out=True)
