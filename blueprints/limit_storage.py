"""Where inbound limits are counted: a table that all worker processes of a host share.

The engine's own in-memory storage counts every worker by itself and starts a timer thread every few
milliseconds. This one is a table of fixed size, in anonymous memory for one worker, in a mapped
file under one lock for several. With Redis configured its storage is used instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limits.storage import SlidingWindowCounterSupport, Storage

_RECORD = struct.Struct("<16sqIIQ")  # digest, window number, count before, count now, window (s)
_ROWS = 8192
_PROBES = 8
_SIZE = _ROWS * _RECORD.size
_EMPTY = bytes(16)


class SharedStorage(Storage, SlidingWindowCounterSupport):
    """Counters in a table of fixed size: anonymous memory, or a file that all processes map.

    `uri` is `shared://` (this process and its children only) or `shared:///path/to/file`. A key is
    stored as a digest. When eight neighbouring rows are all live, the one idle longest is reused:
    the table then forgets a caller early, never the other way round.
    """

    STORAGE_SCHEME = ["shared"]  # noqa: RUF012 (the base class declares it so)

    def __init__(
        self,
        uri: str = "shared://",
        *,
        now: Callable[[], float] = time.time,
        wrap_exceptions: bool = False,
        **_: object,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._now = now
        self._guard = threading.Lock()
        path = uri.removeprefix("shared://")
        self._path = Path(path) if path else None
        self._file = -1
        self._pid = -1
        self._open()

    def _open(self) -> None:
        """(Re)open in this process: a lock on a file belongs to its open description."""
        if self._path is None:
            if self._pid == -1:
                self._map = mmap.mmap(-1, _SIZE)
        else:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._file).st_size < _SIZE:
                os.ftruncate(self._file, _SIZE)
            self._map = mmap.mmap(self._file, _SIZE)
        self._pid = os.getpid()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._guard:
            if self._pid != os.getpid() and self._path is not None:
                self._open()
            if self._file >= 0:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                if self._file >= 0:
                    fcntl.flock(self._file, fcntl.LOCK_UN)

    def _read(self, key: str, window: int, now: float) -> tuple[int, bytes, int, int, int]:
        """Row offset, digest, window number and the two counts of `key`; call under the lock."""
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=16).digest()
        number = int(now // window)
        first = int.from_bytes(digest[:4], "little") % _ROWS
        best, idle_since = -1, float("inf")
        for step in range(_PROBES):
            offset = ((first + step) % _ROWS) * _RECORD.size
            found, at, before, current, length = _RECORD.unpack_from(self._map, offset)
            if found == digest and length == window:
                if at == number:
                    return offset, digest, number, before, current
                return offset, digest, number, current if at == number - 1 else 0, 0
            since = -1.0 if found == _EMPTY or length == 0 else (at + 2) * float(length)
            if since < idle_since:
                best, idle_since = offset, since
        return best, digest, number, 0, 0

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count `amount` calls of `key` unless that would exceed `limit` in `expiry` seconds."""
        now = self._now()
        with self._locked():
            offset, digest, number, before, current = self._read(key, expiry, now)
            left = 1.0 - (now - number * expiry) / expiry
            if before * left + current + amount > limit:
                return False
            _RECORD.pack_into(self._map, offset, digest, number, before, current + amount, expiry)
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Count before, its seconds to live, count now, its seconds to live."""
        now = self._now()
        with self._locked():
            _, _, number, before, current = self._read(key, expiry, now)
        left = (number + 1) * expiry - now
        return before, left, current, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget the calls of `key`."""
        with self._locked():
            offset, digest, number, _, _ = self._read(key, expiry, self._now())
            _RECORD.pack_into(self._map, offset, digest, number, 0, 0, expiry)

    # What fixed windows need: Flask-Limiter asks every storage for it ---------------------------

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return OSError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count in the fixed window of `expiry` seconds; return the count so far."""
        now = self._now()
        with self._locked():
            offset, digest, number, before, current = self._read(key, expiry, now)
            _RECORD.pack_into(self._map, offset, digest, number, before, current + amount, expiry)
        return current + amount

    def get(self, key: str) -> int:
        """The count of a fixed window (the key alone tells no length, so the row is searched)."""
        found = self._any_window(key)
        return found[0] if found else 0

    def get_expiry(self, key: str) -> float:
        """When the fixed window of `key` ends (epoch seconds); now when there is none."""
        found = self._any_window(key)
        return found[1] if found else self._now()

    def _any_window(self, key: str) -> tuple[int, float] | None:
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=16).digest()
        first = int.from_bytes(digest[:4], "little") % _ROWS
        with self._locked():
            for step in range(_PROBES):
                offset = ((first + step) % _ROWS) * _RECORD.size
                found, at, _, current, length = _RECORD.unpack_from(self._map, offset)
                if found == digest and (end := (at + 1) * float(length)) > self._now():
                    return current, end
        return None

    def check(self) -> bool:
        """Always usable: the table is mapped."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        with self._locked():
            self._map[:] = bytes(_SIZE)
        return None

    def clear(self, key: str) -> None:
        """Forget the fixed windows of `key`."""
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=16).digest()
        first = int.from_bytes(digest[:4], "little") % _ROWS
        with self._locked():
            for step in range(_PROBES):
                offset = ((first + step) % _ROWS) * _RECORD.size
                if self._map[offset : offset + 16] == digest:
                    self._map[offset : offset + _RECORD.size] = bytes(_RECORD.size)


def storage_uri(redis_url: str, workers: int, directory: Path) -> str:
    """Where inbound limits are counted: Redis, or what `host_uri` says."""
    if redis_url.startswith("unix:"):
        return f"redis+{redis_url}"
    return redis_url or host_uri(workers, directory)


def host_uri(workers: int, directory: Path) -> str:
    """Where one host counts: in a file for several workers, in memory for one."""
    return f"shared://{directory / 'inbound-limits.bin'}" if workers > 1 else "shared://"


def storage_options(uri: str, instance: str = "") -> dict[str, Any]:
    """How the storage of this address is connected to: Redis has half a second to answer.

    `instance` keeps the counts of several gateways in one Redis apart.
    """
    if "redis" not in uri.partition(":")[0]:
        return {}
    from redis import ConnectionError as Gone
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "key_prefix": f"openalgo:limits:{instance}",
        "socket_timeout": 0.5,
        "socket_connect_timeout": 0.5,
        "retry": Retry(NoBackoff(), 1, supported_errors=(Gone,)),
    }
