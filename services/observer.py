"""What adapters see becomes metrics, logs and alarms here.

`BrokerObserver` is the `Observer` that the application hands to every adapter. Anomalies (an order
state never seen, foreign rows, a shape that does not fit) open an alarm; the same one is written
at most once a minute, so that a row that comes back with every read makes no flood. Nothing here
ever raises into an adapter.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

from broker.base import Clock
from services import counting
from services.alarms import AlarmService
from utils import timing
from utils.metrics import counter

log = logging.getLogger(__name__)

ANOMALY = "broker_anomaly"
_CAPACITY = 1000

_ANOMALIES = counter(
    "openalgo_broker_anomalies_total",
    "Things that a broker sent and that no table knows.",
    ("account", "what"),
)


class BrokerObserver:
    """The `broker.base.Observer` of the application. `repeat_after` is in seconds."""

    def __init__(
        self,
        alarms: AlarmService,
        clock: Clock,
        *,
        repeat_after: float = 60.0,
        quiet_after: timedelta = timedelta(hours=1),
    ) -> None:
        self._alarms = alarms
        self._clock = clock
        self._repeat_after = repeat_after
        self._quiet_after = quiet_after
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str, str], float] = {}

    def call(self, account: str, operation: str, outcome: str, seconds: float) -> None:
        """A call ended: "ok" or the kind of its error, and how long it was on the wire."""
        timing.at_broker(seconds)
        counting.broker_call(account, operation, outcome, seconds)
        if outcome == "ok":
            log.debug("%s of %s took %.1f ms", operation, account, seconds * 1000)
        else:
            log.warning(
                "%s of %s ended as %s after %.1f ms",
                operation, account, outcome, seconds * 1000,
                extra={"account": account, "operation": operation, "error_code": outcome},
            )

    def waited(self, account: str, operation: str, seconds: float) -> None:
        """A call had to wait for its turn."""
        timing.waited(seconds)
        counting.broker_wait(account, operation, seconds)

    def anomaly(self, account: str, what: str, detail: str) -> None:
        """A broker sent something that no table knows."""
        _ANOMALIES.inc(account=account, what=what)
        if self._is_news((account, what, detail)):
            log.warning("anomaly %s of %s: %s", what, account, detail)
            self._alarms.open(ANOMALY, f"{account}: {what}"[:128], detail)

    def forget_quiet(self) -> int:
        """On a schedule: end the alarms of anomalies that have not been seen for `quiet_after`."""
        return self._alarms.close_quiet(ANOMALY, self._quiet_after)

    def _is_news(self, key: tuple[str, str, str]) -> bool:
        now = self._clock.monotonic()
        with self._lock:
            if now < self._told.get(key, float("-inf")) + self._repeat_after:
                return False
            if len(self._told) >= _CAPACITY:
                self._told.clear()
            self._told[key] = now
        return True
