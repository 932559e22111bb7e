"""Named locks that hold over every thread and process of one host, without a server.

A lock is an exclusive `flock` on a file of its own, so the kernel frees it when its holder dies,
however it dies. The file is removed on release; whoever waited on a removed file notices by its
inode and starts over. Threads of one process queue on an ordinary lock first and do not poll.

`NamedLocks` is the interface; for several hosts `services.shared_locks` puts Redis on top.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

from broker.base import Clock, Priority
from broker.waiting import WaitingRoom, is_urgent
from services.errors import Conflict, Unavailable
from services.patience import Patience

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


class LockBusy(Conflict):
    """Somebody else held the lock for the whole time that the caller was ready to wait."""

    kind = "lock_busy"


class LockLost(Unavailable):
    """The lock under which this was decided could not be kept; nothing was sent."""

    kind = "lock_lost"


class Held(Protocol):
    """A lock that can be lost while it is held."""

    name: str

    @property
    def is_held(self) -> bool: ...


_held: ContextVar[tuple[Held, ...]] = ContextVar("held_locks", default=())


@contextmanager
def held_in_context(lock: Held) -> Iterator[None]:
    """In this block, and in what it starts, `demand_held` asks for this lock too."""
    token = _held.set((*_held.get(), lock))
    try:
        yield
    finally:
        _held.reset(token)


def demand_held() -> None:
    """Before a send: `LockLost` unless every lock that was taken here is still this caller's."""
    for lock in _held.get():
        if not lock.is_held:
            raise LockLost(
                f"The lock on '{lock.name}' was lost before the order was sent; nothing was sent.",
                retry_after=1.0,
            )


class NamedLocks(Protocol):
    """Exclusive locks by name. They are not re-entrant."""

    def lock(self, name: str, timeout: float) -> AbstractContextManager[None]:
        """A context in which this caller alone holds `name`; `timeout` in seconds, 0 = try once.

        `LockBusy` when it is not free in time, `QueueFull` when too many requests wait already,
        `Unavailable` when locks cannot be kept at all.
        """

    def is_free(self, name: str) -> bool:
        """Whether nobody holds `name` at this moment."""


class _Local:
    """The in-process half of one name: a lock and how many threads use or await it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0


class HostLocks:
    """`NamedLocks` over files in one directory of this host."""

    def __init__(self, directory: Path, clock: Clock, room: WaitingRoom | None = None) -> None:
        self._directory = directory
        self._clock = clock
        self._room = room or WaitingRoom()
        self._guard = threading.Lock()
        self._local: dict[str, _Local] = {}

    @contextmanager
    def lock(self, name: str, timeout: float) -> Iterator[None]:
        """See `NamedLocks.lock`."""
        descriptor = self._take(name, timeout)
        try:
            yield
        finally:
            self._give(name, descriptor)

    def is_free(self, name: str) -> bool:
        """See `NamedLocks.is_free`."""
        try:
            with self.lock(name, 0.0):
                return True
        except LockBusy:
            return False

    def _take(self, name: str, timeout: float) -> int:
        with self._guard:
            local = self._local.setdefault(name, _Local())
            local.users += 1
        taken = False
        try:
            with waiting(self._room, timeout) as patience:
                taken = patience.acquire(local.lock)
                if not taken:
                    raise LockBusy(busy(name))
                return self._take_file(name, patience)
        except BaseException:
            self._leave(name, local, taken)
            raise

    def _take_file(self, name: str, patience: Patience) -> int:
        path = self._path(name)
        pause = _FIRST_PAUSE
        while True:
            descriptor = _try_file(path)
            if descriptor >= 0:
                return descriptor
            step = patience.step(pause)
            if not step:
                raise LockBusy(busy(name))
            self._clock.sleep(step)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _give(self, name: str, descriptor: int) -> None:
        try:
            os.unlink(self._path(name))
        except OSError:
            pass  # somebody tidied the directory: the lock itself ends with the descriptor
        finally:
            os.close(descriptor)
            self._leave(name, self._local[name], True)

    def _leave(self, name: str, local: _Local, taken: bool) -> None:
        if taken:
            local.lock.release()
        with self._guard:
            local.users -= 1
            if local.users == 0:
                del self._local[name]

    def _path(self, name: str) -> str:
        digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return os.path.join(self._directory, f"{digest}.lock")


def waiting(room: WaitingRoom, seconds: float) -> Patience:
    """A wait for a lock: an entry's, unless a way out hangs on it."""
    return Patience(room, Priority.EXIT if is_urgent() else Priority.ENTRY, seconds)


def _try_file(path: str) -> int:
    """Lock the file at `path` without waiting: its descriptor, or -1 when another holds it."""
    try:
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                continue
            if _lock_file(descriptor):
                if _is_still(path, descriptor):
                    return descriptor
                os.close(descriptor)  # its holder removed it between our open and our lock
            else:
                os.close(descriptor)
                return -1
    except OSError as error:
        raise Unavailable(f"Locks cannot be kept on this host: {error.strerror}.") from error


def _lock_file(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: str, descriptor: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == os.stat(path).st_ino
    except FileNotFoundError:
        return False


def busy(name: str) -> str:
    return f"Another request is working on '{name}'. Try again in a moment."
