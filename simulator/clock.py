"""The simulator's virtual clock: wall time that can be moved, and a monotonic time for limits.

Wall time decides trading dates, token expiry and tick times; monotonic time decides rate limits
and the order of events. Both sources are handed in, so tests can drive them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as dtime
from email.utils import formatdate

IST = timezone(timedelta(hours=5, minutes=30), "IST")
IST_OFFSET = 19_800
#: Seconds between the Unix epoch and 1980-01-01 00:00 of the IST wall clock (§5.6).
TICK_BASE = 315_513_000

# Trading sessions (open, close) in IST wall time, by segment (§15.4).
SESSIONS: dict[str, tuple[dtime, dtime]] = {
    "NSECM": (dtime(9, 15), dtime(15, 30)),
    "NSEFO": (dtime(9, 15), dtime(15, 30)),
    "BSECM": (dtime(9, 15), dtime(15, 30)),
    "BSEFO": (dtime(9, 15), dtime(15, 30)),
    "NSECD": (dtime(9, 0), dtime(17, 0)),
    "MCXFO": (dtime(9, 0), dtime(23, 30)),
}


class Clock:
    """Virtual time. `wall()` and `mono()` are seconds; `mono_ns()` is for records."""

    __slots__ = ("_mono", "_mono_shift", "_wall", "_wall_shift", "always_open")

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
        always_open: bool = True,
    ) -> None:
        self._wall = wall
        self._mono = mono
        self._wall_shift = 0.0
        self._mono_shift = 0.0
        self.always_open = always_open

    def wall(self) -> float:
        """Seconds since the Unix epoch, virtual."""
        return self._wall() + self._wall_shift

    def mono(self) -> float:
        """Monotonic seconds; jumps forward with `advance`."""
        return self._mono() + self._mono_shift

    def mono_ns(self) -> int:
        """Real monotonic nanoseconds (never shifted), comparable with a client's own."""
        return int(self._mono() * 1e9)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds` (wall time may also go back)."""
        self._wall_shift += seconds
        if seconds > 0:
            self._mono_shift += seconds

    def set(self, moment: datetime) -> None:
        """Make wall time equal to `moment`; it keeps running from there."""
        self._wall_shift = moment.timestamp() - self._wall()

    def reset(self) -> None:
        """Back to real wall time."""
        self._wall_shift = 0.0

    def http_date(self) -> str:
        """Wall time as answers carry it; "" while it is the real one, which servers put in."""
        return formatdate(self.wall(), usegmt=True) if self._wall_shift else ""

    def utc(self) -> datetime:
        """Aware virtual UTC time."""
        return datetime.fromtimestamp(self.wall(), UTC)

    def ist(self) -> datetime:
        """Aware virtual IST time."""
        return datetime.fromtimestamp(self.wall(), IST)

    def trading_date(self) -> date:
        """The virtual IST calendar date."""
        return self.ist().date()

    def tick(self) -> int:
        """Seconds since 1980-01-01 of the IST wall clock, as ticks carry them (§5.6)."""
        return tick_time(self.wall())

    def is_open(self, segment: str) -> bool:
        """True while orders of `segment` may trade (always, unless real hours are on)."""
        if self.always_open:
            return True
        now = self.ist()
        session = SESSIONS.get(segment)
        if session is None or now.weekday() >= 5:
            return False
        return session[0] <= now.time() < session[1]


def tick_time(epoch: float) -> int:
    """Unix seconds -> tick seconds since 1980 IST (3 Aug 2026 10:15 IST is 1470219300)."""
    return int(epoch) - TICK_BASE


def bar_time(epoch: float) -> int:
    """Unix seconds -> IST wall clock read as if it were UTC, as candles carry it (§5.6)."""
    return int(epoch) + IST_OFFSET
