"""The venue's books of every account, read once for all who ask at the same time.

Complete, or an error: an empty list means that the venue said so. Who decides on quantities asks
with the default `max_age` 0; who only shows may take a copy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from broker.base import Broker, Clock, Deadline
from broker.errors import BrokerError, Fate
from broker.models import Found, Funds, Holding, Order, Position, Trade
from broker.waiting import WaitingRoom
from services.accounts import Account
from services.errors import Unavailable
from services.shared_reads import Copy, SharedRead

T = TypeVar("T")

COPY_AGE = 1.0
_TOUCHED = ("order book", "trade book", "position book", "day's position book", "funds")
HOLDINGS_AGE = 10.0


@contextmanager
def needed(what: str) -> Iterator[None]:
    """A read on which a submit hangs: when it fails, nothing was sent, and the error says so.

    `what` begins the sentence ("The position of INFY"). Errors that prove it by themselves pass.
    """
    try:
        yield
    except BrokerError as error:
        if error.fate in (Fate.NOT_SENT, Fate.REFUSED):
            error.fate = Fate.NOT_SENT  # what was refused is the read
            raise
        raise Unavailable(
            f"{what} could not be read, so nothing was sent. {error.message}", retry_after=1.0
        ) from error


class Reader(Protocol):
    """Reads through a session, renewing it once when it is dead (`services.sessions`)."""

    def read(
        self, account: Account, fn: Callable[[Broker, Deadline], T], deadline: Deadline
    ) -> T: ...


class Books:
    """Order, trade, position and holding books and funds, per account."""

    def __init__(self, sessions: Reader, clock: Clock, room: WaitingRoom | None = None) -> None:
        self._sessions = sessions
        self._clock = clock
        self._room = room or WaitingRoom()
        self._guard = threading.Lock()
        self._reads: dict[tuple[int, str], SharedRead[Any]] = {}

    def orders(
        self, account: Account, deadline: Deadline, *, max_age: float = 0.0
    ) -> Copy[list[Order]]:
        """Today's orders."""
        return self._get(account, "order book", _orders, deadline, max_age)

    def trades(
        self, account: Account, deadline: Deadline, *, max_age: float = 0.0
    ) -> Copy[list[Trade]]:
        """Today's executions."""
        return self._get(account, "trade book", _trades, deadline, max_age)

    def positions(
        self, account: Account, deadline: Deadline, *, max_age: float = 0.0
    ) -> Copy[list[Position]]:
        """Net positions, carried forward ones included."""
        return self._get(account, "position book", _positions, deadline, max_age)

    def kept_positions(
        self, account: Account, deadline: Deadline, max_age: float
    ) -> list[Position]:
        """Net positions as they were at most `max_age` seconds ago, whatever was sent since then.

        Only for who adds the fills of a book read now to them: see `services.lagging`.
        """
        return self._get(account, "kept positions", _positions, deadline, max_age).value

    def day_positions(
        self, account: Account, deadline: Deadline, *, max_age: float = 0.0
    ) -> Copy[list[Position]]:
        """What was bought and sold today alone, without what was carried forward."""
        return self._get(account, "day's position book", _day_positions, deadline, max_age)

    def holdings(
        self, account: Account, deadline: Deadline, *, max_age: float = 0.0
    ) -> Copy[list[Holding]]:
        """Shares in the demat account."""
        return self._get(account, "holdings", _holdings, deadline, max_age)

    def funds(
        self, account: Account, deadline: Deadline, *, max_age: float = 0.0
    ) -> Copy[Funds]:
        """Limits in rupees."""
        return self._get(account, "funds", _funds, deadline, max_age)

    def find(
        self, account: Account, tags: Sequence[str], deadline: Deadline
    ) -> dict[str, Order]:
        """The orders of these tags, under whatever client the venue shows them; a read of its own.

        `orders` leaves out rows of other clients. Before an order is held absent, the question must
        be put without that filter: it may stand under a client that was not expected.
        """
        found = self._sessions.read(
            account, lambda broker, by: broker.find_many(tags, deadline=by), deadline
        )
        return {tag: seen.order for tag, seen in found.items() if isinstance(seen, Found)}

    def touched(self, account: Account) -> None:
        """An order went out: copies from before show the past and serve nobody any more."""
        for what in _TOUCHED:
            with self._guard:
                shared = self._reads.get((account.id, what))
            if shared is not None:
                shared.forget()

    def _get(
        self,
        account: Account,
        what: str,
        fn: Callable[[Broker, Deadline], T],
        deadline: Deadline,
        max_age: float,
    ) -> Copy[T]:
        key = (account.id, what)
        with self._guard:
            shared = self._reads.get(key)
            if shared is None:
                shared = self._reads[key] = SharedRead(self._clock, what, self._room)
        return shared.get(
            lambda due: self._sessions.read(account, fn, due), deadline, max_age=max_age
        )


def _orders(broker: Broker, deadline: Deadline) -> list[Order]:
    return broker.orders(deadline=deadline)


def _trades(broker: Broker, deadline: Deadline) -> list[Trade]:
    return broker.trades(deadline=deadline)


def _positions(broker: Broker, deadline: Deadline) -> list[Position]:
    return broker.positions(deadline=deadline)


def _day_positions(broker: Broker, deadline: Deadline) -> list[Position]:
    return broker.positions(deadline=deadline, day=True)


def _holdings(broker: Broker, deadline: Deadline) -> list[Holding]:
    return broker.holdings(deadline=deadline)


def _funds(broker: Broker, deadline: Deadline) -> Funds:
    return broker.funds(deadline=deadline)
