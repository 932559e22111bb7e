"""What time has shown of intents without an outcome, in this process.

A request's time is over when the wall clock says so, or the steady clock of a process that has seen
the intent for as long as the request had: a wall clock that is set back delays nothing. Reads that
do not show an intent count by the steady clock alone: one that is set forward hastens nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.base import Clock
from broker.models import Order
from database.journal import Intent
from services.shared_reads import Copy

ABSENT_READS = 3
ABSENT_SPAN = 10.0
ABSENT_AFTER_DEADLINE = timedelta(seconds=5)

_DEADLINE_UNKNOWN = timedelta(seconds=60)


@dataclass(slots=True)
class _Silence:
    """The complete reads that did not show an intent, by the steady clock."""

    first: float
    last: float
    reads: int = 1


class Evidence:
    """Kept by the process that reconciles; a new one starts from nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[int, float] = {}
        self._silence: dict[int, _Silence] = {}

    def keep_only(self, open_ids: Collection[int]) -> None:
        """Forget what is settled, and remember since when the rest has been open."""
        now = self._clock.monotonic()
        self._seen = {number: self._seen.get(number, now) for number in open_ids}
        self._silence = {
            number: silence for number, silence in self._silence.items() if number in self._seen
        }

    def is_over(self, intent: Intent, by: timedelta, at: datetime | None = None) -> bool:
        """Whether the request of an intent has been over for so long; `at` is now when None."""
        due = deadline_of(intent) + by
        if (at or self._clock.now()) >= due:
            return True
        since = self._seen.get(intent.id)
        lasted = (due - intent.created_at).total_seconds()
        return since is not None and self._clock.monotonic() - since >= lasted

    def proves_absence(self, intent: Intent, copy: Copy[list[Order]]) -> bool:
        """Count a read that does not show the intent, and hold the count against the rule."""
        silence = self._silence.get(intent.id)
        if silence is None:
            self._silence[intent.id] = _Silence(copy.begun, copy.begun)
            return False
        if copy.begun > silence.last:
            silence.last = copy.begun
            silence.reads += 1
        return (
            silence.reads >= ABSENT_READS
            and silence.last - silence.first >= ABSENT_SPAN
            and self.is_over(intent, ABSENT_AFTER_DEADLINE, copy.as_of)
        )


def deadline_of(intent: Intent) -> datetime:
    """When the request of an intent was over."""
    return intent.deadline_at or intent.created_at + _DEADLINE_UNKNOWN
