"""Moves SQLite's write-ahead log into the database beside the orders, not in front of one.

SQLite's own way is that the commit which fills the log past 1,000 pages copies it, with two waits
for the disk: every eightieth order paid for all the others. In a serving process a thread does that
a few times a second while orders go on being written (docs/decisions/0101).
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

log = logging.getLogger(__name__)

EVERY = 0.25
"""Seconds between two looks."""

ENOUGH = 100
"""Commits of this process after which the log is copied: some 600 pages."""

TOO_LONG = 4_000
"""Pages (16 MB) after which writers wait for a moment, so that the log can begin anew: while they
write on, a copy is never complete, and the log would grow for as long as they do."""

IN_FRONT = 16_000
"""Pages (64 MB) after which a commit copies the log by itself, should this thread not get to it."""


class Checkpoints:
    """The thread and its connection. `commits` counts this process's, `alone` keeps writers out."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        commits: Callable[[], int],
        alone: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._connect = connect
        self._commits = commits
        self._alone = alone
        self._done = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after the copy that may be under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        conn: sqlite3.Connection | None = None
        while not self._stop.wait(EVERY):
            count = self._commits()
            if count - self._done < ENOUGH:
                continue
            self._done = count
            try:
                conn = conn or self._connect()
                self.copy(conn)
            except sqlite3.Error as error:
                log.warning("the write-ahead log could not be copied: %s", error)
                if conn is not None:
                    conn.close()
                conn = None
        if conn is not None:
            conn.close()

    def copy(self, conn: sqlite3.Connection) -> None:
        """Copy what the log holds. Writers are kept out only for the rest of a log too long."""
        pages, copied = _copy(conn)
        if pages >= TOO_LONG and copied < pages:
            with self._alone():
                _copy(conn)


def _copy(conn: sqlite3.Connection) -> tuple[int, int]:
    """How many pages the log holds, and how many of them are in the database now."""
    _, pages, copied = conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return pages, copied
