"""The typed, immutable models that cross the border between an adapter and everything else.

Money is `Decimal` rupees, quantities are whole units as the venue counts them for the exchange
(shares, or contracts times lot size; see `BrokerInfo.quantity_units`), times are aware datetimes.
No wire name of any broker appears here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

ZERO = Decimal(0)


class Secret:
    """A credential or token that can be used but never printed, logged, pickled or formatted."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself; call it only where it is put on the wire or encrypted."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")


class Exchange(StrEnum):
    """Exchange segments in the field's usual codes (NFO = NSE futures and options, and so on)."""

    NSE = "NSE"
    BSE = "BSE"
    NFO = "NFO"
    BFO = "BFO"
    CDS = "CDS"
    BCD = "BCD"
    MCX = "MCX"
    NCDEX = "NCDEX"
    NCO = "NCO"
    NSE_INDEX = "NSE_INDEX"
    BSE_INDEX = "BSE_INDEX"
    MCX_INDEX = "MCX_INDEX"

    @property
    def is_index(self) -> bool:
        """Whether instruments here can be quoted but never traded."""
        return self in _INDEX_EXCHANGES

    @property
    def is_derivative(self) -> bool:
        """Whether instruments here are futures and options."""
        return self in _DERIVATIVE_EXCHANGES


_INDEX_EXCHANGES = frozenset({Exchange.NSE_INDEX, Exchange.BSE_INDEX, Exchange.MCX_INDEX})
_DERIVATIVE_EXCHANGES = frozenset(
    {Exchange.NFO, Exchange.BFO, Exchange.CDS, Exchange.BCD}
    | {Exchange.MCX, Exchange.NCDEX, Exchange.NCO}
)


class Side(StrEnum):
    """Which way an order or trade goes."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order is priced. STOP_LIMIT is the trader's SL, STOP_MARKET the SL-M."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_LIMIT = "STOP_LIMIT"
    STOP_MARKET = "STOP_MARKET"

    @property
    def needs_price(self) -> bool:
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT)

    @property
    def needs_trigger(self) -> bool:
        return self in (OrderType.STOP_LIMIT, OrderType.STOP_MARKET)


class Product(StrEnum):
    """CNC = delivery, NRML = carried forward, MIS = intraday, MTF = margin trading facility."""

    CNC = "CNC"
    NRML = "NRML"
    MIS = "MIS"
    MTF = "MTF"


class Validity(StrEnum):
    """How long an order lives."""

    DAY = "DAY"
    IOC = "IOC"


class OrderState(StrEnum):
    """Where an order stands at the venue. Partial fills are told by quantities, never by state.

    UNRECOGNISED is a state that the adapter has never seen: the order counts as open (visible and
    cancellable) and the adapter's observer is told, so that it becomes an alarm.
    """

    PENDING = "PENDING"
    OPEN = "OPEN"
    TRIGGER_PENDING = "TRIGGER_PENDING"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    UNRECOGNISED = "UNRECOGNISED"

    @property
    def is_open(self) -> bool:
        return self not in _TERMINAL_STATES


_TERMINAL_STATES = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED})


class InstrumentKind(StrEnum):
    """What an instrument is. SPREAD is its own kind: it shares names with its near-leg future."""

    EQUITY = "EQUITY"
    FUTURE = "FUTURE"
    OPTION = "OPTION"
    SPREAD = "SPREAD"
    INDEX = "INDEX"
    DEBT = "DEBT"
    FUND = "FUND"
    SPOT = "SPOT"
    OTHER = "OTHER"


class OptionType(StrEnum):
    """Call or put, European."""

    CE = "CE"
    PE = "PE"


class InstrumentRef(NamedTuple):
    """What a venue needs to name one instrument: the exchange and its token, always text."""

    exchange: Exchange
    token: str


class Instrument(NamedTuple):
    """One row of a master contract, still in the broker's vocabulary of names.

    A named tuple and not a dataclass: 200,000 of them are made in a second or two.

    `root` is the underlying's or the company's trading symbol ("NIFTY", "M&M"); `series` the cash
    series or group ("EQ", "BE", "A") or the derivative series. `tick_size` and the price band are
    rupees, `lot_size` units, `freeze_quantity` the largest quantity of one order in units (None:
    not published), `multiplier` the value of one unit's one-rupee move in rupees.
    """

    exchange: Exchange
    token: str
    kind: InstrumentKind
    root: str
    series: str
    broker_segment: str
    broker_symbol: str
    description: str
    isin: str
    expiry: date | None
    strike: Decimal | None
    option_type: OptionType | None
    tick_size: Decimal
    lot_size: int
    freeze_quantity: int | None
    multiplier: Decimal
    price_low: Decimal | None
    price_high: Decimal | None

    @property
    def ref(self) -> InstrumentRef:
        return InstrumentRef(self.exchange, self.token)


class BadRow(NamedTuple):
    """A master-contract row that could not be read: skipped, counted and kept for the report."""

    segment: str
    line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order to place. Prices in rupees, 0 where the type has none; quantities in units."""

    instrument: InstrumentRef
    side: Side
    order_type: OrderType
    product: Product
    quantity: int
    price: Decimal = ZERO
    trigger_price: Decimal = ZERO
    disclosed_quantity: int = 0
    validity: Validity = Validity.DAY


