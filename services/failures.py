"""Unhandled errors, grouped and counted: whatever is logged as an error with a trace.

A logging handler sees every such record of the process, whoever wrote it. Errors of one class
that came the same way through our own code are one group. A group keeps the class and the way,
and no message: what an exception says may quote what a caller sent (database/failures.py).
Counting touches no database; `flush` writes the groups, on a schedule and at the end.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from types import TracebackType

from broker.base import Clock
from database import failures
from database.engine import Database
from database.errors import StorageError
from database.failures import KIND_LENGTH, PLACE_LENGTH, FailureRow
from utils.config import ROOT
from utils.logging import bound_fields
from utils.metrics import counter

__all__ = ["FailureRow", "FailureService"]

_FAILURES = counter(
    "openalgo_unhandled_errors_total",
    "Errors that no code expected; `flask errors list` groups them.",
)
_GROUPS_IN_MEMORY = 200
_STEPS = 12

_OURS = str(ROOT)


class FailureService:
    """Groups errors from `watch` to `close`, and lists the groups."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: dict[str, FailureRow] = {}
        self._handler: _Watcher | None = None

    def watch(self) -> None:
        """Begin to see what this process logs."""
        if self._handler is None:
            self._handler = _Watcher(self._note)
            logging.getLogger().addHandler(self._handler)

    def close(self) -> None:
        """Stop watching, and write what was seen."""
        handler, self._handler = self._handler, None
        if handler is not None:
            logging.getLogger().removeHandler(handler)
        self.flush()

    def flush(self) -> int:
        """Write the groups that were seen since the last time; how many. Kept when it fails."""
        with self._lock:
            groups, self._groups = self._groups, {}
        if not groups:
            return 0
        try:
            with self._database.write(durable=False) as conn:
                failures.add(conn, list(groups.values()))
        except StorageError:
            with self._lock:
                for fingerprint, group in groups.items():
                    self._groups[fingerprint] = _joined(group, self._groups.get(fingerprint))
            return 0
        return len(groups)

    def list(self, limit: int = 50) -> list[FailureRow]:
        """The groups, the one that was seen last first; those still in memory are written first."""
        self.flush()
        with self._database.read() as conn:
            return failures.newest(conn, limit)

    def _note(self, error: BaseException) -> None:
        kind, trail = _kind_of(error), _trail_of(error.__traceback__)
        place = trail[-1] if trail else ""
        way = " < ".join(reversed(trail[-_STEPS:]))
        fingerprint = hashlib.sha256(f"{kind}|{way}".encode()).hexdigest()[:16]
        _FAILURES.inc()
        now: datetime = self._clock.now()
        request_id = str(bound_fields().get("request_id", ""))[:64]
        seen = FailureRow(fingerprint, kind, place[:PLACE_LENGTH], way, 1, now, now, request_id)
        with self._lock:
            known = self._groups.get(fingerprint)
            if known is not None or len(self._groups) < _GROUPS_IN_MEMORY:
                self._groups[fingerprint] = _joined(known, seen)


class _Watcher(logging.Handler):
    """Hands on the exceptions of records at ERROR or above."""

    def __init__(self, note: Callable[[BaseException], None]) -> None:
        super().__init__(logging.ERROR)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        """Note the record's exception; a failure here must never become one of the caller."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return
        try:
            self._note(error)
        except Exception:
            self.handleError(record)


def _joined(older: FailureRow | None, newer: FailureRow | None) -> FailureRow:
    if older is None or newer is None:
        one = older or newer
        assert one is not None  # noqa: S101 (one of both is given)
        return one
    return replace(newer, seen=older.seen + newer.seen, first_at=older.first_at)


def _kind_of(error: BaseException) -> str:
    cls = type(error)
    home = "" if cls.__module__ == "builtins" else f"{cls.__module__}."
    return f"{home}{cls.__qualname__}"[:KIND_LENGTH]


def _trail_of(trace: TracebackType | None) -> list[str]:
    """The steps through our own code, as "file:function"; of a foreign error all steps.

    Line numbers are left out, so that a group outlives an edit above it.
    """
    steps = [(frame.filename, frame.name) for frame in traceback.extract_tb(trace)]
    own = [
        (file.removeprefix(_OURS).lstrip("/"), name)
        for file, name in steps
        if file.startswith(_OURS) and "/site-packages/" not in file
    ]
    return [f"{file}:{name}" for file, name in own] or [
        f"{file.rpartition('/')[2]}:{name}" for file, name in steps
    ]
