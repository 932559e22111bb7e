"""Orders onto the wire: the bodies and queries of place, modify and cancel (XTS reference §7.2).

The last line before a venue: what it could misread is refused here with `InvalidOrder`, whatever
was checked before. Tables have no defaults: a price type or product is never replaced by another.
"""

from __future__ import annotations

from decimal import Decimal

from broker.errors import InvalidOrder
from broker.models import ModifyRequest, OrderRequest, OrderType
from broker.xts import wire
from broker.xts.segments import Segments
from broker.xts.values import Unreadable, identifier

MAX_TAG = 20  # characters of orderUniqueIdentifier (§5.7)
MAX_PRICE = Decimal(10) ** 10
MAX_QUANTITY = 10**9


def place_body(
    order: OrderRequest, tag: str, segments: Segments, client_id: str
) -> dict[str, object]:
    """The body of `POST /orders` (§7.2.1). `InvalidOrder` for what must not reach a venue."""
    if order.instrument.exchange.is_index:
        raise InvalidOrder("An index can't be traded.", field="exchange")
    segment = segments.of(order.instrument.exchange)
    limit, stop = _prices(order.order_type, order.price, order.trigger_price)
    body: dict[str, object] = {
        "exchangeSegment": segment.name,
        "exchangeInstrumentID": _token(order.instrument.token),
        "productType": wire.PRODUCT_WORDS[order.product],
        "orderType": wire.ORDER_TYPE_WORDS[order.order_type],
        "orderSide": order.side.value,
        "timeInForce": wire.VALIDITY_WORDS[order.validity],
        "disclosedQuantity": _quantity(order.disclosed_quantity, "disclosed_quantity", 0),
        "orderQuantity": _quantity(order.quantity, "quantity", 1),
        "limitPrice": limit,
        "stopPrice": stop,
        "orderUniqueIdentifier": _tag(tag),
    }
    if client_id:
        body["clientID"] = client_id
    return body


def modify_body(change: ModifyRequest, client_id: str) -> dict[str, object]:
    """The body of `PUT /orders`, with every term, changed or not (§7.2.2)."""
    limit, stop = _prices(change.order_type, change.price, change.trigger_price)
    body: dict[str, object] = {
        "appOrderID": int(order_id_text(change.order_id)),
        "modifiedProductType": wire.PRODUCT_WORDS[change.product],
        "modifiedOrderType": wire.ORDER_TYPE_WORDS[change.order_type],
        "modifiedOrderQuantity": _quantity(change.quantity, "quantity", 1),
        "modifiedDisclosedQuantity": _quantity(change.disclosed_quantity, "disclosed_quantity", 0),
        "modifiedLimitPrice": limit,
        "modifiedStopPrice": stop,
        "modifiedTimeInForce": wire.VALIDITY_WORDS[change.validity],
    }
    if change.tag:
        body["orderUniqueIdentifier"] = _tag(change.tag)
    if client_id:
        body["clientID"] = client_id
    return body


def cancel_params(order_id: str, client_id: str) -> dict[str, str]:
    """The query of `DELETE /orders` (§7.2.3)."""
    params = {"appOrderID": order_id_text(order_id)}
    if client_id:
        params["clientID"] = client_id
    return params


def order_id_text(order_id: str) -> str:
    """An order id that this wire can carry. `InvalidOrder` for anything but digits."""
    try:
        return identifier(order_id)
    except Unreadable:
        raise InvalidOrder(
            "The order id must be a number, as the broker gave it.", field="order_id"
        ) from None


def wire_price(price: Decimal, field: str) -> int | float:
    """A price as the JSON number with exactly its digits. At most 4 decimals (§5.5)."""
    if not price.is_finite() or price < 0 or price >= MAX_PRICE:
        raise InvalidOrder(f"{field} must be a number of rupees, zero or more.", field=field)
    if price == price.to_integral_value():
        return int(price)
    if round(price, 4) != price:
        raise InvalidOrder(f"{field} may have at most 4 decimals.", field=field)
    return float(price)  # at most 14 digits: its shortest text is the decimal's own


def _prices(
    order_type: OrderType, price: Decimal, trigger: Decimal
) -> tuple[int | float, int | float]:
    """limitPrice and stopPrice; 0 where the type has none, never 0 where it has one (§7.2.1)."""
    limit: int | float = 0
    stop: int | float = 0
    if order_type.needs_price:
        limit = wire_price(price, "price")
        if not limit:
            raise InvalidOrder(f"A {order_type.value} order needs a price.", field="price")
    if order_type.needs_trigger:
        stop = wire_price(trigger, "trigger_price")
        if not stop:
            raise InvalidOrder(
                f"A {order_type.value} order needs a trigger price.", field="trigger_price"
            )
    return limit, stop


def _quantity(value: int, field: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < MAX_QUANTITY:
        raise InvalidOrder(
            f"{field} must be a whole number between {least} and {MAX_QUANTITY - 1}.", field=field
        )
    return value


def _token(token: str) -> int:
    if not (token.isascii() and token.isdigit()) or len(token) > 19:
        raise InvalidOrder("The instrument's token is not one of this broker's.", field="symbol")
    return int(token)


def _tag(tag: str) -> str:
    if not tag or len(tag) > MAX_TAG or not tag.isascii() or not tag.replace("-", "").isalnum():
        raise InvalidOrder(
            f"The tag must be 1 to {MAX_TAG} letters, digits or dashes.", field="tag"
        )
    return tag