@dataclass(frozen=True, slots=True)
class ModifyRequest:
    """New terms for an open order; `quantity` is the new total, not the remainder.

    `client` is the account code under which the order stands in the book (`Order.client`), for
    venues that want the order's own client repeated; None where the default of the account holds.
    """

    order_id: str
    order_type: OrderType
    product: Product
    quantity: int
    price: Decimal = ZERO
    trigger_price: Decimal = ZERO
    disclosed_quantity: int = 0
    validity: Validity = Validity.DAY
    tag: str = ""
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One row of the order book.

    `average_price` is the volume-weighted fill price in rupees, 0 while nothing is filled.
    `state_text` keeps the venue's own word for `state`; `reason` the venue's words for a rejection
    or cancellation. `tag` is what we sent as the order's identifier, empty for foreign orders.
    """

    order_id: str
    tag: str
    instrument: InstrumentRef
    broker_symbol: str
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
    exchange_order_id: str
    client: str
    login: str
    placed_at: datetime | None
    updated_at: datetime | None
    disclosed_quantity: int = 0


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution: `price` in rupees, `quantity` in units."""

    trade_id: str
    order_id: str
    tag: str
    instrument: InstrumentRef
    broker_symbol: str
    side: Side
    product: Product
    quantity: int
    price: Decimal
    client: str
    traded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Position:
    """A net or day position; `quantity` is signed. P&L is the venue's own, None when not sent."""

    instrument: InstrumentRef
    broker_symbol: str
    product: Product
    quantity: int
    buy_quantity: int
    sell_quantity: int
    buy_average: Decimal
    sell_average: Decimal
    multiplier: Decimal
    realised: Decimal | None
    unrealised: Decimal | None
    client: str

    @property
    def average_price(self) -> Decimal:
        """Average price of the open side in rupees; 0 when flat."""
        if self.quantity == 0:
            return ZERO
        return self.buy_average if self.quantity > 0 else self.sell_average


@dataclass(frozen=True, slots=True)
class Holding:
    """Shares in the demat account: instruments by exchange, units, and what is free to sell."""

    isin: str
    instruments: tuple[InstrumentRef, ...]
    quantity: int
    used_quantity: int
    average_price: Decimal
    client: str

    @property
    def sellable(self) -> int:
        return max(0, self.quantity - self.used_quantity)


@dataclass(frozen=True, slots=True)
class Funds:
    """Limits of the account in rupees."""

    available: Decimal
    collateral: Decimal
    utilised: Decimal
    realised: Decimal
    unrealised: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """Best prices and the day's figures; rupees and units. `oi` is None where not published."""

    instrument: InstrumentRef
    last_price: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    previous_close: Decimal
    bid: Decimal
    ask: Decimal
    volume: int
    oi: int | None
    last_quantity: int = 0
    average_price: Decimal = ZERO
    traded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """One price level of the order book at the venue."""

    price: Decimal
    quantity: int
    orders: int = 0


@dataclass(frozen=True, slots=True)
class Depth:
    """Best levels, nearest first, with the quote that came with them."""

    quote: Quote
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    total_bid_quantity: int
    total_ask_quantity: int


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar; `opened_at` is the aware start of the bar."""

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    oi: int


@dataclass(frozen=True, slots=True)
class Session:
    """What a login yields. `tokens` by API name; `details` are plain facts that help nobody steal.

    `details` holds for instance the login's user id and client codes. `expires_at` is when it must
    be assumed dead, `opened_at` when the login succeeded.
    """

    tokens: dict[str, Secret] = field(repr=False)
    details: dict[str, str]
    opened_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """Answer of a look-up by tag: the order, as the complete book read at `as_of` showed it."""

    order: Order
    as_of: datetime


@dataclass(frozen=True, slots=True)
class NotSeen:
    """Answer of a look-up by tag: a complete book, read at `as_of`, does not hold the tag."""

    as_of: datetime
