"""`Broker`: the one abstract interface between the application and every venue.

One instance serves one account (one set of credentials). It is safe to share between threads. It
holds no business: composites (smart orders, baskets, cancel-all) live once, above it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from broker.errors import NotSupported
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

if TYPE_CHECKING:
    from broker.waiting import WaitingRoom


class Clock(Protocol):
    """Time, handed in: aware now, monotonic seconds, and a sleep that tests can fake."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class Operation(StrEnum):
    """The calls that venues meter, each with its own published limit."""

    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"
    ORDERS = "orders"
    TRADES = "trades"
    POSITIONS = "positions"
    HOLDINGS = "holdings"
    FUNDS = "funds"
    PROFILE = "profile"
    LOGIN = "login"
    LOGOUT = "logout"
    QUOTES = "quotes"
    HISTORY = "history"
    MASTER = "master"


class Priority(IntEnum):
    """Who goes first while a limit makes callers wait. Lower goes first."""

    EXIT = 0
    ENTRY = 1
    READ = 2


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` of all `operations` together in any rolling window of `window` seconds."""

    name: str
    operations: frozenset[Operation]
    calls: int
    window: float


class Slot(Protocol):
    """The right to make one metered call. Leaving the context says that the answer is in."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do, as data."""

    exchanges: frozenset[Exchange]
    products: frozenset[Product]
    order_types: frozenset[OrderType]
    quotes: bool = True
    depth: bool = True
    history_intervals: tuple[str, ...] = ()
    margin: bool = False
    stream: bool = False


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One credential that an account needs; `secret` ones are stored encrypted, never shown."""

    name: str
    title: str
    secret: bool = True
    required: bool = True


@dataclass(frozen=True, slots=True)
class BrokerInfo:
    """Who a broker is. `name` is the identifier used everywhere, `title` what people read.

    `clusters` names the selectable server profiles (empty: only one); `account_types` the kinds of
    dealer or investor; `quantity_units` says per exchange what one unit of quantity is at the
    venue ("units" or "lots").
    """

    name: str
    title: str
    credentials: tuple[CredentialField, ...]
    clusters: tuple[str, ...] = ()
    default_cluster: str = ""
    account_types: tuple[str, ...] = ()
    quantity_units: Mapping[Exchange, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """What an adapter must know of one account.

    `label` identifies the account in logs and pacing scopes. `base_url` overrides scheme, host and
    port of the venue ("" = the declaration's). `options` overrides single rules of the declaration
    by name (for instance "order_client_id"). Time-outs in seconds.
    """

    label: str
    credentials: Mapping[str, Secret]
    cluster: str = ""
    account_type: str = ""
    client_id: str = ""
    base_url: str = ""
    host_lookup: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
    api_timeout: float = 10.0
    orders_per_second: int = 10
    retry_count: int = 3
    published_limits: bool = True


class Observer(Protocol):
    """Where an adapter tells what it sees: metrics, logs and alarms are somebody else's business.

    `outcome` is "ok" or an error's `kind`; `seconds` the time on the wire.
    """

    def call(self, account: str, operation: str, outcome: str, seconds: float) -> None: ...

    def waited(self, account: str, operation: str, seconds: float) -> None: ...

    def anomaly(self, account: str, what: str, detail: str) -> None: ...


class NullObserver:
    """An observer for whom nobody watches."""

    def call(self, account: str, operation: str, outcome: str, seconds: float) -> None:
        """Ignore the call."""

    def waited(self, account: str, operation: str, seconds: float) -> None:
        """Ignore the wait."""

    def anomaly(self, account: str, what: str, detail: str) -> None:
        """Ignore the anomaly."""


class Deadline:
    """A point in monotonic time by which a piece of work must be over."""

    __slots__ = ("_clock", "at")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self.at = clock.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self._clock.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining() <= 0.0

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        child = Deadline(self._clock, seconds)
        child.at = min(child.at, self.at)
        return child


class Broker(ABC):
    """One account at one venue. Every method may raise any `BrokerError`; see each promise.

    A session is attached from outside (`attach`), because who may log in, and when, is decided for
    all processes together. Without one, calls raise `SessionExpired`.
    """

    info: ClassVar[BrokerInfo]
    capabilities: ClassVar[Capabilities]

    account: AccountConfig

    def __init__(self, account: AccountConfig, runtime: Runtime) -> None:
        """Opens nothing yet. `ValueError` for a configuration that the broker cannot serve."""
        self.account = account

    # Sessions ------------------------------------------------------------------------------

    @abstractmethod
    def login(self, *, deadline: Deadline | None = None) -> Session:
        """Log in once, without a loop. Does not attach. `LoginFailed` for wrong credentials.

        It is over by `deadline`, and by the account's own time-out whatever that is.
        """

    @abstractmethod
    def logout(self, session: Session) -> None:
        """End the session at the venue. A session that is already dead is no error."""

    @abstractmethod
    def attach(self, session: Session | None) -> None:
        """Use this session from now on, in all threads."""

    @property
    @abstractmethod
    def session(self) -> Session | None:
        """The attached session."""

    # Orders --------------------------------------------------------------------------------

    @abstractmethod
    def reserve(
        self, operation: Operation, *, priority: Priority, deadline: Deadline, wait: bool = True
    ) -> Slot:
        """Wait for the right to make one call. `BrokerBusy` when the wait would be too long.

        With `wait` False it is `BrokerBusy` unless a slot is free at this moment and nobody is
        before the caller: who has to write something down before a wait asks so first.

        Places, modifies and cancels need a slot, so that the caller can commit its intent between
        the grant and the request. Reads take their own.
        """

    @abstractmethod
    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        """Send one order in **one HTTP request, no retry inside**; return the venue's order id.

        Raises with fate NOT_SENT, REFUSED or UNKNOWN. The tag (at most 20 characters) is echoed in
        books, and is what `find` looks for.
        """

    @abstractmethod
    def modify(self, change: ModifyRequest, *, slot: Slot, deadline: Deadline) -> str:
        """Change an open order in one request; return its id. Fates as for `place`."""

    @abstractmethod
    def cancel(
        self, order_id: str, *, client: str | None, slot: Slot, deadline: Deadline
    ) -> str:
        """Cancel an open order in one request; return its id. Fates as for `place`.

        `client` is the order's own account code from the book, None when not known.
        """

    # Books: complete, or they raise; empty means that the venue said empty ------------------

    @abstractmethod
    def orders(self, *, deadline: Deadline) -> list[Order]:
        """Today's orders of this account, foreign rows filtered out."""

    @abstractmethod
    def order_history(self, order_id: str, *, deadline: Deadline) -> list[Order]:
        """All reports of one order, oldest first. `NotFound` when the venue does not know it."""

    @abstractmethod
    def trades(self, *, deadline: Deadline) -> list[Trade]:
        """Today's executions."""

    @abstractmethod
    def positions(self, *, deadline: Deadline, day: bool = False) -> list[Position]:
        """Net positions (carried forward included), or only today's with `day`."""

    @abstractmethod
    def holdings(self, *, deadline: Deadline) -> list[Holding]:
        """Shares in the demat account."""

    @abstractmethod
    def funds(self, *, deadline: Deadline) -> Funds:
        """Limits in rupees."""

    @abstractmethod
    def find(self, tag: str, *, deadline: Deadline) -> Found | NotSeen:
        """Look the tag up in one complete read of the order book; raises if it can't be read."""

    def find_many(
        self, tags: Sequence[str], *, deadline: Deadline
    ) -> dict[str, Found | NotSeen]:
        """`find` for many tags; a broker whose book comes whole needs one read for all of them."""
        return {tag: self.find(tag, deadline=deadline) for tag in tags}

    # Reference and market data ---------------------------------------------------------------

    @abstractmethod
    def instruments(self, exchanges: Sequence[Exchange] | None = None) -> (
        Iterator[Instrument | BadRow]
    ):
        """Stream the master contract (None: every exchange of the broker), in constant memory."""

    def quotes(
        self, instruments: Sequence[InstrumentRef], *, deadline: Deadline
    ) -> dict[InstrumentRef, Quote]:
        """Quotes by instrument; one without data is missing. Identity of answers is checked."""
        raise NotSupported("This broker serves no quotes.")

    def depth(self, instrument: InstrumentRef, *, deadline: Deadline) -> Depth:
        """Five best levels on both sides."""
        raise NotSupported("This broker serves no market depth.")

    def history(
        self, instrument: InstrumentRef, interval: str, start: date, end: date, *,
        deadline: Deadline,
    ) -> list[Candle]:
        """Candles, oldest first, both dates inclusive (IST trading dates)."""
        raise NotSupported("This broker serves no history.")

    # Health ----------------------------------------------------------------------------------

    @abstractmethod
    def self_check(self, *, deadline: Deadline) -> list[str]:
        """Read what a login should be able to read; return what is wrong, in sentences."""

    def circuits(self) -> dict[str, str]:
        """How the circuit of each API stands: "closed", "open" or "half_open" (`breaker`)."""
        return {}

    def clock_offset(self) -> float | None:
        """Seconds by which the venue's clock was ahead of ours at its last answer.

        To about a second, as answers carry their time; None when no answer said.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Give back connections. The instance is not used afterwards."""


BrokerFactory = Callable[[AccountConfig, "Runtime"], Broker]


def _new_room() -> WaitingRoom:
    from broker.waiting import WaitingRoom

    return WaitingRoom()


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the application hands to every adapter.

    `slots` is the storage that pacing counts in (shared between processes where needed),
    `spare_slots` what this host counts in while that is away; `room` has the seats of those of this
    process who wait. `rand` returns floats in [0, 1) for jitter. `trace_headers` returns the
    headers that name the request on whose behalf a call is made, `caller` names its caller, between
    whom turns are taken.
    """

    clock: Clock
    slots: SlotStore
    observer: Observer = field(default_factory=NullObserver)
    rand: Callable[[], float] = lambda: 0.5
    queue_wait: float = 7.0
    room: WaitingRoom = field(default_factory=_new_room)
    trace_headers: Callable[[], Mapping[str, str]] = dict
    caller: Callable[[], str] = lambda: ""
    spare_slots: SlotStore | None = None


class SlotStore(Protocol):
    """Counts calls in rolling windows, atomically over everyone who shares the storage."""

    def acquire(self, wanted: Sequence[WindowKey], priority: Priority, lease: float) -> (
        Grant | Wait
    ):
        """Take one slot in every window at once, or none and say how long to wait.

        An unreleased grant frees itself `lease` + window seconds after it was given.
        """

    def release(self, grant: Grant) -> None:
        """The answer is in: each slot is free again one window from now."""

    def waiting(self, wanted: Sequence[WindowKey], priority: Priority, change: int) -> None:
        """Announce (+1) or withdraw (-1) a waiter, so that lower priorities elsewhere hold back."""

    def peek(self, wanted: Sequence[WindowKey]) -> float:
        """Seconds until every window can have a free slot; takes none."""


@dataclass(frozen=True, slots=True)
class WindowKey:
    """One rolling window: a scope that is unique over accounts and limits, and its size."""

    scope: str
    calls: int
    window: float


@dataclass(frozen=True, slots=True)
class Grant:
    """Slots that were taken; opaque to everybody but the store that gave it."""

    entries: tuple[tuple[WindowKey, int, int], ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """No slot now; try again after `seconds`."""

    seconds: float
