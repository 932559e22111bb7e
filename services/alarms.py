"""Alarms: one thing everywhere. A row, the metric `openalgo_alarms_open`, and an ERROR in the log.

Opening the same alarm again freshens its message and makes no noise. The metric is counted from
the rows, so that it is right whichever process opened or closed an alarm.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from broker.base import Clock
from database import alarms
from database.engine import Database
from database.errors import StorageError
from utils.metrics import gauge

log = logging.getLogger(__name__)

_OPEN = gauge(
    "openalgo_alarms_open", "Alarms that are open, by rule.", ("rule",), across_workers="mostrecent"
)


@dataclass(frozen=True, slots=True)
class AlarmView:
    """An alarm: `rule` says what kind, `subject` whom it concerns (an account, a broker)."""

    rule: str
    subject: str
    message: str
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None


AlarmViews = list[AlarmView]


class AlarmService:
    """Opens, closes and lists alarms. Neither opening nor closing ever raises."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._exporting = threading.Lock()
        self._rules: set[str] = set()

    def open(self, rule: str, subject: str, message: str) -> bool:
        """Raise an alarm; True when it was not open yet. A failing database is only logged."""
        try:
            with self._database.write() as conn:
                is_new = alarms.open_alarm(conn, rule, subject, message, at=self._clock.now())
        except StorageError:
            log.error("alarm %s of %s (not stored): %s", rule, subject, message)
            return False
        if is_new:
            self.export()
            log.error("alarm %s of %s: %s", rule, subject, message, extra={"alarm": rule})
        return is_new

    def close(self, rule: str, subject: str) -> bool:
        """End an alarm; True when it was open."""
        return self.close_all(rule, (subject,)) > 0

    def close_all(self, rule: str, subjects: Collection[str]) -> int:
        """End those alarms of a rule that are open; how many there were. One look serves all."""
        if not subjects:
            return 0
        ended = []
        try:
            with self._database.read() as conn:
                wanted = set(subjects)
                due = [
                    row.subject for row in alarms.list_open(conn)
                    if row.rule == rule and row.subject in wanted
                ]
            for subject in due:
                with self._database.write() as conn:
                    if alarms.close_alarm(conn, rule, subject, at=self._clock.now()):
                        ended.append(subject)
        except StorageError:
            log.error("alarms %s of %s could not be closed", rule, ", ".join(sorted(subjects)[:5]))
        if ended:
            self.export()
        for subject in ended:
            log.info("alarm %s of %s is over", rule, subject, extra={"alarm": rule})
        return len(ended)

    def close_quiet(self, rule: str, after: timedelta) -> int:
        """End the alarms of a rule that nobody has raised again for so long; how many.

        For what has no other end: something odd that was seen, and is not seen any more.
        """
        try:
            due = [
                alarm.subject
                for alarm in self.list()
                if alarm.rule == rule and self._clock.now() - alarm.updated_at >= after
            ]
        except StorageError:
            return 0  # the health check says that the database is down
        return self.close_all(rule, due)

    def list(self) -> AlarmViews:
        """The open alarms, the oldest first."""
        with self._database.read() as conn:
            return [_view(row) for row in alarms.list_open(conn)]

    def history(self, limit: int = 200) -> AlarmViews:
        """Open and closed alarms, the newest first."""
        with self._database.read() as conn:
            return [_view(row) for row in alarms.list_recent(conn, limit)]

    def export(self) -> None:
        """Set the metric from the rows: at start, and before it is read."""
        try:
            counts = Counter(alarm.rule for alarm in self.list())
        except StorageError:
            return  # the health check says that the database is down
        with self._exporting:
            self._rules.update(counts)
            for rule in self._rules:
                _OPEN.set(counts[rule], rule=rule)


def _view(row: alarms.AlarmRow) -> AlarmView:
    return AlarmView(
        row.rule, row.subject, row.message, row.opened_at, row.updated_at, row.closed_at
    )
