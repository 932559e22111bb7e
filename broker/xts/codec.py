"""Orders and trades: models to request bodies, book rows to models (XTS reference §7.2).

States are strict: one never seen is told to the observer and the order stays visible and open.
Descriptions are tolerant: a product or order type of another terminal becomes the nearest of ours
and is told. What identifies or counts (id, side, quantities) must be readable, or the whole book
raises: a row is never lost in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from broker.errors import InvalidOrder, ProtocolError
from broker.models import (
    Exchange,
    InstrumentRef,
    ModifyRequest,
    Order,
    OrderRequest,
    OrderState,
    OrderType,
    Product,
    Side,
    Trade,
    Validity,
)
from broker.xts import wire
from broker.xts.profile import Segment
from broker.xts.values import (
    Unreadable,
    identifier,
    moment,
    money,
    number,
    text,
    whole,
    whole_or,
)

Anomaly = Callable[[str, str], None]

MAX_TAG = 20  # characters of orderUniqueIdentifier (§5.7)
MAX_PRICE = Decimal(10) ** 10
MAX_QUANTITY = 10**9


class Segments:
    """The declaration's segments, looked up both ways."""

    def __init__(self, segments: Iterable[Segment], indices: Iterable[Segment]) -> None:
        traded = tuple(segments)
        self._by_exchange = {s.exchange: s for s in (*traded, *indices)}
        self._by_name = {s.name: s.exchange for s in traded}
        self._refs: dict[tuple[object, object], InstrumentRef] = {}

    def of(self, exchange: Exchange) -> Segment:
        """The segment of an exchange. `InvalidOrder` when the broker does not serve it."""
        segment = self._by_exchange.get(exchange)
        if segment is None:
            raise InvalidOrder(
                f"This broker does not serve the exchange {exchange.value}.", field="exchange"
            )
        return segment

    def ref(self, name: object, token: object) -> InstrumentRef:
        """The instrument that a row names.

        A segment that is not ours keeps its name in the token, so that it can never be taken for
        an instrument of an exchange that is.
        """
        key = (name, token)
        try:
            known = self._refs.get(key)
        except TypeError:
            raise Unreadable("a list or object where an instrument belongs") from None
        if known is not None:
            return known
        digits = identifier(token)
        exchange = self._by_name.get(text(name))
        if exchange is None:
            ref = InstrumentRef(Exchange.NSE, f"{text(name)}:{digits}")
        else:
            ref = InstrumentRef(exchange, digits)
        if len(self._refs) > 65536:
            self._refs.clear()
        self._refs[key] = ref
        return ref


# Requests --------------------------------------------------------------------------------------


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


# Order rows ------------------------------------------------------------------------------------


def order_from_row(row: wire.Row, segments: Segments, anomaly: Anomaly) -> Order:
    """One row of the order book (§7.2.6). `ProtocolError` names the column that can't be read."""
    get = row.get
    order_id = "?"
    column = "AppOrderID"
    try:
        order_id = identifier(get(column))
        column = "ExchangeInstrumentID"
        instrument = segments.ref(get("ExchangeSegment"), wire.first(row, wire.INSTRUMENT_ID))
        column = "OrderSide"
        side = side_of(get(column))
        column = "OrderQuantity"
        quantity = whole(get(column))
        column = "CumulativeQuantity"
        filled = whole(get(column))
        column = "OrderPrice"
        price = money(get(column))
        column = "OrderStopPrice"
        trigger = money(get(column))
        column = "OrderAverageTradedPrice"
        average = money(get(column))
        if not average and filled:
            average = money(wire.first(row, wire.AVERAGE_PRICE))
        column = "OrderDisclosedQuantity"
        disclosed = whole_or(get(column), 0)
        order_type = _order_type(get("OrderType"), price, anomaly)
        state_text = text(get("OrderStatus"))
        state = _state(state_text, order_type, filled, order_id, anomaly)
        column = "LeavesQuantity"
        pending = _pending(get(column), quantity, filled, state)
        column = "OrderGeneratedDateTime"
        placed_at = moment(wire.first(row, wire.GENERATED_AT))
        column = "LastUpdateDateTime"
        updated_at = moment(wire.first(row, wire.UPDATED_AT))
        column = "text columns"
        return Order(
            order_id,
            text(get("OrderUniqueIdentifier")),
            instrument,
            text(get("TradingSymbol")),
            side,
            order_type,
            product_of(get("ProductType"), anomaly),
            _validity(get("TimeInForce"), anomaly),
            quantity,
            filled,
            pending,
            price,
            trigger,
            average,
            state,
            state_text,
            text(get("CancelRejectReason")),
            text(get("ExchangeOrderID")),
            text(get("ClientID")),
            text(get("LoginID")),
            placed_at,
            updated_at,
            disclosed,
        )
    except Unreadable as exc:
        raise ProtocolError(
            f"Order {order_id} of the order book can't be read: {column}: {exc}."
        ) from None


