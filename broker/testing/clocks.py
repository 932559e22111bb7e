"""Two clocks: one that only moves when told to, and the real one for tests against a server."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Starts at a Monday morning in the market's hours; `sleep` moves it and returns at once."""

    def __init__(self, start: datetime = datetime(2026, 11, 16, 4, 30, tzinfo=UTC)) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._elapsed = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Aware time: the start plus what has been slept or advanced."""
        return self._start + timedelta(seconds=self._elapsed - 1000.0)

    def monotonic(self) -> float:
        """Seconds; begins at 1000."""
        return self._elapsed

    def sleep(self, seconds: float) -> None:
        """Move on by so many seconds and remember it in `slept`."""
        with self._lock:
            self.slept.append(seconds)
            self._elapsed += max(0.0, seconds)

    def advance(self, seconds: float) -> None:
        """Move on without it counting as a sleep."""
        with self._lock:
            self._elapsed += seconds


class RealClock:
    """The system's clock. A new object is a new application: it shares no circuit breaker."""

    def now(self) -> datetime:
        """Aware time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        time.sleep(max(0.0, seconds))
