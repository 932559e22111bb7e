"""Order and trade rows to models (XTS reference §7.2.6-§7.2.8).

States are strict: one never seen is told to the observer and the order stays visible and open.
Descriptions are tolerant: a product or order type of another terminal becomes the nearest of ours
and is told. What identifies or counts (id, side, quantities) must be readable, or the whole book
raises: a row is never lost in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from broker.errors import ProtocolError
from broker.models import Order, OrderState, OrderType, Product, Side, Trade, Validity
from broker.xts import wire
from broker.xts.segments import Segments
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


# Order rows ------------------------------------------------------------------------------------


_TEXTS = (
    "OrderUniqueIdentifier",
    "TradingSymbol",
    "OrderStatus",
    "CancelRejectReason",
    "ExchangeOrderID",
    "ClientID",
    "LoginID",
    "OrderType",
    "ProductType",
    "TimeInForce",
)


def order_from_row(row: wire.Row, segments: Segments, anomaly: Anomaly) -> Order:
    """One row of the order book (§7.2.6). `ProtocolError` names the column that can't be read."""
    get = row.get
    order_id = "?"
    column = "AppOrderID"
    try:
        order_id = identifier(get(column))
        column = "ExchangeInstrumentID"
        instrument = segments.ref(
            get("ExchangeSegment"), get(column) or wire.first(row, wire.INSTRUMENT_ID)
        )
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
        column = "text columns"
        tag, symbol, state_text, reason, exchange_id, client, login, kind, product, validity = [
            value.strip() if type(value) is str else text(value) for value in map(get, _TEXTS)
        ]
        order_type = _TYPES.get(kind) or _order_type(kind, price, anomaly)
        state = _state(state_text, order_type, filled, order_id, anomaly)
        column = "LeavesQuantity"
        pending = _pending(get(column), quantity, filled, state)
        column = "OrderGeneratedDateTime"
        placed_at = moment(get(column) or wire.first(row, wire.GENERATED_AT))
        column = "LastUpdateDateTime"
        updated_at = moment(get(column) or wire.first(row, wire.UPDATED_AT))
        return Order(
            order_id,
            tag,
            instrument,
            symbol,
            side,
            order_type,
            wire.PRODUCTS.get(product) or product_of(product, anomaly),
            wire.VALIDITIES.get(validity) or _validity(validity, anomaly),
            quantity,
            filled,
            pending,
            price,
            trigger,
            average,
            state,
            state_text,
            reason,
            exchange_id,
            client,
            login,
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


def _order_type(word: str, price: Decimal, anomaly: Anomaly) -> OrderType:
    order_type = wire.ORDER_TYPES.get(word.lower())
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


def _validity(word: str, anomaly: Anomaly) -> Validity:
    validity = wire.VALIDITIES.get(word.upper())
    if validity is None:
        anomaly("unknown_validity", f"validity {word[:20]!r} is shown as DAY")
        return Validity.DAY
    return validity


_STOPS = (OrderType.STOP_LIMIT, OrderType.STOP_MARKET)
_OVER = (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED)


def _state(
    word: str, order_type: OrderType, filled: int, order_id: str, anomaly: Anomaly
) -> OrderState:
    state = wire.STATES.get(word)
    if state is None:
        anomaly("unknown_order_state", f"order {order_id} is in state {word[:40]!r}")
        return OrderState.UNRECOGNISED
    if state is OrderState.OPEN and not filled and order_type in _STOPS:
        return OrderState.TRIGGER_PENDING  # §5.3: `New` is also a stop order that waits
    return state


def _pending(value: object, quantity: int, filled: int, state: OrderState) -> int:
    """What is still to be filled: 0 once the order is over, whatever the row says (§19.6)."""
    if state in _OVER:
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
