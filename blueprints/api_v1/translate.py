"""OpenAlgo's words on one side, the models' on the other. Tables without defaults.

A word that is in no table raises `KeyError`: the schemas let none through, and a new member of an
enumeration fails the test that compares the tables with the models.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from services.order_models import OrderDraft
from services.vocabulary import Exchange, OrderState, OrderType, Product, Side
from utils.clock import IST


class OrderTerms(Protocol):
    """The fields that every request for an order has (`schemas`)."""

    @property
    def symbol(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def pricetype(self) -> str: ...
    @property
    def product(self) -> str: ...
    @property
    def price(self) -> Decimal: ...
    @property
    def trigger_price(self) -> Decimal: ...
    @property
    def disclosed_quantity(self) -> int: ...


SIDES = {"BUY": Side.BUY, "buy": Side.BUY, "SELL": Side.SELL, "sell": Side.SELL}
ORDER_TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "SL": OrderType.STOP_LIMIT,
    "SL-M": OrderType.STOP_MARKET,
}
PRODUCTS = {"CNC": Product.CNC, "NRML": Product.NRML, "MIS": Product.MIS}
EXCHANGES = {exchange.value: exchange for exchange in Exchange}

ACTION_WORDS = {Side.BUY: "BUY", Side.SELL: "SELL"}
PRICETYPE_WORDS = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_LIMIT: "SL",
    OrderType.STOP_MARKET: "SL-M",
}
PRODUCT_WORDS = {product: product.value for product in Product}
STATUS_WORDS = {
    OrderState.PENDING: "open",
    OrderState.OPEN: "open",
    OrderState.TRIGGER_PENDING: "trigger pending",
    OrderState.FILLED: "complete",
    OrderState.CANCELLED: "cancelled",
    OrderState.REJECTED: "rejected",
    OrderState.UNRECOGNISED: "open",
}


def number(value: Decimal) -> float:
    """Money at the edge: a JSON number with the digits that it has, to four places."""
    return round(float(value), 4)


def money_text(value: Decimal) -> str:
    """Money as OpenAlgo's `funds` sends it: text with two decimals."""
    return f"{value:.2f}"


def moment(value: datetime | None) -> str:
    """A time as the order book shows it, in IST: `21-Nov-2026 10:15:00`; empty when unknown."""
    return "" if value is None else value.astimezone(IST).strftime("%d-%b-%Y %H:%M:%S")


def iso(value: datetime | None) -> str | None:
    """A time in ISO 8601 with its offset (IST), for fields that are ours."""
    return None if value is None else value.astimezone(IST).isoformat(timespec="milliseconds")


def candle_time(opened_at: datetime, interval: str) -> int:
    """Epoch seconds of a candle as the official client reads them back.

    Intraday: true UTC seconds of the opening. From a day on, the second at which a *UTC* clock
    shows the trading date at midnight, because the client keeps those without a zone (REST
    reference §7.3).
    """
    if interval in ("D", "W", "M"):
        day = opened_at.astimezone(IST)
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return int(opened_at.timestamp())


def draft_of(body: OrderTerms, quantity: int, strategy: str) -> OrderDraft:
    """The order that a request's fields describe."""
    return OrderDraft(
        symbol=body.symbol,
        exchange=body.exchange,
        side=SIDES[body.action],
        order_type=ORDER_TYPES[body.pricetype],
        product=PRODUCTS[body.product],
        quantity=quantity,
        price=body.price,
        trigger_price=body.trigger_price,
        disclosed_quantity=body.disclosed_quantity,
        strategy=strategy,
    )
