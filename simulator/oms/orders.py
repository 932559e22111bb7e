"""Orders, their state reports, and executions (§5.3, §17.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from simulator.market.instruments import Instrument

if TYPE_CHECKING:
    from simulator.oms.accounts import Account

PENDING_NEW = "PendingNew"
NEW = "New"
PARTIAL = "PartiallyFilled"
FILLED = "Filled"
PENDING_REPLACE = "PendingReplace"
REPLACED = "Replaced"
PENDING_CANCEL = "PendingCancel"
CANCELLED = "Cancelled"
REJECTED = "Rejected"

LIVE = frozenset({NEW, PARTIAL, REPLACED})
TERMINAL = frozenset({FILLED, CANCELLED, REJECTED})

BUY, SELL = "BUY", "SELL"
MARKET, LIMIT, STOP_MARKET, STOP_LIMIT = "MARKET", "LIMIT", "STOPMARKET", "STOPLIMIT"
TYPE_LABELS = {
    MARKET: "Market",
    LIMIT: "Limit",
    STOP_MARKET: "StopMarket",
    STOP_LIMIT: "StopLimit",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """The validated terms of a place or modify request."""

    order_type: str
    product: str
    tif: str
    quantity: int
    disclosed: int
    price: float
    stop_price: float
    tag: str


class Report(NamedTuple):
    """One state of an order, as history shows it; `at` is Unix seconds, `mono` monotonic."""

    sequence: int
    at: float
    mono: float
    status: str
    quantity: int
    filled: int
    average: float
    price: float
    stop_price: float
    order_type: str
    product: str
    tif: str
    disclosed: int
    reason: str
    exchange_id: str
    tag: str


@dataclass(slots=True, eq=False)
class Order:
    """An order; `account` is None for rows injected from elsewhere (foreign)."""

    app_id: int
    account: Account | None
    client: str
    login: str
    instrument: Instrument
    side: str
    order_type: str
    product: str
    tif: str
    quantity: int
    disclosed: int
    price: float
    stop_price: float
    tag: str
    source: str
    generated_by: str
    created: float
    status: str = PENDING_NEW
    filled: int = 0
    average: float = 0.0
    reason: str = ""
    exchange_id: str = ""
    triggered: bool = False
    blocked: float = 0.0
    executions: int = 0
    reports: list[Report] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    row: bytes | None = None
    row_version: int = -1

    @property
    def segment(self) -> str:
        return self.instrument.segment

    @property
    def token(self) -> int:
        return self.instrument.token

    @property
    def leaves(self) -> int:
        return self.quantity - self.filled

    @property
    def sign(self) -> int:
        return 1 if self.side == BUY else -1

    @property
    def foreign(self) -> bool:
        return self.account is None

    def terms(self) -> Terms:
        """The terms in force."""
        return Terms(
            self.order_type,
            self.product,
            self.tif,
            self.quantity,
            self.disclosed,
            self.price,
            self.stop_price,
            self.tag,
        )

    def adopt(self, terms: Terms) -> None:
        """Put new terms in force (the identifier stays)."""
        self.order_type, self.product, self.tif = terms.order_type, terms.product, terms.tif
        self.quantity, self.disclosed = terms.quantity, terms.disclosed
        self.price, self.stop_price = terms.price, terms.stop_price

    def report(self, sequence: int, at: float, mono: float) -> Report:
        """Append the current state to the history."""
        made = Report(
            sequence,
            at,
            mono,
            self.status,
            self.quantity,
            self.filled,
            self.average,
            self.price,
            self.stop_price,
            self.order_type,
            self.product,
            self.tif,
            self.disclosed,
            self.reason,
            self.exchange_id,
            self.tag,
        )
        self.reports.append(made)
        self.row = None
        return made

    def as_of(self, mono: float) -> Report | None:
        """The state at a monotonic moment, None when the order did not exist yet."""
        known: Report | None = None
        for report in self.reports:
            if report.mono > mono:
                break
            known = report
        return known


@dataclass(slots=True, eq=False)
class Trade:
    """One execution of an order, with the order's state right after it."""

    order: Order
    execution_id: str
    index: int
    quantity: int
    price: float
    report: Report
    row: bytes | None = None
    row_version: int = -1
