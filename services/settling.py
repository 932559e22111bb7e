"""Looks an intent of unknown outcome up in the order book, within a request's time.

Every look is a complete book read that all who are looking share. Seeing the tag proves that the
order exists; not seeing it proves nothing here, because an order may still be on its way: that is
for the reconciler's rule of absence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from broker.base import Clock, Deadline
from broker.errors import BrokerError
from broker.waiting import urgent
from database.journal import Intent
from services.accounts import Account
from services.books import Books
from services.errors import ServiceError
from services.verdicts import Rows, Verdict, judge

log = logging.getLogger(__name__)

LOOK_UP_SECONDS = 5.0
ENOUGH_READS = 3
"""A request stops looking after so many complete reads over so long, for what has not shown up by
then is hardly there. While the book cannot be read it goes on to its deadline."""

LAST_LOOK = 0.25
"""Seconds before the deadline at which the last look begins."""

_SHORTEST_PAUSE = 0.05


def _pauses() -> Iterator[float]:
    """Seconds between the looks: quick at first, then at a pace that the limits bear."""
    yield from (0.05, 0.15, 0.3, 0.5)
    while True:
        yield 1.0


class Settler:
    """Finds out what became of an intent."""

    def __init__(self, books: Books, clock: Clock) -> None:
        self._books = books
        self._clock = clock

    def read_once(
        self, account: Account, intent: Intent, deadline: Deadline
    ) -> Verdict | None:
        """What a book read now says. Raises when it cannot be read."""
        with urgent():
            return judge(intent, Rows(self._books.orders(account, deadline).value))

    def look_up(self, account: Account, intent: Intent, deadline: Deadline) -> Verdict | None:
        """Look until the book tells or the time is up; None then. Unreadable books tell nothing."""
        enough = Deadline(self._clock, LOOK_UP_SECONDS)
        reads = 0
        asked: float | None = None  # what the last failure said about when to come back
        for pause in _pauses():
            left = deadline.remaining() - LAST_LOOK
            if left < _SHORTEST_PAUSE or (reads >= ENOUGH_READS and enough.remaining() < pause):
                return None
            wanted = pause if asked is None or asked > left else asked
            self._clock.sleep(min(wanted, left))
            try:
                verdict = self.read_once(account, intent, deadline)
            except (BrokerError, ServiceError) as error:
                asked = error.retry_after
                log.warning("the order book cannot be read to settle an order", extra={
                    "reference": intent.reference, "error": error.kind})
                continue
            if verdict is not None:
                return verdict
            asked = None
            reads += 1
        return None  # pragma: no cover - the pauses never end
