"""Fills that the order book shows and the position book does not show yet.

A venue keeps the two books apart, and the second may lag behind the first: whoever reads a position
then believes that nothing has been traded and trades again. A position is therefore held against
the fills of the same book read: in every product that had a fill in the last minute, the position
must show at least what the orders of the day have bought and sold. Older fills are taken to have
arrived, because a conversion between products makes the two books differ for good.

Intraday positions begin at nothing every day, so the net book answers. In the other products
something may have been carried forward, and only the day's book can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from broker.base import Clock, Deadline
from broker.models import InstrumentRef, Order, Position, Product, Side
from services.accounts import Account
from services.books import Books

Key = tuple[InstrumentRef, Product]

RECENT = timedelta(seconds=60)
"""How long after a fill the position book is held against it."""


class Missing(NamedTuple):
    """Units that orders have bought and sold and the position does not show."""

    bought: int
    sold: int


def key_of(row: Order | Position) -> Key:
    """Instrument and product of a row."""
    return row.instrument, row.product


class LagWatch:
    """Holds position books against order books."""

    def __init__(self, books: Books, clock: Clock) -> None:
        self._books = books
        self._clock = clock

    def positions(
        self,
        account: Account,
        orders: Sequence[Order],
        matters: Callable[[Key], bool],
        deadline: Deadline,
        *,
        max_age: float = 0.0,
    ) -> tuple[list[Position], dict[Key, Missing]]:
        """The net positions, and what they lack of the fills of these orders; mostly nothing.

        `orders` is a book that was read before. The day's positions are read only when one of the
        fills is fresh and of a product that may be carried forward; and they are read first, so
        that what they show is in the net positions as well. Who adds what is missing may take net
        positions of `max_age` seconds ago, where no product needs the day's.
        """
        recent = {key for key in recently_filled(orders, self._clock.now()) if matters(key)}
        carried = {key for key in recent if key[1] is not Product.MIS}
        found: dict[Key, Missing] = {}
        if carried:
            day = self._books.day_positions(account, deadline).value
            found = lacking(orders, day, carried)
        if max_age and not carried:
            net = self._books.kept_positions(account, deadline, max_age)
        else:
            net = self._books.positions(account, deadline).value
        return net, found | lacking(orders, net, recent - carried)


def recently_filled(orders: Iterable[Order], now: datetime) -> set[Key]:
    """The keys in which something was filled lately, or nobody says when."""
    return {
        key_of(row) for row in orders
        if row.filled_quantity and not _is_old(row, now)
    }


def lacking(
    orders: Iterable[Order], positions: Iterable[Position], keys: set[Key]
) -> dict[Key, Missing]:
    """By key, what the orders have filled beyond what these positions show.

    A position whose net quantity is that of the fills lacks nothing, whatever a venue means by the
    quantities bought and sold; and one that shows more than the fills lacks nothing either, because
    not everything that is held need have come from an order of this book.
    """
    if not keys:
        return {}
    bought = dict.fromkeys(keys, 0)
    sold = dict.fromkeys(keys, 0)
    net = dict.fromkeys(keys, 0)
    for row in orders:
        if (key := key_of(row)) in keys:
            book, sign = (bought, 1) if row.side is Side.BUY else (sold, -1)
            book[key] += row.filled_quantity
            net[key] += sign * row.filled_quantity
    for position in positions:
        if (key := key_of(position)) in keys:
            bought[key] -= position.buy_quantity
            sold[key] -= position.sell_quantity
            net[key] -= position.quantity
    return {
        key: Missing(max(0, bought[key]), max(0, sold[key]))
        for key in keys if net[key] and (bought[key] > 0 or sold[key] > 0)
    }


def _is_old(row: Order, now: datetime) -> bool:
    at = row.updated_at or row.placed_at
    return at is not None and now - at > RECENT
