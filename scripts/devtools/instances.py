"""Which gateways run from this folder: one lock a port, held by the process that serves.

The lock is the truth, not the file: a process that was killed leaves a file but no lock, and its
number may belong to another program by now.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

DEFAULT_PORT = "5000"
_PATIENCE = 25.0


class Running(Exception):
    """Another process serves this port already."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"process {pid}" if pid else "another process")
        self.pid = pid


def lock_path(root: Path, port: str) -> Path:
    """The lock of the gateway on `port`."""
    return root / "run" / port / "gateway.lock"


def take(path: Path) -> IO[str]:
    """Hold the lock until the stream is closed or the process ends. `Running` when it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise Running(holder(path)) from None
    stream.seek(0)
    stream.truncate()
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def holder(path: Path) -> int | None:
    """The process that holds the lock, None when nobody does."""
    try:
        with path.open("r", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = stream.read().strip()
                return int(text) if text.isdigit() else None
    except FileNotFoundError:
        return None
    return None


def running(root: Path) -> Iterator[tuple[str, int]]:
    """(port, process) of every gateway that is served from this folder."""
    for path in sorted((root / "run").glob("*/gateway.lock")):
        pid = holder(path)
        if pid is not None:
            yield path.parent.name, pid


def stop(path: Path, patience: float = _PATIENCE) -> bool:
    """End the gateway that holds the lock; False when none does. Waits until it is gone."""
    pid = holder(path)
    if pid is None:
        return False
    deadline = time.monotonic() + patience
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        while holder(path) == pid and time.monotonic() < deadline:
            time.sleep(0.05)
        if holder(path) != pid:
            return True
        deadline = time.monotonic() + 5.0
    return True
