"""Writes large files to disk a little at a time, so that nobody's fsync waits behind them.

A file system flushes what an fsync asks for together with what others have written: 45 MB at once
keep an order's commit waiting for 50 ms and more. Here the kernel is told early and in small steps
to begin writing (Linux: `posix_fadvise`, which starts writing dirty pages without waiting). Where
that can't be done nothing is, and files are written as the kernel likes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

_STEP = 1 << 20


class Writeback:
    """The part of one file that has been handed to the disk so far.

    The descriptor is the one through which the file is open already: opening and closing another
    would drop the locks that SQLite holds on it (POSIX locks belong to the process).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._done = 0

    def advance(self) -> None:
        """Let the kernel begin to write what was added since the last time."""
        descriptor = open_descriptor(self._path)
        if descriptor is None:
            return
        size = os.fstat(descriptor).st_size
        if size > self._done:
            os.posix_fadvise(descriptor, self._done, size - self._done, os.POSIX_FADV_DONTNEED)
        self._done = size


def write_out(path: str, sleep: Callable[[float], None], pause: float) -> bool:
    """Write the whole file to disk in steps of 1 MB, `pause` seconds apart; whether it was done."""
    descriptor = open_descriptor(path)
    if descriptor is None:
        return False
    for start in range(0, os.fstat(descriptor).st_size, _STEP):
        os.posix_fadvise(descriptor, start, _STEP, os.POSIX_FADV_DONTNEED)
        sleep(pause)
    os.fsync(descriptor)
    return True


def open_descriptor(path: str) -> int | None:
    """A descriptor of this process that has the file open, None where that can't be told."""
    if not hasattr(os, "posix_fadvise"):
        return None
    wanted = os.path.realpath(path)
    try:
        for name in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{name}") == wanted:
                    return int(name)
            except OSError:  # closed meanwhile: the listing's own, for one
                continue
    except OSError:
        return None
    return None
