"""What the order services take and give: drafts, results, and the journal's view of an order.

Prices are rupees, quantities units as the venue counts them for the exchange. Words are those of
`broker.models`; the names of the HTTP interface stand in the blueprints alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from broker.models import ZERO, OrderType, Product, Side, Validity
from database.journal import Intent, IntentEvent

__all__ = [
    "NOWHERE", "CancelAllResult", "ChildResult", "ChildStatus", "Intent", "IntentEvent",
    "JournalView", "ModifyDraft", "OrderDraft", "Origin", "Placed", "Provenance", "SmartResult",
]


@dataclass(frozen=True, slots=True)
class OrderDraft:
    """An order as a client wants it, before it is held against the instrument."""

    symbol: str
    exchange: str
    side: Side
    order_type: OrderType
    product: Product
    quantity: int
    price: Decimal = ZERO
    trigger_price: Decimal = ZERO
    disclosed_quantity: int = 0
    strategy: str = ""
    validity: Validity = Validity.DAY


@dataclass(frozen=True, slots=True)
class ModifyDraft:
    """New terms for an open order: the whole order as it shall stand, total quantity included."""

    symbol: str
    exchange: str
    side: Side
    order_type: OrderType
    product: Product
    quantity: int
    price: Decimal = ZERO
    trigger_price: Decimal = ZERO
    disclosed_quantity: int = 0
    strategy: str = ""
    validity: Validity = Validity.DAY


class Origin(StrEnum):
    """Which kind of request an order came from."""

    ORDER = "order"
    SMART = "smart"
    BASKET = "basket"
    SPLIT = "split"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Whence an order comes: what the journal keeps beside its terms.

    `reference` is set when it was fixed beforehand (by an idempotency key): if the journal knows
    it, the request is answered from there and nothing is sent again. `parent` and `child_index`
    name the basket, split or exit that an order is part of.
    """

    request_id: str = ""
    client_order_id: str | None = None
    reference: str | None = None
    origin: Origin = Origin.ORDER
    parent: str | None = None
    child_index: int | None = None


NOWHERE = Provenance()


@dataclass(frozen=True, slots=True)
class Placed:
    """The broker accepted the request. `replayed`: told from the journal, nothing was sent now."""

    reference: str
    order_id: str
    replayed: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JournalView:
    """Everything the journal knows of one order: the intent and its events, oldest first.

    `account` is the account's label; `children` the orders that a composite was made into, for
    which there is no intent of its own.
    """

    account: str
    intent: Intent | None
    events: tuple[IntentEvent, ...]
    children: tuple[Intent, ...] = ()


class ChildStatus(StrEnum):
    """How one order of several ended. UNKNOWN: ask with the reference."""

    SUCCESS = "success"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ChildResult:
    """One order of several; `index` is its place in the request, from 0."""

    index: int
    symbol: str
    exchange: str
    product: str
    quantity: int
    status: ChildStatus
    order_id: str = ""
    reference: str = ""
    message: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class CancelAllResult:
    """What became of every order that was open when the book was read."""

    children: list[ChildResult] = field(default_factory=list)

    @property
    def cancelled(self) -> list[str]:
        return [c.order_id for c in self.children if c.status is ChildStatus.SUCCESS]

    @property
    def failed(self) -> list[str]:
        return [c.order_id for c in self.children if c.status is not ChildStatus.SUCCESS]


@dataclass(frozen=True, slots=True)
class SmartResult:
    """A smart order: `placed`, or `message` that says why nothing had to be done.

    `children` instead when it went out in parts, one row each.
    """

    placed: Placed | None
    message: str | None = None
    children: list[ChildResult] = field(default_factory=list)
