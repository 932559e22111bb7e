"""Accounts of the shipped XTS brokers at a simulator, with short words for what tests do."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from broker.base import AccountConfig, Deadline, Operation, Priority, Runtime
from broker.jainam_prop.declaration import JainamProp
from broker.models import (
    Exchange,
    Found,
    InstrumentRef,
    Order,
    OrderRequest,
    OrderType,
    Product,
    Secret,
    Side,
)
from broker.slots import MemorySlotStore
from broker.wisdom.declaration import Wisdom
from broker.xts.broker import XtsBroker
from simulator.testing import Simulator, credential
from tests.support.waiting import wait_until
from tests.support.xts import Recorder
from utils.clock import SystemClock

RELIANCE = InstrumentRef(Exchange.NSE, "2885")


@dataclass(frozen=True)
class Venue:
    """A profile of the simulator, and the broker and cluster that speak to it."""

    profile: str
    broker: type[XtsBroker]
    cluster: str = ""


VENUES = {
    "a": Venue("jainam-a", JainamProp, "A"),
    "b": Venue("jainam-b", JainamProp, "B"),
    "c": Venue("jainam-c", JainamProp, "C"),
    "wisdom": Venue("generic-json", Wisdom),
}


class Account:
    """One logged-in account."""

    def __init__(
        self, simulator: Simulator, venue: str, login: str | None = None, **settings: Any
    ) -> None:
        known = VENUES[venue]
        self.profile = known.profile
        self.simulator = simulator
        self.observer = Recorder()
        self.clock = SystemClock()
        given = credential(known.profile, login)
        config: dict[str, Any] = {
            "label": f"{venue}-{login or 'first'}",
            "credentials": {
                "interactive_api_key": Secret(given["interactive_key"]),
                "interactive_api_secret": Secret(given["interactive_secret"]),
                "market_api_key": Secret(given["market_key"]),
                "market_api_secret": Secret(given["market_secret"]),
            },
            "cluster": known.cluster,
            "base_url": simulator.url,
            "orders_per_second": 1000,
            "published_limits": False,
            **settings,
        }
        self.runtime = Runtime(self.clock, MemorySlotStore(self.clock), self.observer)
        self.broker = known.broker(AccountConfig(**config), self.runtime)

    def connect(self) -> Account:
        self.broker.attach(self.broker.login())
        return self

    def deadline(self, seconds: float = 10.0) -> Deadline:
        return Deadline(self.clock, seconds)

    def place(self, order: OrderRequest, tag: str, seconds: float = 10.0) -> str:
        deadline = self.deadline(seconds)
        slot = self.broker.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=deadline)
        return self.broker.place(order, tag, slot=slot, deadline=deadline)

    def modify(self, change: Any, seconds: float = 10.0) -> str:
        deadline = self.deadline(seconds)
        slot = self.broker.reserve(Operation.MODIFY, priority=Priority.ENTRY, deadline=deadline)
        return self.broker.modify(change, slot=slot, deadline=deadline)

    def cancel(self, order_id: str, client: str | None = None, seconds: float = 10.0) -> str:
        deadline = self.deadline(seconds)
        slot = self.broker.reserve(Operation.CANCEL, priority=Priority.EXIT, deadline=deadline)
        return self.broker.cancel(order_id, client=client, slot=slot, deadline=deadline)

    def find(self, tag: str) -> Order | None:
        found = self.broker.find(tag, deadline=self.deadline())
        return found.order if isinstance(found, Found) else None

    def settled(self, tag: str, *words: str) -> Order:
        """The order, once it has come to one of these states of the venue."""
        found: list[Order] = []

        def there() -> bool:
            order = self.find(tag)
            if order is not None:
                found.append(order)
            return order is not None and order.state_text in words

        wait_until(there)
        return found[-1]

    def price(self, ref: InstrumentRef = RELIANCE) -> Decimal:
        """The instrument's last price."""
        return self.broker.quotes([ref], deadline=self.deadline())[ref].last_price

    def far(self, ref: InstrumentRef = RELIANCE, share: str = "0.97") -> Decimal:
        """A price on every tick, far below the market but inside the band."""
        return Decimal(int(self.price(ref) * Decimal(share)))

    def limit(self, quantity: int = 5, price: Decimal | None = None) -> OrderRequest:
        """A CNC limit order that rests."""
        return OrderRequest(
            RELIANCE,
            Side.BUY,
            OrderType.LIMIT,
            Product.CNC,
            quantity,
            price=self.far() if price is None else price,
        )

    def close(self) -> None:
        self.broker.close()
