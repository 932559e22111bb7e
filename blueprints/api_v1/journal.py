"""The journal of one order: what was wanted, what became of it and why (design §11)."""

from __future__ import annotations

from typing import Any

from blueprints.api_v1.endpoint import Call, Routes
from blueprints.api_v1.schemas import EmptyQuery
from blueprints.api_v1.translate import iso, number
from blueprints.http import Body
from services.order_models import Intent

routes = Routes("Journal")


def _intent(account: str, intent: Intent) -> dict[str, Any]:
    return {
        "account": account,
        "client_order_id": intent.client_order_id,
        "created_at": iso(intent.created_at),
        "exchange": intent.exchange,
        "kind": str(intent.kind),
        "message": intent.message,
        "orderid": intent.broker_order_id,
        "parent": intent.parent_reference,
        "price": number(intent.price),
        "product": str(intent.product),
        "quantity": intent.quantity,
        "reference": intent.reference,
        "request_id": intent.request_id,
        "side": str(intent.side),
        "state": str(intent.state),
        "strategy": intent.strategy,
        "symbol": intent.symbol,
        "tag": intent.tag,
        "trigger_price": number(intent.trigger_price),
        "updated_at": iso(intent.updated_at),
    }


@routes.add("GET", "/orders/<reference>", EmptyQuery)
def journal(call: Call[EmptyQuery]) -> Body:
    """The journal of one order, by reference, broker id or client_order_id.

    The reference of a basket, split, cancel-all or close-all has no order of its own (`order` is
    null); its `children` tell how each of them stands.
    """
    view = call.gateway.orders.journal(call.principal, call.path["reference"])
    return {
        "data": {
            "children": [_intent(view.account, child) for child in view.children],
            "events": [
                {
                    "at": iso(event.at),
                    "cause": event.cause,
                    "message": event.message,
                    "state": str(event.state),
                }
                for event in view.events
            ],
            "order": None if view.intent is None else _intent(view.account, view.intent),
        },
        "status": "success",
    }
