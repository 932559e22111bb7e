"""Where pacing counts calls: rolling windows in memory, or in files that a whole host shares.

A call occupies a slot from its grant until one window after its answer. The venue receives it
somewhere in between, so by the venue's own clock no window ever holds more calls than there are
slots (design §4.3). A slot whose holder died comes back when its lease and one window have passed.

Every window is a table of 64-bit integers; both stores run the same arithmetic on it and differ in
where the bytes lie and what locks them. Times are nanoseconds of the clock's monotonic time, which
on one host is the same in all processes until it boots anew.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from broker.base import Clock, Grant, Priority, SlotStore, Wait, WindowKey

RECHECK = 0.003
"""Seconds after which a waiter looks again whether somebody more urgent is still waiting."""

WAITER_LEASE = 15.0
"""Seconds for which a process that announced a waiter is believed without hearing of it again."""

LONGEST_LEASE = 600.0
"""Seconds; no call may take longer, so a time further off is left over from before a reboot."""

_SECOND = 1_000_000_000
_NO_HORIZON = 2**63 - 1
_PRIORITIES = len(Priority)

# The table: a head of single numbers, rows of waiting processes, held slots, and a ring of slots
# that cool down. Answers come in the order of time, so the ring is sorted by when a slot is free.
_FORMAT = 0x4F414C4F_00000001
_MAGIC, _BOOT, _FIRST, _LAST, _HELD_TOP, _WAITER_TOP, _TOKEN = range(7)
_WAITERS = 8
_WAITER_ROWS = 64
_WAITER_WIDTH = 2 + _PRIORITIES  # process id, time of expiry, how many wait at each priority
_HELD = _WAITERS + _WAITER_ROWS * _WAITER_WIDTH
_HELD_ROWS = 512
_OWNERS = _HELD + _HELD_ROWS
_RING = _OWNERS + _HELD_ROWS
_RING_SIZE = 8192
TABLE_BYTES = 8 * (_RING + _RING_SIZE)


# The system call without giving the interpreter away, for locks that do not wait: who gave it away
# while it holds the lock waited for its turn among all threads, and all that need the lock with it.
_flock = ctypes.PyDLL(None).flock
_flock.argtypes = (ctypes.c_int, ctypes.c_int)
_flock.restype = ctypes.c_int


class SlotsUnavailable(Exception):
    """The storage cannot be used: a full disk, missing rights, a server that is down."""


class _Window:
    """The arithmetic of one rolling window over its table. Not locked: its store does that."""

    __slots__ = ("_cells", "_row")

    def __init__(self, cells: memoryview, boot: int, horizon: int) -> None:
        """`boot` names this run of the machine; no time after `horizon` can come from it."""
        self._cells = cells
        self._row = -1
        times = cells[_HELD:_OWNERS].tolist() + cells[_RING:].tolist()
        if cells[_MAGIC] != _FORMAT or cells[_BOOT] != boot or max(times) > horizon:
            cells[_MAGIC] = 0
            for start in range(1, len(cells), 1024):
                part = cells[start : start + 1024]
                part[:] = memoryview(bytes(part.nbytes)).cast("q")
            cells[_BOOT] = boot
            cells[_MAGIC] = _FORMAT

    def wait(self, key: WindowKey, now: int) -> int:
        """Nanoseconds until a slot can be free at the earliest, 0 when one is."""
        cells = self._cells
        first, last = cells[_FIRST], cells[_LAST]
        if first != last:
            while first != last and cells[_RING + first % _RING_SIZE] <= now:
                first += 1
            cells[_FIRST] = first
        held = self._held(now)
        missing = last - first + len(held) - key.calls + 1
        if missing <= 0 and len(held) < _HELD_ROWS:
            return 0
        times = sorted([*held, *(self._cooling(first, last, max(missing, 1)))])
        # Even a slot that is given back this instant has one window to cool.
        earliest = min(times[max(missing, 1) - 1] - now, int(key.window * _SECOND))
        return max(earliest, 1)

    def _cooling(self, first: int, last: int, most: int) -> list[int]:
        cells = self._cells
        return [
            cells[_RING + index % _RING_SIZE] for index in range(first, min(last, first + most))
        ]

    def _held(self, now: int) -> list[int]:
        """When the leases of the slots in use end."""
        cells = self._cells
        top = cells[_HELD_TOP]
        if not top:
            return []
        held = [until for until in cells[_HELD : _HELD + top].tolist() if until > now]
        if not held:
            cells[_HELD_TOP] = 0
        return held

    def take(self, key: WindowKey, now: int, lease: float) -> tuple[WindowKey, int, int]:
        """Occupy a slot; `wait` has just said that there is one."""
        cells = self._cells
        top = cells[_HELD_TOP]
        index = 0
        while index < top and cells[_HELD + index] > now:
            index += 1
        token = cells[_TOKEN] = cells[_TOKEN] + 1
        cells[_OWNERS + index] = token
        cells[_HELD + index] = now + int((min(lease, LONGEST_LEASE) + key.window) * _SECOND)
        if index == top:
            cells[_HELD_TOP] = top + 1
        return key, index, token

    def release(self, key: WindowKey, index: int, token: int, now: int) -> None:
        """Let a slot cool for one window. A holder whose lease is over still made a call."""
        cells = self._cells
        free = now + int(key.window * _SECOND)
        mine = cells[_OWNERS + index] == token
        last = cells[_LAST]
        if last - cells[_FIRST] < _RING_SIZE:
            # The ring first: dying between the two writes counts the call twice, never not at all.
            cells[_RING + last % _RING_SIZE] = free
            cells[_LAST] = last + 1
            if mine:
                cells[_HELD + index] = 0
        elif mine:
            cells[_HELD + index] = free

    def outranked(self, priority: int, now: int) -> bool:
        """Whether anybody more urgent is waiting, in any live process."""
        cells = self._cells
        top = cells[_WAITER_TOP]
        alive = False
        found = False
        for row in range(_WAITERS, _WAITERS + top * _WAITER_WIDTH, _WAITER_WIDTH):
            pid = cells[row]
            if not pid:
                continue
            if cells[row + 1] <= now or not _lives(pid):
                cells[row] = 0
                continue
            alive = True
            found = found or any(cells[row + 2 : row + 2 + priority])
        if top and not alive:
            cells[_WAITER_TOP] = 0
        return found

    def announce(self, priority: int, change: int, now: int) -> None:
        """Count a waiter of this process in or out."""
        row = self._own_row(now)
        if row < 0:
            return  # more processes than rows: this one's waiters have no precedence elsewhere
        cells = self._cells
        count = row + 2 + priority
        cells[count] = max(0, cells[count] + change)
        cells[row + 1] = now + int(WAITER_LEASE * _SECOND)
        if not any(cells[row + 2 : row + _WAITER_WIDTH]):
            cells[row] = 0

    def refresh(self, now: int) -> None:
        """This process's waiters, if any, are alive."""
        if self._row >= 0 and self._cells[self._row] == os.getpid():
            self._cells[self._row + 1] = now + int(WAITER_LEASE * _SECOND)

    def _own_row(self, now: int) -> int:
        cells = self._cells
        pid = os.getpid()
        if self._row >= 0 and cells[self._row] == pid:
            return self._row
        for number in range(_WAITER_ROWS):
            row = _WAITERS + number * _WAITER_WIDTH
            if not cells[row] or cells[row + 1] <= now:
                for cell in range(row + 1, row + _WAITER_WIDTH):
                    cells[cell] = 0
                cells[row] = pid
                cells[_WAITER_TOP] = max(cells[_WAITER_TOP], number + 1)
                self._row = row
                return row
        return -1


