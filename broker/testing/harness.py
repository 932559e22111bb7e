"""`BrokerHarness`: what the cards ask of the double of a venue, in nobody's wire language.

An author writes one for the venue's simulator or sandbox. What the double cannot do stays as it is
here: the card that needs it is shown as skipped, with the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NoReturn

import pytest

from broker.base import AccountConfig, Broker, Operation
from broker.models import (
    Exchange,
    InstrumentKind,
    InstrumentRef,
    OrderType,
    Product,
    Side,
)


class Trouble(StrEnum):
    """What may happen to a request. BEFORE and AFTER: whether the venue has taken it by then."""

    REFUSED = "refused in the venue's words"
    ERROR_IN_SUCCESS = "refused, under a status that says success"
    RATE_LIMITED = "rate limit, by a code documented to precede acceptance"
    RATE_LIMITED_UNDOCUMENTED = "rate limit, by a code that is documented nowhere"
    DEAD_TOKEN = "the token is dead"  # noqa: S105 - no password
    DISPLACED = "another login displaced the session"
    SERVER_ERROR = "a server error, not taken"
    SERVER_ERROR_AFTER = "a server error, although taken"
    GATEWAY_ERROR = "a gateway's error page"
    HTML_PAGE = "an HTML page under a status that says success"
    MALFORMED_AFTER = "taken, but the answer is malformed"
    HALF_BODY_AFTER = "taken, but the answer breaks off"
    EMPTY_BODY = "an empty answer"
    NO_ID_AFTER = "taken, but the success names no order"
    CLOSED_BEFORE = "the connection closes before the venue takes it"
    CLOSED_AFTER = "taken, then the connection closes"
    HANGS_BEFORE = "no answer, and not taken"
    HANGS_AFTER = "no answer, although taken"
    DROPPED_AFTER = "success, but the order never shows up"
    SLOW = "a late success"


@dataclass(frozen=True, slots=True)
class Listed:
    """An instrument of the double that can be traded; its price stands still at `last` rupees.

    `lot` is the smallest quantity of an order, `products` what the exchange takes for it.
    """

    ref: InstrumentRef
    kind: InstrumentKind
    lot: int
    tick: Decimal
    last: Decimal
    products: tuple[Product, ...]


@dataclass(frozen=True, slots=True)
class Landmark:
    """A row of the double's master contract that is known beforehand: fields by name."""

    ref: InstrumentRef
    expected: dict[str, object]


@dataclass(frozen=True, slots=True)
class Received:
    """An order request as the venue saw it. `order_id` is "" when none was made."""

    tag: str
    accepted: bool
    order_id: str
    at: float
    side: Side | None = None
    order_type: OrderType | None = None
    product: Product | None = None
    quantity: int = 0
    price: Decimal = Decimal(0)
    trigger_price: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the cards may rely on. `troubles` are those that the double can cause.

    `accounts` counts the logins that `account(number)` knows; they may lie on several clusters.
    `dead_token_forms` names the documented ways in which the venue says that a token is dead.
    """

    accounts: int
    troubles: frozenset[Trouble]
    dead_token_forms: tuple[str, ...]
    landmarks: tuple[Landmark, ...]
    kinds: frozenset[InstrumentKind]
    refusal_words: str
    session_operations: tuple[Operation, ...] = (Operation.LOGIN,)
    malformed_rows: int = 0
    hints: dict[str, str] = field(default_factory=dict)


class BrokerHarness(ABC):
    """The double of one venue, as one broker (and cluster) sees it."""

    name: str
    broker: type[Broker]
    facts: Facts

    @abstractmethod
    def reset(self) -> None:
        """Forget orders, sessions and troubles; hold fills back; meter nothing."""

    @abstractmethod
    def account(self, number: int = 0) -> AccountConfig:
        """The configuration of the double's account `number`, with valid credentials."""

    @abstractmethod
    def with_wrong_secret(self, account: AccountConfig) -> AccountConfig:
        """The same account with a secret that the venue does not know."""

    @abstractmethod
    def listed(self) -> tuple[Listed, ...]:
        """Tradable instruments: an equity first, then at least one derivative if there are any."""

    @abstractmethod
    def received(self, tag: str = "") -> list[Received]:
        """Every order request the venue saw, or those with one tag, oldest first."""

    @abstractmethod
    def requests(self, operation: Operation) -> int:
        """How many requests of a kind the venue has seen since `reset`."""

    @abstractmethod
    def trouble(
        self, trouble: Trouble, operation: Operation, *, times: int | None = None
    ) -> None:
        """From now on requests of this kind meet this trouble (`times` of them, None: all)."""

    @abstractmethod
    def calm(self) -> None:
        """No more trouble."""

    # What a double may leave out ---------------------------------------------------------------

    def fill(self, order_id: str, quantity: int, price: Decimal) -> None:
        """Execute a part of an open order."""
        self._cannot("fill an order")

    def reject(self, order_id: str, reason: str) -> None:
        """Reject an open order in the exchange's words."""
        self._cannot("reject an order later")

    def odd_state(self, order_id: str) -> None:
        """Give an order a state that is documented nowhere."""
        self._cannot("show an unknown order state")

    def fills_at_once(self) -> None:
        """From now on orders match by themselves."""
        self._cannot("match orders")

    def loose_numbers(self) -> None:
        """Write numbers as loosely as the venue is known to: text, commas, blanks."""
        self._cannot("write numbers loosely")

    def set_position(
        self, account: int, ref: InstrumentRef, product: Product, quantity: int, price: Decimal
    ) -> None:
        """Put a position carried forward into the account's book; quantity is signed."""
        self._cannot("set a position")

    def foreign_order(self, ref: InstrumentRef, tag: str = "") -> str:
        """An order of a client that is not ours, in the books that we read; its id."""
        self._cannot("show another client's order")

    def foreign_position(self, ref: InstrumentRef) -> None:
        """A position of a client that is not ours, in the books that we read."""
        self._cannot("show another client's position")

    def use_dead_token_form(self, form: str) -> None:
        """Say it this way from now on (one of `facts.dead_token_forms`)."""
        self._cannot("choose how it refuses a token")

    def end_sessions(self) -> None:
        """Every session is dead from now on."""
        self._cannot("end sessions")

    def malformed_master(self, rows: int) -> None:
        """Mix so many rows that cannot be read into each exchange's master contract."""
        self._cannot("spoil its master contract")

    def meter(self) -> None:
        """Enforce the published limits from now on."""
        self._cannot("meter requests")

    def breaches(self) -> int:
        """How many requests the venue refused for exceeding a limit since `reset`."""
        self._cannot("count breaches")

    def without_data(self) -> InstrumentRef:
        """An instrument for which there are no quotes."""
        self._cannot("name an instrument without data")

    def _cannot(self, what: str) -> NoReturn:
        pytest.skip(f"the double of {self.name} cannot {what}")


def exchanges_of(listed: tuple[Listed, ...]) -> frozenset[Exchange]:
    """The exchanges on which the double's listed instruments trade."""
    return frozenset(each.ref.exchange for each in listed)
