"""Holds an order against the rules that need no broker: nothing invalid is ever sent.

Three steps, each raising `InvalidRequest` with the field to change: the fields among themselves
(`check_terms`), the broker's declaration (`check_capabilities`) and the instrument
(`check_instrument`). The morning's price band only warns, because exchanges widen it during the
day.

A price on a MARKET or SL-M order, or a trigger on a MARKET or LIMIT one, is refused and not
ignored: whoever sent it may have meant another order type, and with money at stake the question
goes back (docs/decisions/0060).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from broker.base import BrokerInfo, Capabilities
from broker.models import Exchange, InstrumentRef, OrderRequest, OrderType, Product, Side
from services.errors import InvalidRequest
from services.order_models import ModifyDraft, OrderDraft

Draft = OrderDraft | ModifyDraft

MAX_QUANTITY = 1_000_000_000
MAX_PRICE = Decimal(100_000_000)

_NAMES = {
    OrderType.MARKET: "A MARKET order",
    OrderType.LIMIT: "A LIMIT order",
    OrderType.STOP_LIMIT: "A stop-limit (SL) order",
    OrderType.STOP_MARKET: "A stop-market (SL-M) order",
}

_CASH = frozenset({Exchange.NSE, Exchange.BSE})
_CASH_ONLY = frozenset({Product.CNC, Product.MTF})


class Record(Protocol):
    """What is needed of a row of the master contract."""

    @property
    def symbol(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def lotsize(self) -> int: ...
    @property
    def tick_size(self) -> Decimal: ...
    @property
    def freeze_qty(self) -> int | None: ...
    @property
    def price_low(self) -> Decimal | None: ...
    @property
    def price_high(self) -> Decimal | None: ...
    @property
    def tradable(self) -> bool: ...
    @property
    def ref(self) -> InstrumentRef: ...


def check_terms(draft: Draft) -> None:
    """The fields among themselves: what each order type needs, and what it must not carry."""
    _check_numbers(draft)
    name = _NAMES[draft.order_type]
    if draft.order_type.needs_price and draft.price <= 0:
        raise InvalidRequest(f"{name} needs a price above 0.", field="price")
    if not draft.order_type.needs_price and draft.price != 0:
        raise InvalidRequest(
            f"{name} takes no price: leave it out, or choose another order type.", field="price"
        )
    if draft.order_type.needs_trigger and draft.trigger_price <= 0:
        raise InvalidRequest(f"{name} needs a trigger price above 0.", field="trigger_price")
    if not draft.order_type.needs_trigger and draft.trigger_price != 0:
        raise InvalidRequest(
            f"{name} takes no trigger price: leave it out, or choose another order type.",
            field="trigger_price",
        )
    if draft.order_type is OrderType.STOP_LIMIT:
        _check_stop_side(draft)
    exchange = exchange_of(draft.exchange)
    if exchange.is_index:
        raise InvalidRequest(
            f"'{draft.symbol}' on '{exchange}' is an index: it can be quoted, not traded.",
            field="exchange",
        )
    _check_product(draft.product, exchange)


def _check_numbers(draft: Draft) -> None:
    if not 0 < draft.quantity <= MAX_QUANTITY:
        raise InvalidRequest(
            f"Quantity must be a whole number from 1 to {MAX_QUANTITY}.", field="quantity"
        )
    for field, value in (("price", draft.price), ("trigger_price", draft.trigger_price)):
        if not value.is_finite() or not 0 <= value <= MAX_PRICE:
            raise InvalidRequest(f"The {field} must be from 0 to {MAX_PRICE} rupees.", field=field)
    if not 0 <= draft.disclosed_quantity <= draft.quantity:
        raise InvalidRequest(
            "The disclosed quantity must be from 0 to the quantity.", field="disclosed_quantity"
        )


def _check_stop_side(draft: Draft) -> None:
    """XTS reference §7.2.1: a BUY's trigger is at or below its limit, a SELL's at or above."""
    if draft.side is Side.BUY and draft.trigger_price > draft.price:
        raise InvalidRequest(
            "A BUY stop-limit (SL) order needs a trigger price at or below its price.",
            field="trigger_price",
        )
    if draft.side is Side.SELL and draft.trigger_price < draft.price:
        raise InvalidRequest(
            "A SELL stop-limit (SL) order needs a trigger price at or above its price.",
            field="trigger_price",
        )


def _check_product(product: Product, exchange: Exchange) -> None:
    if product in _CASH_ONLY and exchange not in _CASH:
        raise InvalidRequest(
            f"Product {product} is for shares (NSE, BSE); use MIS or NRML on {exchange}.",
            field="product",
        )
    if product is Product.NRML and exchange in _CASH:
        raise InvalidRequest(
            f"Product NRML is for derivatives; use MIS or CNC on {exchange}.", field="product"
        )


def exchange_of(text: str) -> Exchange:
    """The exchange of this code; `InvalidRequest` when there is none."""
    try:
        return Exchange(text)
    except ValueError:
        raise InvalidRequest(
            f"Exchange '{text}' is not known. Known: {', '.join(Exchange)}.", field="exchange"
        ) from None


def check_capabilities(draft: Draft, capabilities: Capabilities, title: str) -> None:
    """What the broker declares: exchanges, products, order types."""
    if exchange_of(draft.exchange) not in capabilities.exchanges:
        raise InvalidRequest(f"{title} does not serve {draft.exchange}.", field="exchange")
    if draft.product not in capabilities.products:
        raise InvalidRequest(f"{title} does not offer product {draft.product}.", field="product")
    if draft.order_type not in capabilities.order_types:
        raise InvalidRequest(
            f"{_NAMES[draft.order_type]} is not offered by {title}.", field="order_type"
        )


def check_instrument(draft: Draft, record: Record, info: BrokerInfo) -> tuple[str, ...]:
    """The instrument: tradable, lot multiple, freeze quantity, tick size. Returns warnings."""
    if not record.tradable:
        raise InvalidRequest(
            f"'{draft.symbol}' on '{draft.exchange}' cannot be traded here: it is not an ordinary "
            "instrument, or its name does not identify one instrument.",
            field="symbol",
        )
    lot = quantity_step(record, info)
    if draft.quantity % lot:
        raise InvalidRequest(
            f"Quantity must be in multiples of lot size {lot} for '{draft.symbol}'.",
            field="quantity",
        )
    if draft.disclosed_quantity % lot:
        raise InvalidRequest(
            f"The disclosed quantity must be in multiples of lot size {lot} for '{draft.symbol}'.",
            field="disclosed_quantity",
        )
    most = largest_order(record, info)
    if most is not None and draft.quantity > most:
        raise InvalidRequest(
            f"Quantity {draft.quantity} exceeds the exchange's freeze quantity: one order of "
            f"'{draft.symbol}' may have at most {most}. Split the order, or "
            "ask for it with auto_slice.",
            field="quantity",
        )
    for field, value in (("price", draft.price), ("trigger_price", draft.trigger_price)):
        if value and record.tick_size > 0 and value % record.tick_size:
            raise InvalidRequest(
                f"The {field} must be a multiple of the tick size {_plain(record.tick_size)} "
                f"for '{draft.symbol}'.",
                field=field,
            )
    return _band_warnings(draft, record)


def quantity_step(record: Record, info: BrokerInfo) -> int:
    """What quantities are multiples of: the lot, or 1 where the venue counts lots itself."""
    in_lots = info.quantity_units.get(record.ref.exchange) == "lots"
    return 1 if in_lots else max(1, record.lotsize)


def largest_order(record: Record, info: BrokerInfo) -> int | None:
    """The largest whole-lot quantity of one order, in the venue's unit; None when not published."""
    if not record.freeze_qty or record.freeze_qty < 1:
        return None
    lot = max(1, record.lotsize)
    lots = record.freeze_qty // lot
    if info.quantity_units.get(record.ref.exchange) == "lots":
        return max(1, lots)
    return max(lot, lots * lot)


def _band_warnings(draft: Draft, record: Record) -> tuple[str, ...]:
    low, high = record.price_low, record.price_high
    if not draft.price or low is None or high is None or high <= 0 or low <= draft.price <= high:
        return ()
    warning = (
        f"The price {_plain(draft.price)} lies outside the morning's band of {_plain(low)} to "
        f"{_plain(high)} for '{draft.symbol}'; the exchange may refuse it."
    )
    return (warning,)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def to_request(draft: Draft, ref: InstrumentRef) -> OrderRequest:
    """The order in the broker interface's terms."""
    return OrderRequest(
        instrument=ref,
        side=draft.side,
        order_type=draft.order_type,
        product=draft.product,
        quantity=draft.quantity,
        price=draft.price,
        trigger_price=draft.trigger_price,
        disclosed_quantity=draft.disclosed_quantity,
        validity=draft.validity,
    )
