"""Published rate limits (§15.1), counted per session in rolling windows on the venue's own clock.

A refused request takes no slot. `Windows` belongs to a session; the table is shared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

#: Class of request -> (requests, seconds).
PUBLISHED: dict[str, tuple[int, float]] = {
    "place": (25, 1.0),
    "modify": (25, 1.0),
    "cancel": (25, 1.0),
    "cancel_all": (10, 1.0),
    "order_book": (6, 1.0),
    "trade_book": (40, 2.0),
    "positions": (1, 1.0),
    "dealer_positions": (1, 1.0),
    "convert": (50, 1.0),
    "holdings": (1, 10.0),
    "balance": (10, 3.0),
    "profile": (1, 5.0),
    "logout": (1, 1.0),
    "enums": (1, 1.0),
    "messages": (1, 3.0),
    "status": (1, 3.0),
}


class Windows:
    """Rolling windows of one session, one for each class of request."""

    __slots__ = ("_mono", "_seen")

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._seen: dict[str, deque[float]] = {}

    def take(self, kind: str, table: dict[str, tuple[int, float]]) -> float:
        """Take a slot: 0.0 when granted, else seconds until the next one is free."""
        rule = table.get(kind)
        if rule is None:
            return 0.0
        count, interval = rule
        now = self._mono()
        seen = self._seen.get(kind)
        if seen is None:
            seen = self._seen[kind] = deque()
        edge = now - interval
        while seen and seen[0] <= edge:
            seen.popleft()
        if len(seen) >= count:
            return seen[0] - edge
        seen.append(now)
        return 0.0
