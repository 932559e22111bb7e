"""The order book page, refreshed by polling, and cancelling an order from it."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, g, redirect, render_template, request, url_for

from blueprints.context import gateway
from blueprints.web.blueprint import Page, checked_action, visitor, web
from blueprints.web.brokers import own_accounts
from blueprints.web.polling import marked, part
from services.accounts import Account
from services.errors import ServiceError
from services.portfolio import OrderView
from services.vocabulary import BrokerError
from utils.clock import ist

_FATES = {
    "received": "waits for its turn",
    "sending": "is being sent",
    "unknown": "was sent, and its outcome is not known",
}
_TONES = {"FILLED": "good", "REJECTED": "bad", "CANCELLED": "soft", "UNRECOGNISED": "bad"}


def _row(order: OrderView) -> dict[str, Any]:
    """One order in the words and formats of the page."""
    placed = order.placed_at
    return {
        "time": ist(placed).strftime("%H:%M:%S") if placed else "–",
        "symbol": order.symbol,
        "exchange": str(order.exchange),
        "side": str(order.side),
        "order_type": str(order.order_type).replace("_", " "),
        "product": str(order.product),
        "quantity": order.quantity,
        "filled_quantity": order.filled_quantity,
        "price": f"{order.price:.2f}" if order.price else "–",
        "trigger_price": f"{order.trigger_price:.2f}" if order.trigger_price else "",
        "average_price": f"{order.average_price:.2f}" if order.average_price else "–",
        "status": str(order.state).replace("_", " ").lower(),
        "tone": _TONES.get(str(order.state), "warn"),
        "reason": order.reason,
        "strategy": order.strategy,
        "ours": order.ours,
        "order_id": order.order_id,
        "is_open": order.state.is_open,
    }


def _book(account: Account) -> dict[str, Any]:
    """What no book shows yet, and the rows of the account's book, or why it can't be read."""
    shown: dict[str, Any] = {"open_wishes": [], "problem": None, "orders": []}
    try:
        shown["open_wishes"] = _open_wishes(account)
        newest_first = sorted(gateway().portfolio.orders(account), key=_age, reverse=True)
        shown["orders"] = [_row(order) for order in newest_first]
    except (BrokerError, ServiceError) as error:
        shown["problem"] = error.message
    return marked(shown)


def _open_wishes(account: Account) -> list[dict[str, str]]:
    """The orders and changes without an outcome, in words."""
    return [
        {
            "time": f"{ist(wish.created_at):%d-%b %H:%M:%S}",
            "what": f"{wish.side} {wish.quantity} {wish.symbol}" if wish.kind.value == "place"
            else f"{wish.kind.value} of order {wish.target_order_id}",
            "fate": _FATES[wish.state.value],
            "reference": wish.reference,
        }
        for wish in gateway().orders.without_outcome(account)
    ]


def _age(order: OrderView) -> tuple[Any, ...]:
    """Sorts by time; within a second, which is all that books tell, by the broker's count."""
    number = order.order_id
    return order.placed_at is not None, order.placed_at, len(number), number


def _chosen(label: str) -> Account | None:
    """The account that the page is about: the named one, else the visitor's default."""
    wanted = label or gateway().accounts.default_label(visitor())
    if not wanted:
        return None
    try:
        return gateway().accounts.resolve(visitor(), wanted)
    except ServiceError as error:
        abort(404, error.message)


@web.get("/orders")
def orders() -> Page:
    """Today's orders of one account."""
    account = _chosen(request.args.get("account", ""))
    book = _book(account) if account else {}
    return render_template(
        "web/orders.html",
        labels=[own.label for own in own_accounts()],
        chosen=account.label if account else "",
        as_of=gateway().clock.now(),
        **book,
    )


@web.get("/orders/rows")
def order_rows() -> Page:
    """The rows alone, for the page's polling."""
    account = _chosen(request.args.get("account", ""))
    if account is None:
        abort(404, "No account is yours.")
    now = gateway().clock.now()
    return part("web/_order_rows.html", _book(account), chosen=account.label, as_of=now)


@web.post("/orders/<account>/<order_id>/cancel")
def cancel_order(account: str, order_id: str) -> Page:
    """Cancel one open order."""
    checked_action()
    chosen = _chosen(account)
    try:
        gateway().orders.cancel(
            visitor(), chosen, order_id, request_id=g.request_id
        )
    except (BrokerError, ServiceError) as error:
        flash(f"Order {order_id}: {error.message}", "error")
    else:
        flash(f"The cancel of order {order_id} was accepted.", "success")
    return redirect(url_for("web.orders", account=account))
