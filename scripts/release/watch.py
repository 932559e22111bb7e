"""The watch over a fresh release: figures that say whether to take it back.

Triggers: the gateway is not ready three looks in a row; the share of 5xx answers is above the bound
for as long as the window; an alarm that says orders are not what they should be; a broker that was
connected is not, for a minute; the database is damaged; or a person says so, by making the file
`roll-back-now` beside the state (a security incident is nobody's figure).
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.rescue.http import Client

BY_HAND = "roll-back-now"
ALARMING = ("order_twice", "absent_order_appeared")
_NOT_READY_LOOKS = 3
_DISCONNECTED_SECONDS = 60.0
_FEWEST_CALLS = 20

_COUNT = re.compile(
    r'^openalgo_api_request_seconds_count\{[^}]*status="(\d{3})"[^}]*\} ([0-9.e+]+)$', re.M
)
_ALARM = re.compile(r'^openalgo_alarms_open\{rule="([^"]+)"\} ([0-9.e+]+)$', re.M)
_DAMAGED = re.compile(r"malformed|file is not a database|could not read block", re.I)


@dataclass
class Watch:
    """Looks at a gateway again and again. `window` in seconds, `share` between 0 and 1.

    `before`: alarms that were open before the release came; they are not its doing.
    """

    client: Client
    state: Path
    error_log: Path
    connected: set[str]
    before: set[str] = field(default_factory=set)
    share: float = 0.05
    window: float = 300.0
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _not_ready: int = 0
    _missing_since: float | None = None
    _counts: deque[tuple[float, float, float]] = field(default_factory=deque)
    _read_to: int | None = None

    def run(self, seconds: float, every: float, say: Callable[[str], None]) -> str:
        """Watch for so long; why to take it back, "" when nothing spoke for it."""
        end = self.monotonic() + seconds
        while True:
            why = self.look()
            left = end - self.monotonic()
            if why or left <= 0:
                return why
            say(f"watching, {left:.0f} s left")
            self.sleep(min(every, left))

    def look(self) -> str:
        """One look; why to take it back, or ""."""
        if (self.state / BY_HAND).exists():
            return f"{self.state / BY_HAND} was made by hand"
        try:
            status, _ = self.client.get("/health/ready")
            health = self.client.get("/health")[1] if status == 200 else {}
            metrics = self.client.text("GET", "/metrics")[1] if status == 200 else ""
        except OSError:
            status, health, metrics = 0, {}, ""
        if status != 200:
            self._not_ready += 1
            if self._not_ready >= _NOT_READY_LOOKS:
                return f"the gateway was not ready {self._not_ready} times in a row"
            return ""
        self._not_ready = 0
        return (
            self._errors(metrics) or self._alarms(metrics) or self._brokers(health)
            or self._damage()
        )

    def _errors(self, metrics: str) -> str:
        """The share of 5xx over the window, once the window is full and enough was called."""
        total = failed = 0.0
        for status, count in _COUNT.findall(metrics):
            total += float(count)
            failed += float(count) if status.startswith("5") else 0.0
        now = self.monotonic()
        self._counts.append((now, total, failed))
        while len(self._counts) > 2 and now - self._counts[1][0] >= self.window:
            self._counts.popleft()
        began, total_then, failed_then = self._counts[0]
        if total < total_then:  # the workers are new ones: their counters began again
            self._counts.clear()
            self._counts.append((now, total, failed))
            return ""
        calls = total - total_then
        if now - began < self.window or calls < _FEWEST_CALLS:
            return ""
        share = (failed - failed_then) / calls
        if share > self.share:
            return f"{share:.1%} of {calls:.0f} calls failed within {now - began:.0f} s"
        return ""

    def _alarms(self, metrics: str) -> str:
        open_now = {rule for rule, count in _ALARM.findall(metrics) if float(count)}
        for rule in sorted(open_now & set(ALARMING) - self.before):
            return f"the alarm {rule} is open"
        return ""

    def _brokers(self, health: dict[str, object]) -> str:
        checks = health.get("checks")
        checks = checks if isinstance(checks, dict) else {}
        missing = {
            name for name in self.connected
            if not checks.get(f"broker:{name}", {}).get("connected")
        }
        if not missing:
            self._missing_since = None
            return ""
        now = self.monotonic()
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now - self._missing_since >= _DISCONNECTED_SECONDS:
            return f"{', '.join(sorted(missing))} is disconnected"
        return ""

    def _damage(self) -> str:
        """What was written to error.log since the last look that speaks of a damaged database."""
        try:
            size = self.error_log.stat().st_size
            start = size if self._read_to is None else min(self._read_to, size)
            with self.error_log.open(encoding="utf-8", errors="replace") as stream:
                stream.seek(start)
                text = stream.read()
        except OSError:
            self._read_to = 0
            return ""
        self._read_to = size
        found = _DAMAGED.search(text)
        return f"the database is damaged: '{found.group(0)}' in {self.error_log}" if found else ""


def open_alarms(client: Client) -> set[str]:
    """The rules of the alarms that are open now."""
    try:
        metrics = client.text("GET", "/metrics")[1]
    except OSError:
        return set()
    return {rule for rule, count in _ALARM.findall(metrics) if float(count)}


def connected(client: Client) -> set[str]:
    """The brokers that have a connected account now."""
    try:
        checks = client.get("/health")[1].get("checks", {})
    except OSError:
        return set()
    return {
        name.removeprefix("broker:") for name, detail in checks.items()
        if name.startswith("broker:") and detail.get("connected")
    }
