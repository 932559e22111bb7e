"""Whose turn it is to write an SQLite file, among the processes of one host.

SQLite lets one process write at a time, and whoever finds it busy sleeps ever longer, up to a tenth
of a second, while others that came later get in: with four workers under load an order waits for
seconds. A lock on a file beside the database is asked for every millisecond instead. It only says
who tries next; what keeps the data whole is SQLite's own lock. The kernel frees it when its
process dies. Where the file cannot be had, SQLite's way is good enough.
"""

from __future__ import annotations

import fcntl
import os
import time

_PAUSE = 0.001


class WriteTurn:
    """The turn at one database file. For one thread of a process at a time."""

    def __init__(self, database: str | None) -> None:
        """None, or "" or ":memory:": there is nobody to take turns with."""
        self._path = f"{database}-turn" if database and database != ":memory:" else ""
        self._file = -1
        self._pid = 0

    def take(self, seconds: float) -> bool:
        """Wait for the turn; False when it did not come in time."""
        if not self._open():
            return True
        ends = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= ends:
                    return False
                time.sleep(_PAUSE)
            except OSError:
                return True
            else:
                return True

    def give(self) -> None:
        """Let the next one write."""
        if self._file >= 0 and self._pid == os.getpid():
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file; the next turn opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        self._pid = 0

    def _open(self) -> bool:
        """Open the file anew in every process: one that was inherited shares its lock."""
        if not self._path:
            return False
        if self._pid != os.getpid():
            try:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return False
            self._pid = os.getpid()
        return True
