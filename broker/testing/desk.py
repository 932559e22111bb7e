"""A `Desk`: one broker object under test with its clock, its observer and short ways to use it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from broker.base import AccountConfig, Broker, Clock, Deadline, Operation, Priority, Runtime
from broker.models import (
    ModifyRequest,
    Order,
    OrderRequest,
    OrderType,
    Product,
    Secret,
    Session,
    Side,
)
from broker.slots import MemorySlotStore
from broker.testing.clocks import RealClock
from broker.testing.harness import BrokerHarness, Listed

T = TypeVar("T")
PATIENCE = 8.0
"""Seconds that a call of a card may take unless it says otherwise."""


@dataclass
class Watch:
    """An observer that remembers: calls as (operation, outcome), anomalies as (what, detail)."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    waits: list[tuple[str, float]] = field(default_factory=list)
    anomalies: list[tuple[str, str]] = field(default_factory=list)

    def call(self, account: str, operation: str, outcome: str, seconds: float) -> None:
        """Remember a call."""
        self.calls.append((operation, outcome))

    def waited(self, account: str, operation: str, seconds: float) -> None:
        """Remember a wait."""
        self.waits.append((operation, seconds))

    def anomaly(self, account: str, what: str, detail: str) -> None:
        """Remember an anomaly."""
        self.anomalies.append((what, detail))


class Desk:
    """One account's broker object. `order` is a resting one-lot LIMIT buy unless told otherwise."""

    def __init__(self, harness: BrokerHarness, account: AccountConfig, **runtime: object) -> None:
        self.harness = harness
        self.account = account
        self.clock: Clock = RealClock()
        self.watch = Watch()
        self.runtime = Runtime(
            clock=self.clock,
            slots=MemorySlotStore(self.clock),
            observer=self.watch,
            **runtime,  # type: ignore[arg-type]
        )
        self.broker: Broker = harness.broker(account, self.runtime)

    def open(self) -> Session:
        """Log in and attach."""
        session = self.broker.login()
        self.broker.attach(session)
        return session

    def deadline(self, seconds: float = PATIENCE) -> Deadline:
        """So many seconds from now."""
        return Deadline(self.clock, seconds)

    @property
    def equity(self) -> Listed:
        """The first instrument of the double."""
        return self.harness.listed()[0]

    def terms(
        self,
        listed: Listed | None = None,
        order_type: OrderType = OrderType.LIMIT,
        *,
        product: Product | None = None,
        side: Side = Side.BUY,
        lots: int = 1,
        away: int = 20,
    ) -> OrderRequest:
        """An order `away` ticks from the last price, on the side where it does not trade."""
        chosen = listed or self.equity
        passive = chosen.last - chosen.tick * away
        stop = chosen.last + chosen.tick * away
        if side is Side.SELL:
            passive, stop = stop, passive
        limit = stop if order_type.needs_trigger else passive
        return OrderRequest(
            instrument=chosen.ref,
            side=side,
            order_type=order_type,
            product=product or chosen.products[0],
            quantity=chosen.lot * lots,
            price=limit if order_type.needs_price else Decimal(0),
            trigger_price=stop if order_type.needs_trigger else Decimal(0),
        )

    def place(
        self,
        order: OrderRequest | None = None,
        tag: str = "",
        *,
        priority: Priority = Priority.ENTRY,
        seconds: float = PATIENCE,
    ) -> str:
        """Reserve and place; returns the venue's order id."""
        deadline = self.deadline(seconds)
        slot = self.broker.reserve(Operation.PLACE, priority=priority, deadline=deadline)
        return self.broker.place(
            order or self.terms(), tag or new_tag(), slot=slot, deadline=deadline
        )

    def modify(self, change: ModifyRequest, *, seconds: float = PATIENCE) -> str:
        """Reserve and modify."""
        deadline = self.deadline(seconds)
        slot = self.broker.reserve(Operation.MODIFY, priority=Priority.ENTRY, deadline=deadline)
        return self.broker.modify(change, slot=slot, deadline=deadline)

    def cancel(
        self, order_id: str, *, client: str | None = None, seconds: float = PATIENCE
    ) -> str:
        """Reserve and cancel."""
        deadline = self.deadline(seconds)
        slot = self.broker.reserve(Operation.CANCEL, priority=Priority.EXIT, deadline=deadline)
        return self.broker.cancel(order_id, client=client, slot=slot, deadline=deadline)

    def orders(self) -> dict[str, Order]:
        """The order book by order id."""
        return {order.order_id: order for order in self.broker.orders(deadline=self.deadline())}

    def order(self, order_id: str) -> Order:
        """One order of the book; it may take a moment to show up."""
        return self.eventually(lambda: self.orders().get(order_id), f"order {order_id}")

    def eventually(self, ask: Callable[[], T | None], what: str) -> T:
        """What `ask` returns once it is not None; venues show some things a moment later."""
        deadline = self.deadline(5.0)
        while True:
            found = ask()
            if found is not None:
                return found
            if deadline.expired:
                raise AssertionError(f"{what} never came")
            self.clock.sleep(0.02)


def change_of(order: Order, **new: object) -> ModifyRequest:
    """The change that leaves an order as it is, but for `new`."""
    terms: dict[str, object] = {
        "order_id": order.order_id,
        "order_type": order.order_type,
        "product": order.product,
        "quantity": order.quantity,
        "price": order.price,
        "trigger_price": order.trigger_price,
        "validity": order.validity,
        "tag": order.tag,
        "client": order.client,
    }
    terms.update(new)
    return ModifyRequest(**terms)  # type: ignore[arg-type]


def new_tag() -> str:
    """Twenty characters that nobody used before."""
    return secrets.token_hex(10)


def hidden(account: AccountConfig) -> list[str]:
    """Every secret of an account, as text that must never be seen."""
    return [value.reveal() for value in account.credentials.values() if isinstance(value, Secret)]
