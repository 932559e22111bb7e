"""What the portfolio shows: the venue's rows, flat, with the symbol that clients know them by.

Named tuples, because a book of a thousand rows is made in a millisecond or two. `known` is False
where the master contract has no such token; `symbol` is then the broker's own name. Money is
rupees, `Decimal`; quantities are units.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from broker.models import OrderState, OrderType, Product, Side, Validity


class OrderView(NamedTuple):
    """An order. `ours`: it went through this gateway, under `reference` and `strategy`."""

    order_id: str
    symbol: str
    exchange: str
    known: bool
    side: Side
    order_type: OrderType
    product: Product
    validity: Validity
    quantity: int
    filled_quantity: int
    pending_quantity: int
    price: Decimal
    trigger_price: Decimal
    average_price: Decimal
    state: OrderState
    state_text: str
    reason: str
    placed_at: datetime | None
    updated_at: datetime | None
    ours: bool
    reference: str
    strategy: str


class TradeView(NamedTuple):
    """One execution."""

    trade_id: str
    order_id: str
    symbol: str
    exchange: str
    known: bool
    side: Side
    product: Product
    quantity: int
    price: Decimal
    traded_at: datetime | None
    ours: bool
    strategy: str

    @property
    def value(self) -> Decimal:
        """Rupees that changed hands."""
        return self.price * self.quantity


class PnlSource(StrEnum):
    """Whose number a profit or loss is.

    BROKER: the venue sent it. COMPUTED: from the averages and the last price, here. REALISED: from
    the averages alone, because there is no last price; what is open is not in it.
    """

    BROKER = "broker"
    COMPUTED = "computed"
    REALISED = "realised only"


class PositionView(NamedTuple):
    """A net position; `quantity` is signed. `ltp` is 0 where there was no last price to be had."""

    symbol: str
    exchange: str
    known: bool
    product: Product
    quantity: int
    buy_quantity: int
    sell_quantity: int
    average_price: Decimal
    ltp: Decimal
    pnl: Decimal
    pnl_source: PnlSource


class HoldingView(NamedTuple):
    """Shares held; `pnl` is computed, 0 where the cost or the last price is not known."""

    symbol: str
    exchange: str
    known: bool
    isin: str
    quantity: int
    sellable: int
    average_price: Decimal
    ltp: Decimal
    pnl: Decimal
    pnl_percent: Decimal
