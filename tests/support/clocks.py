"""A clock for tests: time moves when the test says so."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)  # a Friday, noon in India


class ManualClock:
    """Stands still until `advance`; `sleep` advances it, and lets other threads run."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._monotonic = 1000.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds

    def set_back(self, seconds: float) -> None:
        """Set the wall clock back; the steady one knows nothing of it."""
        with self._lock:
            self._now -= timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        time.sleep(0)
