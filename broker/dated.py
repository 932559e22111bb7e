"""What time it was at the other end: the `Date` of an answer, held against our own clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Dated:
    """When an answer came by our clock, and what time it said it was."""

    at: datetime
    text: str
    elapsed: float

    @property
    def offset(self) -> float | None:
        """Seconds by which the sender's clock is ahead; None for a time that can't be read.

        An answer tells whole seconds, so half of one is added; it was made about half its round
        trip ago.
        """
        try:
            told = parsedate_to_datetime(self.text)
        except (TypeError, ValueError):
            return None
        if told.tzinfo is None:
            return None
        return (told - self.at).total_seconds() + 0.5 + self.elapsed / 2
