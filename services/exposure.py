"""What an account really holds in an instrument, orders on their way included.

Whoever reads a position before it trades asks here, holding the lock of that position. The venue
shows an order in its order book before, and its fill in its position book after, so the two must
not be mixed carelessly: an order that fills between two reads would be counted twice or not at all.
Therefore: wait until no order for the instrument is about to fill, then read the positions. An
order that does not come to rest in time is counted with what is left of it, but only when the book
reads before and after the position read agree; else the position is moving and there is no answer.

The position book may also lag behind the order book as a whole: fills that it does not show yet are
waited for, and when they do not come the position is not certain (`services.lagging`).

"On its way" are orders that the venue has not confirmed, market orders that are not filled yet, and
orders that only our journal knows so far. Limit orders that rest in the market, and stops that wait
for their trigger, are not: nobody can say when, or whether, they will trade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from broker.base import Clock, Deadline
from broker.models import (
    Exchange,
    InstrumentRef,
    Order,
    OrderState,
    OrderType,
    Position,
    Product,
    Side,
)
from database import journal
from database.journal import UNSETTLED, Intent, IntentKind, IntentState
from services.accounts import Account
from services.books import Books, needed
from services.lagging import Key, LagWatch, key_of
from services.recording import Recorder
from utils.clock import trading_day

__all__ = [
    "Exposure",
    "ExposureReader",
    "Key",
    "is_flying",
    "key_of",
    "lock_name",
    "why_behind",
    "why_not",
]

PATIENCE = 3.0
"""Seconds to wait for orders to come to rest, at most half of what the request has left."""

UNSEEN_FOR = timedelta(minutes=2)
"""How long an accepted order that the book does not show is taken to be on its way."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Positions and orders of one account at one time.

    `in_flight` is the signed quantity still to be filled of orders on their way; `moving` are the
    keys that changed while they were read, `behind` those whose fills the positions do not show
    yet; `unsettled` are the journal's orders of open outcome.
    """

    positions: list[Position]
    orders: list[Order]
    in_flight: dict[Key, int] = field(default_factory=dict)
    moving: frozenset[Key] = frozenset()
    behind: frozenset[Key] = frozenset()
    unsettled: dict[Key, list[Intent]] = field(default_factory=dict)

    def net(self, key: Key) -> int:
        """Signed net quantity that the venue shows."""
        return sum(row.quantity for row in self.positions if key_of(row) == key)


class ExposureReader:
    """Reads positions for decisions."""

    def __init__(self, books: Books, recorder: Recorder, clock: Clock) -> None:
        self._books = books
        self._recorder = recorder
        self._clock = clock
        self._lag = LagWatch(books, clock)

    def read(
        self, account: Account, matters: Callable[[Key], bool], deadline: Deadline
    ) -> Exposure:
        """The exposure in the instruments that matter. `Unavailable` when it can't be read."""
        patience = deadline.within(min(PATIENCE, deadline.remaining() / 2))
        with needed("The position"):
            for pause in _pauses():
                orders = self._books.orders(account, deadline).value
                unsettled = self._unsettled(account, orders, matters)
                if not _flying(orders, matters) and not unsettled:
                    positions, missing = self._lag.positions(account, orders, matters, deadline)
                    if not missing:
                        return Exposure(positions, orders)
                if patience.remaining() < pause:
                    return self._as_it_stands(account, orders, unsettled, matters, deadline)
                self._clock.sleep(pause)
        raise AssertionError("the pauses never end")  # pragma: no cover

    def _as_it_stands(
        self,
        account: Account,
        before: list[Order],
        unsettled: dict[Key, list[Intent]],
        matters: Callable[[Key], bool],
        deadline: Deadline,
    ) -> Exposure:
        """Not everything has come to rest: count what is left, where the reads agree."""
        positions, behind = self._lag.positions(account, before, matters, deadline)
        orders = self._books.orders(account, deadline).value
        after = {row.order_id: row for row in orders}
        moving = {
            key_of(row) for row in _flying(before, matters)
            if (now := after.get(row.order_id)) is None
            or now.filled_quantity != row.filled_quantity
            or now.state.is_open != row.state.is_open
        }
        in_flight: dict[Key, int] = {}
        for row in _flying(orders, matters):
            sign = 1 if row.side is Side.BUY else -1
            in_flight[key_of(row)] = in_flight.get(key_of(row), 0) + sign * row.pending_quantity
        return Exposure(
            positions, orders, in_flight, frozenset(moving), frozenset(behind), unsettled
        )

    def _unsettled(
        self, account: Account, orders: list[Order], matters: Callable[[Key], bool]
    ) -> dict[Key, list[Intent]]:
        """Orders of ours that this book should show and does not, and those of open outcome.

        Orders live for one trading day: what an earlier day left open is in the positions, if
        anything came of it.
        """
        ids = {row.order_id for row in orders}
        tags = {row.tag for row in orders if row.tag}
        now = self._clock.now()
        since = now - UNSEEN_FOR
        with self._recorder.reading() as conn:
            waiting = journal.open_intents(conn, account_id=account.id)
            unseen = journal.unseen(conn, account.id, since)
        late = [
            intent for intent in self._recorder.late_intents()
            if intent.account_id == account.id and intent.state in _MAY_EXIST
        ]
        missing = [
            intent for intent in {item.reference: item for item in [*waiting, *late]}.values()
            if intent.kind is IntentKind.PLACE and intent.tag not in tags
            and trading_day(intent.created_at) == trading_day(now)
        ] + [intent for intent in unseen if intent.broker_order_id not in ids]
        found: dict[Key, list[Intent]] = {}
        for intent in missing:
            key = _key_of_intent(intent)
            if matters(key):
                found.setdefault(key, []).append(intent)
        return found


_MAY_EXIST = {*UNSETTLED, IntentState.ACCEPTED}


def why_not(intents: list[Intent], symbol: str) -> str:
    """Why a position with such orders cannot be acted upon, as a sentence."""
    first = intents[0]
    if first.state is IntentState.ACCEPTED:
        return (
            f"Order {first.broker_order_id} for '{symbol}' was accepted but is not in the broker's "
            "book yet, so the position is not certain. Nothing was sent."
        )
    return (
        f"An earlier order for '{symbol}' (reference {first.reference}) has no known outcome yet, "
        "so the position is not certain. Nothing was sent."
    )


def why_behind(symbol: str) -> str:
    """Why a position cannot be acted upon whose fills the venue does not show yet."""
    return (
        f"The broker's position book does not show the latest fills of '{symbol}' yet, so the "
        "position is not certain. Nothing was sent; try again."
    )


def lock_name(account: Account, key: Key) -> str:
    """The name under which everyone locks a position who reads it before trading."""
    ref, product = key
    return f"position/{account.id}/{ref.exchange}/{ref.token}/{product}"


def _key_of_intent(intent: Intent) -> Key:
    return InstrumentRef(Exchange(intent.exchange), intent.token), Product(intent.product)


def _flying(orders: list[Order], matters: Callable[[Key], bool]) -> list[Order]:
    return [row for row in orders if is_flying(row) and matters(key_of(row))]


def is_flying(row: Order) -> bool:
    """Whether an order is on its way: not confirmed yet, or at the market and not filled."""
    return row.state is OrderState.PENDING or (
        row.state.is_open and row.order_type is OrderType.MARKET
    )


def _pauses() -> Iterator[float]:
    yield from (0.05, 0.1, 0.2)
    while True:
        yield 0.4
