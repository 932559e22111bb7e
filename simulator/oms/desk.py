"""What a request asks of the engine, and what is refused at once (HTTP 400, no row; §17.2)."""

from __future__ import annotations

from typing import Any

from simulator.envelope import XtsError
from simulator.oms.accounts import Account
from simulator.oms.clients import not_mapped
from simulator.oms.engine import Engine
from simulator.oms.orders import LIVE, PENDING_CANCEL, TERMINAL, Order
from simulator.oms.validation import (
    as_id,
    check_quantity,
    instrument_of,
    modify_terms,
    place_terms,
    text,
    whole,
)
from simulator.profiles import Credential
from simulator.truth import OrderRecord


def record(engine: Engine, body: dict[str, Any] | None, user: str, received: int) -> OrderRecord:
    """Write down an order request as received, before anything is decided about it."""
    fields = body or {}
    tag = fields.get("orderUniqueIdentifier")
    client = fields.get("clientID")
    made = OrderRecord(
        serial=len(engine.truth.orders) + 1,
        received_at=received,
        tag=tag if isinstance(tag, str) else "",
        client=client if isinstance(client, str) else "",
        user=user,
        body=body,
    )
    engine.truth.orders.append(made)
    return made


def place(
    engine: Engine, credential: Credential, body: dict[str, Any], record: OrderRecord, drop: bool
) -> tuple[int, str, str]:
    """`POST /orders`: (AppOrderID, tag, client). `drop` takes it, but puts it into no book."""
    try:
        segment, token, side, terms = place_terms(body)
        client = text(body, "clientID")
        account = engine.clients.for_order(credential, client)
        instrument = instrument_of(engine.catalog, segment, token)
        check_quantity(engine.profile, instrument, terms.quantity, "orderQuantity")
        source = text(body, "apiOrderSource")
    except XtsError as refusal:
        record.refusal = f"{refusal.code}: {refusal.description}"
        raise
    record.accepted = True
    if account is None or drop:
        record.dropped = True
        record.app_order_id = engine.new_id()
        return record.app_order_id, terms.tag, client
    order = engine.submit(
        account,
        credential.user_id,
        instrument,
        side,
        terms,
        source=source,
        generated_by="TWSAPI",
    )
    record.order = order
    record.app_order_id = order.app_id
    record.body = None
    return order.app_id, terms.tag, account.request_client


def modify(engine: Engine, credential: Credential, body: dict[str, Any]) -> Order:
    """`PUT /orders`."""
    order = mine(engine, credential, whole(body, "appOrderID"), text(body, "clientID"))
    terms = modify_terms(body)
    if order.status not in LIVE:
        raise XtsError("e-orders-0001", f"Order is not in a modifiable state: {order.status}")
    check_quantity(engine.profile, order.instrument, terms.quantity, "modifiedOrderQuantity")
    if terms.quantity < order.filled:
        raise XtsError("e-orders-0001", "Quantity is less than the traded quantity")
    engine.replace(order, terms)
    return order


def cancel(engine: Engine, credential: Credential, app_id: Any, client: str) -> Order:
    """`DELETE /orders`."""
    order = mine(engine, credential, app_id, client)
    if order.status in TERMINAL or order.status == PENDING_CANCEL:
        raise XtsError("e-orders-0001", f"Order is already {order.status}")
    engine.withdraw(order)
    return order


def cancel_all(engine: Engine, accounts: list[Account], segment: str, token: int) -> int:
    """Cancel every open order of some accounts in a segment; token 0 means all of it."""
    open_orders = [
        order
        for order in engine.orders.values()
        if order.account in accounts
        and order.status not in TERMINAL
        and order.status != PENDING_CANCEL
        and order.segment == segment
        and token in (0, order.token)
    ]
    for order in open_orders:
        engine.withdraw(order)
    return len(open_orders)


def mine(engine: Engine, credential: Credential, app_id: Any, client: str) -> Order:
    """The order a modify or cancel means; unknown ids and other clients' orders are refused."""
    account = engine.clients.for_order(credential, client)
    order = engine.orders.get(as_id(app_id))
    if order is None:
        raise XtsError("e-orders-0001", "Order not found")
    if account is None or order.account is not account:
        raise not_mapped()
    return order