def sequence_of(row: wire.Row) -> tuple[int, str]:
    """What orders the reports of one order (§7.2.7): SequenceNumber, then the update time."""
    try:
        serial = whole_or(row.get("SequenceNumber"), 0)
        at = moment(wire.first(row, wire.UPDATED_AT))
    except Unreadable:
        return 0, ""
    return serial, at.isoformat() if at else ""


def side_of(value: object) -> Side:
    """BUY or SELL; `Unreadable` for anything else, because no guess would be harmless."""
    side = _SIDES.get(value) if isinstance(value, str) else None
    if side is not None:
        return side
    side = wire.SIDES.get(text(value).lower())
    if side is None:
        raise Unreadable(f"{value!r} is no side")
    return side


_SIDES: Mapping[str, Side] = {"BUY": Side.BUY, "SELL": Side.SELL}


def product_of(value: object, anomaly: Anomaly) -> Product:
    """The product, the nearest one for products of other terminals (told as an anomaly)."""
    word = text(value)
    product = wire.PRODUCTS.get(word) or wire.PRODUCTS.get(word.upper())
    if product is None:
        anomaly("unknown_product", f"product {word[:20]!r} is shown as NRML")
        return Product.NRML
    return product


def _order_type(value: object, price: Decimal, anomaly: Anomaly) -> OrderType:
    word = text(value)
    order_type = _TYPES.get(word) or wire.ORDER_TYPES.get(word.lower())
    if order_type is None:
        order_type = OrderType.LIMIT if price else OrderType.MARKET
        anomaly("unknown_order_type", f"type {word[:20]!r} is shown as {order_type.value}")
    return order_type


_TYPES: Mapping[str, OrderType] = {
    "Market": OrderType.MARKET,
    "Limit": OrderType.LIMIT,
    "StopLimit": OrderType.STOP_LIMIT,
    "StopMarket": OrderType.STOP_MARKET,
}


def _validity(value: object, anomaly: Anomaly) -> Validity:
    word = text(value)
    validity = wire.VALIDITIES.get(word) or wire.VALIDITIES.get(word.upper())
    if validity is None:
        anomaly("unknown_validity", f"validity {word[:20]!r} is shown as DAY")
        return Validity.DAY
    return validity


def _state(
    word: str, order_type: OrderType, filled: int, order_id: str, anomaly: Anomaly
) -> OrderState:
    state = wire.STATES.get(word)
    if state is None:
        anomaly("unknown_order_state", f"order {order_id} is in state {word[:40]!r}")
        return OrderState.UNRECOGNISED
    if state is OrderState.OPEN and order_type.needs_trigger and not filled:
        return OrderState.TRIGGER_PENDING  # §5.3: `New` is also a stop order that waits
    return state


def _pending(value: object, quantity: int, filled: int, state: OrderState) -> int:
    """What is still to be filled: 0 once the order is over, whatever the row says (§19.6)."""
    if not state.is_open:
        return 0
    return whole_or(value, max(0, quantity - filled))


# Trade rows ------------------------------------------------------------------------------------


def trade_from_row(row: wire.Row, segments: Segments, anomaly: Anomaly) -> Trade:
    """One execution of the trade book (§7.2.8). `ProtocolError` names the unreadable column."""
    get = row.get
    trade_id = "?"
    column = "ExecutionID"
    try:
        trade_id = text(get(column))
        column = "AppOrderID"
        order_id = identifier(get(column))
        column = "ExchangeInstrumentID"
        instrument = segments.ref(get("ExchangeSegment"), wire.first(row, wire.INSTRUMENT_ID))
        column = "OrderSide"
        side = side_of(get(column))
        column = "LastTradedQuantity"
        quantity = whole(get(column))
        column = "LastTradedPrice"
        price = number(get(column))
        if price is None:
            raise Unreadable("no price")
        column = "LastExecutionTransactTime"
        traded_at = moment(wire.first(row, wire.TRADED_AT))
        column = "text columns"
        return Trade(
            trade_id,
            order_id,
            text(get("OrderUniqueIdentifier")),
            instrument,
            text(get("TradingSymbol")),
            side,
            product_of(get("ProductType"), anomaly),
            quantity,
            price,
            text(get("ClientID")),
            traded_at,
        )
    except Unreadable as exc:
        raise ProtocolError(
            f"Trade {trade_id} of the trade book can't be read: {column}: {exc}."
        ) from None
