"""What one process has counted since it last wrote it down: the source of the daily history.

Prometheus's counters begin at zero with every process and are gone with it. These are drained
into the database every minute (services/figures.py), where the figures of a day add up over
processes, restarts and hosts.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence

ABOVE = "+Inf"

Counted = dict[tuple[str, str], float]
"""Amounts by name and label."""


class Tally:
    """Counts by name and label. Safe between threads; well below a microsecond a count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: Counted = {}

    def add(self, name: str, label: str = "", amount: float = 1.0) -> None:
        """Count `amount` more."""
        key = (name, label)
        with self._lock:
            self._counted[key] = self._counted.get(key, 0.0) + amount

    def add_all(self, amounts: Mapping[tuple[str, str], float]) -> None:
        """Count several at once."""
        with self._lock:
            for key, amount in amounts.items():
                self._counted[key] = self._counted.get(key, 0.0) + amount

    def drain(self) -> Counted:
        """What was counted, which is forgotten here; `add_all` takes it back."""
        with self._lock:
            counted, self._counted = self._counted, {}
        return counted


class Buckets:
    """Names for the buckets of a distribution: the label of a value is its upper bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._labels = (*(f"{bound:g}" for bound in bounds), ABOVE)

    def label(self, value: float) -> str:
        """The label of the bucket that `value` falls into."""
        return self._labels[bisect_left(self._bounds, value)]


def share_within(counts: Mapping[str, float], bound: float) -> float | None:
    """The share of values in buckets up to `bound`, which is one of theirs; None of no values."""
    total = sum(counts.values())
    if not total:
        return None
    return sum(amount for label, amount in counts.items() if float(label) <= bound) / total


def quantile(counts: Mapping[str, float], share: float) -> float | None:
    """The upper bound of the bucket in which this quantile lies; None of no values."""
    total = sum(counts.values())
    seen = 0.0
    for label, amount in sorted(counts.items(), key=lambda item: float(item[0])):
        seen += amount
        if total and seen >= share * total:
            return float(label)
    return None


DAY = Tally()
"""What this process counts for the daily history."""
