"""A venue that trades, in memory, with scripted faults; and the order services over it.

`TradingVenue.script("place", "accept_lost")` makes the next place request accept the order and lose
the answer. Market orders fill at once unless `fill_market` is off; limits rest; stops wait.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from broker.base import (
    AccountConfig,
    Broker,
    BrokerInfo,
    Capabilities,
    Clock,
    Deadline,
    Operation,
    Priority,
    Runtime,
    Slot,
)
from broker.errors import (
    BrokerBusy,
    BrokerError,
    CircuitOpen,
    ConnectFailed,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SessionExpired,
)
from broker.models import (
    Exchange,
    Found,
    Funds,
    Holding,
    InstrumentRef,
    ModifyRequest,
    NotSeen,
    Order,
    OrderRequest,
    OrderState,
    OrderType,
    Position,
    Product,
    Quote,
    Side,
    Trade,
    Validity,
)
from database.engine import Database
from services.order_models import OrderDraft
from tests.support.processes import Process
from tests.support.stacks import BASE_URL, Stack, environment
from tests.support.symbols import SYMBOLS, FakeSymbols, ref_of
from tests.support.venue import VENUES, Plugins, Venue, VenueBroker, quote_of

ZERO = Decimal(0)
LOST = "Connection timeout: the broker did not answer."


@dataclass
class TradingVenue(Venue):
    """Orders, positions and the wire, as the venue itself sees them."""

    book: list[Order] = field(default_factory=list)
    opening: dict[tuple[InstrumentRef, Product], int] = field(default_factory=dict)
    scripts: dict[str, deque[str | BrokerError]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    wire: list[tuple[str, str]] = field(default_factory=list)
    placed: list[tuple[str, OrderRequest]] = field(default_factory=list)
    modified: list[ModifyRequest] = field(default_factory=list)
    cancelled: list[tuple[str, str | None]] = field(default_factory=list)
    reserved: list[tuple[Operation, Priority, bool]] = field(default_factory=list)
    slots_out: int = 0
    no_slot_at_once: int = 0
    fill_market: bool = True
    effective: bool = True
    hidden: dict[str, int] = field(default_factory=dict)
    lagging: dict[str, int] = field(default_factory=dict)
    foreign: list[Order] = field(default_factory=list)
    holdings_held: list[Holding] = field(default_factory=list)
    next_id: int = 1210000001
    during: dict[str, threading.Event] = field(default_factory=dict)

    def script(self, operation: str, *faults: str | BrokerError) -> None:
        """What the next requests of an operation run into, one each; "" is no fault."""
        self.scripts[operation].extend(faults)

    def calls(self, operation: str) -> int:
        """How many requests of this operation were on the wire."""
        return sum(name == operation for name, _ in self.wire)

    def fault(self, operation: str, detail: str = "") -> str | BrokerError:
        """Count a request, and what it runs into."""
        with self.lock:
            self.wire.append((operation, detail))
            script = self.scripts[operation]
            return script.popleft() if script else ""

    def add(self, order: OrderRequest, tag: str, client: str = "*****") -> Order:
        """A new row in the book."""
        now = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
        with self.lock:
            order_id = str(self.next_id)
            self.next_id += 1
        state = {
            OrderType.MARKET: OrderState.OPEN, OrderType.LIMIT: OrderState.OPEN,
        }.get(order.order_type, OrderState.TRIGGER_PENDING)
        row = Order(
            order_id, tag, order.instrument, f"BROKER {order.instrument.token}", order.side,
            order.order_type, order.product, order.validity, order.quantity, 0, order.quantity,
            order.price, order.trigger_price, ZERO, state, "New", "", "", client, "DEALER1",
            now, now, order.disclosed_quantity,
        )
        with self.lock:
            self.book.append(row)
        if order.order_type is OrderType.MARKET and self.fill_market:
            return self.fill(order_id)
        return row

    def change(self, order_id: str, **values: object) -> Order:
        """Change a row in place."""
        with self.lock:
            index = next(i for i, row in enumerate(self.book) if row.order_id == order_id)
            self.book[index] = replace(self.book[index], **values)  # type: ignore[arg-type]
            return self.book[index]

    def fill(self, order_id: str, quantity: int | None = None) -> Order:
        """Fill an order, wholly or so many units of it, at 100."""
        row = self.row(order_id)
        filled = row.filled_quantity + (quantity or row.pending_quantity)
        state = OrderState.FILLED if filled == row.quantity else OrderState.OPEN
        return self.change(
            order_id, filled_quantity=filled, pending_quantity=row.quantity - filled,
            average_price=Decimal(100), state=state,
        )

    def row(self, order_id: str) -> Order:
        return next(row for row in self.book if row.order_id == order_id)

    def with_tag(self, tag: str) -> list[Order]:
        return [row for row in self.book if row.tag == tag]

    def net(self) -> dict[tuple[InstrumentRef, Product], int]:
        """Net positions: what was there, and every fill."""
        return {key: bought - sold for key, (bought, sold) in self.traded(lag=False).items()}

    def traded(
        self, *, day: bool = False, lag: bool = True
    ) -> dict[tuple[InstrumentRef, Product], tuple[int, int]]:
        """Bought and sold by key: every fill, and without `day` what was there before.

        With `lag` the orders in `lagging` have not reached the position book yet.
        """
        found: dict[tuple[InstrumentRef, Product], tuple[int, int]] = {}
        if not day:
            found = {key: (max(0, had), max(0, -had)) for key, had in self.opening.items()}
        for row in self.book:
            key = row.instrument, row.product
            bought, sold = found.get(key, (0, 0))
            filled = row.filled_quantity
            if lag and self.lagging.get(row.order_id, 0) > 0:
                filled = 0
            found[key] = (
                (bought + filled, sold) if row.side is Side.BUY else (bought, sold + filled)
            )
        if lag:
            self.lagging = {order: reads - 1 for order, reads in self.lagging.items()}
        return found


class FakeSlot(Slot):
    """A slot that the venue counts."""

    def __init__(self, venue: TradingVenue) -> None:
        self._venue = venue
        self._out = 1
        venue.slots_out += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._venue.slots_out -= self._out
        self._out = 0


class TradingBroker(VenueBroker):
    """The adapter to a `TradingVenue`."""

    info: ClassVar[BrokerInfo] = replace(
        VenueBroker.info, quantity_units={Exchange.MCX: "lots"}
    )
    capabilities: ClassVar[Capabilities] = replace(
        VenueBroker.capabilities,
        exchanges=frozenset({Exchange.NSE, Exchange.NFO, Exchange.MCX, Exchange.NSE_INDEX}),
        products=frozenset({Product.CNC, Product.MIS, Product.NRML}),
    )
    venue: TradingVenue

    def __init__(self, account: AccountConfig, runtime: Runtime) -> None:
        super().__init__(account, runtime)
        self._clock: Clock = runtime.clock

    def reserve(
        self, operation: Operation, *, priority: Priority, deadline: Deadline, wait: bool = True
    ) -> Slot:
        self.venue.reserved.append((operation, priority, wait))
        if not wait and self.venue.no_slot_at_once:
            self.venue.no_slot_at_once -= 1
            raise BrokerBusy("No slot now.", retry_after=0.1)
        fault = self.venue.fault("reserve" if wait else "reserve at once")
        if isinstance(fault, BrokerError):
            raise fault
        if fault == "slow":
            self._clock.sleep(9.8)
        return FakeSlot(self.venue)

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        with slot:
            self._demand()
            self.venue.placed.append((tag, order))
            return self._submit("place", tag, lambda: self.venue.add(order, tag).order_id)

    def modify(self, change: ModifyRequest, *, slot: Slot, deadline: Deadline) -> str:
        def apply() -> str:
            if self.venue.effective:
                row = self.venue.row(change.order_id)
                self.venue.change(
                    change.order_id, quantity=change.quantity, price=change.price,
                    trigger_price=change.trigger_price, order_type=change.order_type,
                    pending_quantity=change.quantity - row.filled_quantity,
                )
            return change.order_id

        with slot:
            self._demand()
            self.venue.modified.append(change)
            return self._submit("modify", change.order_id, apply)

    def cancel(self, order_id: str, *, client: str | None, slot: Slot, deadline: Deadline) -> str:
        def apply() -> str:
            row = next((row for row in self.venue.book if row.order_id == order_id), None)
            if row is None:
                raise NotFound("Order not found")
            if not row.state.is_open:
                raise Refused(f"Order is already {row.state.value}")
            if self.venue.effective:
                self.venue.change(order_id, state=OrderState.CANCELLED)
            return order_id

        with slot:
            self._demand()
            self.venue.cancelled.append((order_id, client))
            return self._submit("cancel", order_id, apply)

    def _submit(self, operation: str, detail: str, apply: object) -> str:
        assert callable(apply)
        fault = self.venue.fault(operation, detail)
        event = self.venue.during.get(operation)
        if event is not None:
            event.wait(10)
        if isinstance(fault, BrokerError):
            raise fault
        before = {
            "lost": OutcomeUnknown(LOST), "refuse": Refused("OEMS:RMS : Margin Exceeds"),
            "connect": ConnectFailed("The broker cannot be reached."),
            "circuit": CircuitOpen("The broker is failing.", retry_after=5.0),
            "rate_limit": RateLimited("Rate Limit reached", code="e-apirl-0004"),
        }
        if fault in before:
            raise before[fault]
        if fault == "dead":
            self.venue.kill()
            raise SessionExpired("Invalid Token", code="e-session-0007")
        if fault == "drop":
            with self.venue.lock:
                self.venue.next_id += 1
                return str(self.venue.next_id - 1)
        order_id: str = apply()
        if fault.startswith("late"):
            self.venue.hidden[order_id] = int(fault.partition(":")[2])
            raise OutcomeUnknown(LOST)
        if fault == "hang":
            self._clock.sleep(7.0)
            raise OutcomeUnknown(LOST)
        after: dict[str, Exception] = {
            "accept_lost": OutcomeUnknown(LOST), "crash": RuntimeError("a bug"),
            "rate_limit_booked": RateLimited("Rate Limit reached", code="e-apirl-0004"),
        }
        if fault in after:
            raise after[fault]
        if fault == "dead_booked":
            self.venue.kill()
            raise SessionExpired("Invalid Token", code="e-session-0007")
        if fault == "reject_later":
            self.venue.change(
                order_id, state=OrderState.REJECTED, reason="RED:Margin Shortfall:INR 5"
            )
        if fault == "pending":
            self.venue.change(order_id, state=OrderState.PENDING)
        return "" if fault == "no_id" else order_id

    def _read(self, operation: str) -> None:
        self._demand()
        fault = self.venue.fault(operation)
        event = self.venue.during.get(operation)
        if event is not None:
            event.wait(10)
        if isinstance(fault, BrokerError):
            raise fault
        if fault == "fail":
            raise OutcomeUnknown("The broker answered with an HTML page.")
        if fault == "dead":
            self.venue.kill()
            raise SessionExpired("Invalid Token", code="e-session-0007")

    def orders(self, *, deadline: Deadline) -> list[Order]:
        self._read("orders")
        with self.venue.lock:
            shown = []
            for row in self.venue.book:
                if self.venue.hidden.get(row.order_id, 0) > 0:
                    self.venue.hidden[row.order_id] -= 1
                else:
                    shown.append(row)
        return shown

    def find(self, tag: str, *, deadline: Deadline) -> Found | NotSeen:
        self._read("find")
        with self.venue.lock:
            rows = [
                row for row in (*self.venue.book, *self.venue.foreign)
                if row.tag == tag and not self.venue.hidden.get(row.order_id)
            ]
        now = self._clock.now()
        return Found(rows[0], now) if rows else NotSeen(now)

    def trades(self, *, deadline: Deadline) -> list[Trade]:
        self._read("trades")
        return [
            Trade(
                f"T{row.order_id}", row.order_id, row.tag, row.instrument, row.broker_symbol,
                row.side, row.product, row.filled_quantity, row.average_price, row.client,
                row.updated_at,
            )
            for row in self.venue.book if row.filled_quantity
        ]

    def positions(self, *, deadline: Deadline, day: bool = False) -> list[Position]:
        self._read("positions")
        return [
            Position(
                ref, f"BROKER {ref.token}", product, bought - sold, bought, sold,
                Decimal(100), Decimal(100), Decimal(1), None, None, "*****",
            )
            for (ref, product), (bought, sold) in self.venue.traded(day=day).items()
        ]

    def holdings(self, *, deadline: Deadline) -> list[Holding]:
        self._read("holdings")
        return list(self.venue.holdings_held)

    def funds(self, *, deadline: Deadline) -> Funds:
        self._read("funds")
        return Funds(Decimal(1000), ZERO, ZERO, ZERO, ZERO)

    def quotes(
        self, instruments: Iterable[InstrumentRef], *, deadline: Deadline
    ) -> dict[InstrumentRef, Quote]:
        self._read("quotes")
        return {ref: replace(quote_of(ref), last_price=Decimal(110)) for ref in instruments}


class TradingPlugins(Plugins):
    """The registry with brokers that trade."""

    brokers: ClassVar[dict[str, type[Broker]]] = {"jainam_prop": TradingBroker}


class Trader(Process):
    """One process of a gateway that trades at the `TradingVenue`."""

    def __init__(
        self, database: Database, folder: Path, clock: Clock, **variables: str
    ) -> None:
        found = VENUES.get(BASE_URL)
        if not isinstance(found, TradingVenue):
            found = VENUES[BASE_URL] = TradingVenue()
        self.venue = found
        self.stack_folder = folder
        self.symbols = FakeSymbols()
        super().__init__(
            Stack(
                database, folder, clock, registry=TradingPlugins(),
                variables=environment(**variables),
            ),
            self.symbols,  # type: ignore[arg-type]
        )


def draft(
    side: Side = Side.BUY,
    quantity: int = 10,
    *,
    symbol: str = "INFY",
    exchange: str = "NSE",
    order_type: OrderType = OrderType.MARKET,
    product: Product = Product.MIS,
    price: str = "0",
    trigger_price: str = "0",
    disclosed_quantity: int = 0,
    strategy: str = "tests",
) -> OrderDraft:
    """An order draft with sensible defaults."""
    return OrderDraft(
        symbol, exchange, side, order_type, product, quantity, Decimal(price),
        Decimal(trigger_price), disclosed_quantity, strategy,
    )


def request(
    side: Side, quantity: int, symbol: str = "INFY", *,
    order_type: OrderType = OrderType.MARKET, product: Product = Product.MIS, price: str = "0",
) -> OrderRequest:
    """An order as somebody else's terminal sends it."""
    return OrderRequest(
        ref_of(symbol), side, order_type, product, quantity, Decimal(price),
        validity=Validity.DAY,
    )


__all__ = [
    "LOST", "SYMBOLS", "FakeSymbols", "Trader", "TradingBroker", "TradingVenue", "draft",
    "ref_of", "request",
]
