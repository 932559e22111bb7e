"""A venue and its adapter in memory: one session per key, dead tokens, scripted login failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import ClassVar

from broker.base import (
    AccountConfig,
    Broker,
    BrokerInfo,
    Capabilities,
    Clock,
    CredentialField,
    Deadline,
    Operation,
    Priority,
    Runtime,
    Slot,
)
from broker.errors import BrokerError, LoginFailed, SessionExpired
from broker.models import (
    BadRow,
    Candle,
    Depth,
    Exchange,
    Found,
    Funds,
    Holding,
    Instrument,
    InstrumentRef,
    ModifyRequest,
    NotSeen,
    Order,
    OrderRequest,
    OrderType,
    Position,
    Product,
    Quote,
    Secret,
    Session,
    Trade,
)

ZERO = Decimal(0)
CREDENTIALS = {
    "interactive_api_key": "CANARY-interactive-key",
    "interactive_api_secret": "CANARY-interactive-secret",
    "market_api_key": "CANARY-market-key",
    "market_api_secret": "CANARY-market-secret",
}


@dataclass
class Venue:
    """One session per interactive key; the newest login wins."""

    live: dict[str, str] = field(default_factory=dict)
    logins: list[str] = field(default_factory=list)
    login_times: list[float | None] = field(default_factory=list)
    logouts: list[str] = field(default_factory=list)
    secret: str | None = None  # None: the right one for a key "…-key" is "…-secret"
    failures: list[BrokerError] = field(default_factory=list)
    lifetime: timedelta = timedelta(hours=10)
    gate: threading.Event | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    faults: list[str] = field(default_factory=list)
    quotes_asked: list[list[InstrumentRef]] = field(default_factory=list)

    def login(self, config: AccountConfig, clock: Clock) -> Session:
        key = config.credentials["interactive_api_key"].reveal()
        with self.lock:
            self.logins.append(key)
            number = len(self.logins)
            if self.failures:
                raise self.failures.pop(0)
            right = self.secret or key.replace("-key", "-secret")
            if config.credentials["interactive_api_secret"].reveal() != right:
                raise LoginFailed("Authentication failed: Invalid credentials")
            token = f"CANARY-token-{number}-{key}"
            self.live[key] = token
        if self.gate is not None:
            self.gate.wait(10)
        now = clock.now()
        return Session(
            {"interactive": Secret(token)}, {"user_id": "DEALER1"}, now, now + self.lifetime
        )

    def kill(self) -> None:
        """Every session is dead from now on."""
        with self.lock:
            self.live.clear()

    def accepts(self, config: AccountConfig, session: Session | None) -> bool:
        key = config.credentials["interactive_api_key"].reveal()
        return session is not None and self.live.get(key) == session.tokens["interactive"].reveal()


VENUES: dict[str, Venue] = {}

_NO_ORDERS = "this double only logs in; the one in tests.support.trading trades"


class VenueBroker(Broker):
    """An adapter to the `Venue` that is named by the account's base URL."""

    info: ClassVar[BrokerInfo] = BrokerInfo(
        name="jainam_prop",
        title="Jainam Prop",
        credentials=tuple(CredentialField(name, name.replace("_", " ")) for name in CREDENTIALS),
        clusters=("A", "B", "C"),
        default_cluster="B",
        account_types=("PRO", "NORMAL"),
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        exchanges=frozenset({Exchange.NSE, Exchange.NFO}),
        products=frozenset(Product),
        order_types=frozenset(OrderType),
        history_intervals=("1m", "5m", "D"),
    )

    def __init__(self, account: AccountConfig, runtime: Runtime) -> None:
        self.account = account
        self._runtime = runtime
        self._session: Session | None = None
        self.venue = VENUES[account.base_url]
        self.closed = False

    def login(self, *, deadline: Deadline | None = None) -> Session:
        self.venue.login_times.append(deadline.remaining() if deadline else None)
        return self.venue.login(self.account, self._runtime.clock)

    def logout(self, session: Session) -> None:
        self.venue.logouts.append(session.tokens["interactive"].reveal())
        if self.venue.failures:
            raise self.venue.failures.pop(0)
        if self.venue.accepts(self.account, session):
            del self.venue.live[self.account.credentials["interactive_api_key"].reveal()]

    def attach(self, session: Session | None) -> None:
        self._session = session

    @property
    def session(self) -> Session | None:
        return self._session

    def _demand(self) -> None:
        if not self.venue.accepts(self.account, self._session):
            raise SessionExpired("Invalid Token", code="e-session-0007")

    def reserve(
        self, operation: Operation, *, priority: Priority, deadline: Deadline, wait: bool = True
    ) -> Slot:
        raise NotImplementedError(_NO_ORDERS)

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        raise NotImplementedError(_NO_ORDERS)

    def modify(self, change: ModifyRequest, *, slot: Slot, deadline: Deadline) -> str:
        raise NotImplementedError(_NO_ORDERS)

    def cancel(self, order_id: str, *, client: str | None, slot: Slot, deadline: Deadline) -> str:
        raise NotImplementedError(_NO_ORDERS)

    def orders(self, *, deadline: Deadline) -> list[Order]:
        self._demand()
        return []

    def order_history(self, order_id: str, *, deadline: Deadline) -> list[Order]:
        raise NotImplementedError(_NO_ORDERS)

    def trades(self, *, deadline: Deadline) -> list[Trade]:
        self._demand()
        return []

    def positions(self, *, deadline: Deadline, day: bool = False) -> list[Position]:
        self._demand()
        return []

    def holdings(self, *, deadline: Deadline) -> list[Holding]:
        self._demand()
        return []

    def funds(self, *, deadline: Deadline) -> Funds:
        self._demand()
        return Funds(Decimal(len(self.venue.logins)), ZERO, ZERO, ZERO, ZERO)

    def find(self, tag: str, *, deadline: Deadline) -> Found | NotSeen:
        raise NotImplementedError(_NO_ORDERS)

    def instruments(
        self, exchanges: Sequence[Exchange] | None = None
    ) -> Iterator[Instrument | BadRow]:
        raise NotImplementedError(_NO_ORDERS)

    def quotes(
        self, instruments: Sequence[InstrumentRef], *, deadline: Deadline
    ) -> dict[InstrumentRef, Quote]:
        self._demand()
        self.venue.quotes_asked.append(list(instruments))
        if self.venue.gate is not None:
            self.venue.gate.wait(10)
        return {ref: quote_of(ref) for ref in instruments if ref.token != "silent"}

    def depth(self, instrument: InstrumentRef, *, deadline: Deadline) -> Depth:
        self._demand()
        return Depth(quote_of(instrument), (), (), 0, 0)

    def history(
        self,
        instrument: InstrumentRef,
        interval: str,
        start: date,
        end: date,
        *,
        deadline: Deadline,
    ) -> list[Candle]:
        self._demand()
        return []

    def self_check(self, *, deadline: Deadline) -> list[str]:
        self._demand()
        return list(self.venue.faults)

    def close(self) -> None:
        self.closed = True


class OtherBroker(VenueBroker):
    """A second broker on the same kind of venue."""

    info: ClassVar[BrokerInfo] = BrokerInfo(
        name="wisdom", title="Wisdom", credentials=VenueBroker.info.credentials
    )


def quote_of(ref: InstrumentRef) -> Quote:
    """A quote that can be told from another instrument's: its last price is the token."""
    price = Decimal(ref.token)
    return Quote(ref, price, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, 1, None)


class Plugins:
    """The registry of the tests."""

    broken: ClassVar[dict[str, str]] = {}
    brokers: ClassVar[dict[str, type[Broker]]] = {"jainam_prop": VenueBroker, "wisdom": OtherBroker}

    def names(self) -> list[str]:
        return sorted(self.brokers)

    def get(self, name: str) -> type[Broker]:
        return self.brokers[name]

    def info(self, name: str) -> BrokerInfo:
        return self.brokers[name].info
