"""The rows of a book as orders or trades; a row that says what it said at the last read is one.

A day's book is read again and again, and few of its rows have changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from broker.payload import Rereader
from broker.xts import wire

T = TypeVar("T")


class BookRows(Generic[T]):
    """Reads one book of one account, one time after the other or at the same time.

    `parse` is for the book's answer: what it did not read anew, `read` need not either.
    """

    def __init__(self, make: Callable[[wire.Row], T]) -> None:
        self._make = make
        self._known: dict[int, tuple[wire.Row, T]] = {}
        self.parse = Rereader().decode

    def read(self, rows: Iterable[wire.Row]) -> list[T]:
        """What `make` makes of each row, in their sequence; it raises what `make` raises.

        What is strange about a row is told when it is first seen and whenever it changes.
        """
        known = self._known
        fresh: dict[int, tuple[wire.Row, T]] = {}
        made: list[T] = []
        for row in rows:
            before = known.get(id(row))  # nobody else's id: the row that had it is kept there
            one = self._make(row) if before is None else before[1]
            fresh[id(row)] = row, one
            made.append(one)
        self._known = fresh
        return made