class _TableStore(SlotStore):
    """What both stores share: all windows of a call under one lock, all or none of them taken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._windows: dict[tuple[str, float], _Window] = {}

    def acquire(
        self, wanted: Sequence[WindowKey], priority: Priority, lease: float
    ) -> Grant | Wait:
        """Take one slot in every window, or say when to ask again (seconds)."""
        with self._locked():
            now = self._now()
            windows = [self._window(key) for key in wanted]
            wait = max(
                (window.wait(key, now) for key, window in zip(wanted, windows, strict=True)),
                default=0,
            )
            if priority and any(window.outranked(priority, now) for window in windows):
                wait = max(wait, int(RECHECK * _SECOND))
            if wait:
                for window in windows:
                    window.refresh(now)
                return Wait(wait / _SECOND)
            return Grant(
                tuple(
                    window.take(key, now, lease)
                    for key, window in zip(wanted, windows, strict=True)
                )
            )

    def release(self, grant: Grant) -> None:
        """Every slot of the grant is free again one window from now."""
        with self._locked():
            now = self._now()
            for key, index, token in grant.entries:
                self._window(key).release(key, index, token, now)

    def waiting(self, wanted: Sequence[WindowKey], priority: Priority, change: int) -> None:
        """Count a waiter in (+1) or out (-1) of every window."""
        with self._locked():
            now = self._now()
            for key in wanted:
                self._window(key).announce(priority, change, now)

    def peek(self, wanted: Sequence[WindowKey]) -> float:
        """Seconds until every window can have a free slot; takes none."""
        with self._locked():
            now = self._now()
            waits = [self._window(key).wait(key, now) for key in wanted]
        return max(waits, default=0) / _SECOND

    def _now(self) -> int:
        return int(self._clock.monotonic() * _SECOND)

    def _window(self, key: WindowKey) -> _Window:
        name = (key.scope, key.window)
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = self._open(key)
        return window

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex:
            yield

    @abstractmethod
    def _open(self, key: WindowKey) -> _Window: ...


class MemorySlotStore(_TableStore):
    """Windows of one process."""

    def _open(self, key: WindowKey) -> _Window:
        return _Window(memoryview(bytearray(TABLE_BYTES)).cast("q"), 1, _NO_HORIZON)


class FileSlotStore(_TableStore):
    """Windows that all processes of one host share through small files in `directory`.

    One lock file serves all of them, so that a call's windows are taken together. The kernel frees
    the lock of a process that dies. Raises `SlotsUnavailable` when the files cannot be used.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        super().__init__(clock)
        self._directory = directory
        self._pid = 0
        self._lock_file = -1

    def close(self) -> None:
        """Let go of the files; the next call opens them again."""
        with self._mutex:
            self._windows.clear()
            if self._lock_file >= 0:
                os.close(self._lock_file)
            self._lock_file = -1
            self._pid = 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._pid != os.getpid():
            self._reopen()
        with self._mutex:
            if _flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB) != 0:
                try:
                    fcntl.flock(self._lock_file, fcntl.LOCK_EX)
                except OSError as error:
                    raise _unavailable(error) from error
            try:
                yield
            finally:
                _flock(self._lock_file, fcntl.LOCK_UN)

    def _reopen(self) -> None:
        """Open the lock anew in every process: a file that was inherited shares its lock."""
        if self._pid:
            self._mutex = threading.Lock()  # may have been held by a thread of the parent
        with self._mutex:
            if self._pid == os.getpid():
                return
            try:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock_file = os.open(
                    self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
            except OSError as error:
                raise _unavailable(error) from error
            self._windows = {}
            self._pid = os.getpid()

    def _open(self, key: WindowKey) -> _Window:
        name = hashlib.sha256(f"{key.scope}|{key.window}".encode()).hexdigest()[:32]
        try:
            file = os.open(
                self._directory / f"{name}.slots", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                _allocate(file)
                table = mmap.mmap(file, TABLE_BYTES)
            finally:
                os.close(file)
        except OSError as error:
            raise _unavailable(error) from error
        horizon = self._now() + int((key.window + LONGEST_LEASE) * _SECOND)
        return _Window(memoryview(table).cast("q"), _boot(), horizon)


def _unavailable(error: OSError) -> SlotsUnavailable:
    return SlotsUnavailable(f"The files that count calls cannot be used: {error.strerror}.")


def _allocate(file: int) -> None:
    """Give the table real blocks: writing into a file's hole on a full disk kills the process."""
    missing = TABLE_BYTES - os.fstat(file).st_size
    if missing > 0:
        os.lseek(file, 0, os.SEEK_END)
        if os.write(file, bytes(missing)) < missing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lives(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _boot() -> int:
    """A number of this boot of the machine, 1 where the system does not say."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return 1
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
