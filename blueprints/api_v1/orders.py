"""Single orders: place, smart, modify, cancel, status (REST reference §8.1 to §8.4, §9)."""

from __future__ import annotations

from typing import Any

from blueprints.api_v1.books import order_row
from blueprints.api_v1.composites import sliced_answer, split_answer
from blueprints.api_v1.endpoint import Answer, Call, Routes
from blueprints.api_v1.idempotency import once, provenance
from blueprints.api_v1.schemas import (
    CancelOrder,
    ModifyOrder,
    OpenPosition,
    OrderStatus,
    PlaceOrder,
    SmartOrder,
)
from blueprints.api_v1.translate import ORDER_TYPES, PRODUCTS, SIDES, draft_of
from blueprints.http import Body
from services.order_models import ModifyDraft, Placed

routes = Routes("Orders")


def placed_answer(placed: Placed) -> dict[str, Any]:
    """A broker's acceptance; `reference` names the order in our journal."""
    body: dict[str, Any] = {
        "orderid": placed.order_id,
        "reference": placed.reference,
        "status": "success",
    }
    if placed.warnings:
        body["warnings"] = list(placed.warnings)
    return body


@routes.post("/placeorder", PlaceOrder, scope="trade", bucket="order")
def placeorder(call: Call[PlaceOrder]) -> Body | Answer:
    """Place one order."""
    body, account = call.body, call.account
    draft = draft_of(body, body.quantity, body.strategy)
    if body.auto_slice:
        most = call.gateway.orders.largest(account, draft)
        if most is not None and body.quantity > most:
            return split_answer(call, draft, body.quantity, most)

    def place(reference: str | None) -> Body:
        return placed_answer(
            call.gateway.orders.place(
                call.principal, account, draft, provenance=provenance(call, reference)
            )
        )

    return once(call, place)


@routes.post("/placesmartorder", SmartOrder, scope="trade", bucket="smart")
def placesmartorder(call: Call[SmartOrder]) -> Body | Answer:
    """Bring the net position of one symbol to `position_size`."""
    body, account = call.body, call.account
    draft = draft_of(body, body.quantity, body.strategy)

    def place(reference: str | None) -> Body | Answer:
        result = call.gateway.smart_orders.place(
            call.principal,
            account,
            draft,
            body.position_size,
            auto_slice=body.auto_slice,
            provenance=provenance(call, reference),
        )
        if result.children:
            return sliced_answer(result.children)
        if result.placed is not None:
            return placed_answer(result.placed)
        return {"message": result.message, "status": "success"}

    return once(call, place, way_out=body.position_size == 0)


@routes.post("/modifyorder", ModifyOrder, scope="trade", bucket="order")
def modifyorder(call: Call[ModifyOrder]) -> Body | Answer:
    """Change the terms of an open order."""
    body = call.body
    draft = ModifyDraft(
        symbol=body.symbol,
        exchange=body.exchange,
        side=SIDES[body.action],
        order_type=ORDER_TYPES[body.pricetype],
        product=PRODUCTS[body.product],
        quantity=body.quantity,
        price=body.price,
        trigger_price=body.trigger_price,
        disclosed_quantity=body.disclosed_quantity,
        strategy=body.strategy,
    )

    def modify(reference: str | None) -> Body:
        return placed_answer(
            call.gateway.orders.modify(
                call.principal,
                call.named_account,
                body.orderid,
                draft,
                provenance=provenance(call, reference),
            )
        )

    return once(call, modify)


@routes.post("/cancelorder", CancelOrder, scope="trade", bucket="order")
def cancelorder(call: Call[CancelOrder]) -> Body | Answer:
    """Cancel an open order."""
    body = call.body

    def cancel(reference: str | None) -> Body:
        return placed_answer(
            call.gateway.orders.cancel(
                call.principal,
                call.named_account,
                body.orderid,
                strategy=body.strategy,
                provenance=provenance(call, reference),
            )
        )

    return once(call, cancel, way_out=True, repeatable=True)


@routes.post("/orderstatus", OrderStatus)
def orderstatus(call: Call[OrderStatus]) -> Body:
    """Where one order stands at the broker."""
    body = call.body
    account = call.gateway.orders.account_of(call.principal, call.named_account, body.orderid)
    view = call.gateway.portfolio.order(account, body.orderid)
    return {"data": order_row(view), "status": "success"}


@routes.post("/openposition", OpenPosition)
def openposition(call: Call[OpenPosition]) -> Body:
    """The signed net quantity of one symbol, exchange and product."""
    body = call.body
    quantity = call.gateway.portfolio.open_position(
        call.account, body.symbol, body.exchange, PRODUCTS[body.product]
    )
    return {"quantity": quantity, "status": "success"}
