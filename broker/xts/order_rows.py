"""The rows of the order book as orders; a row that says what it said at the last read is one.

A day's book is read again and again, and few of its rows have changed since: comparing a row takes
a fifth of reading it.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.models import Order
from broker.xts import codec, wire
from broker.xts.segments import Segments


class OrderRows:
    """Reads order books of one account, one after the other or at the same time."""

    def __init__(self, segments: Segments, anomaly: codec.Anomaly) -> None:
        self._segments = segments
        self._anomaly = anomaly
        self._known: dict[object, tuple[wire.Row, Order]] = {}

    def read(self, rows: Iterable[wire.Row]) -> list[Order]:
        """The orders in the sequence of the rows. `ProtocolError` as `codec.order_from_row`.

        What is strange about a row is told when it is first seen and whenever it changes.
        """
        known = self._known
        fresh: dict[object, tuple[wire.Row, Order]] = {}
        orders: list[Order] = []
        for row in rows:
            order_id = row.get("AppOrderID")
            key = order_id if isinstance(order_id, str | int) else None
            before = known.get(key)
            if before is not None and before[0] == row:
                order = before[1]
            else:
                order = codec.order_from_row(row, self._segments, self._anomaly)
            fresh[key] = row, order
            orders.append(order)
        self._known = fresh
        return orders
