"""The file of a backup: a compressed tar, encrypted with BACKUP_KEY, in constant memory.

Layout: `OAB1`, 8 bytes that name the key, 16 bytes of salt, then chunks of 1 MiB sealed with
AES-256-GCM. A chunk's nonce is its number and whether it is the last one, so that chunks cannot be
exchanged, repeated or left off without being noticed. docs/decisions/0161 says why this format.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"OAB1"
CHUNK = 1024 * 1024
_TAG = 16
_SALT = 16
_PURPOSE = b"openalgo-brokers: backup, v1"
_LEVEL = 6


class Unreadable(Exception):
    """The file is damaged, cut off, or was made with another key; the message says which."""


def key_name(key: str) -> str:
    """Eight bytes in hex that tell one BACKUP_KEY from another, and nothing of it."""
    return hmac.new(key.encode(), b"name of a backup key", hashlib.sha256).hexdigest()[:16]


def signature(key: str, text: bytes) -> str:
    """HMAC-SHA256 of a manifest under the key, in hex."""
    made = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE + b" manifest")
    return hmac.new(made.derive(key.encode()), text, hashlib.sha256).hexdigest()


def pack(folder: Path, target: Path, key: str) -> str:
    """Seal every file of `folder` into `target` (mode 600); the SHA-256 of the file in hex."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        sealing: Any = _Sealing(stream, key)
        with (
            gzip.GzipFile("", "wb", _LEVEL, sealing, mtime=0) as packing,
            tarfile.open(fileobj=packing, mode="w|") as tar,
        ):
            for path in sorted(folder.rglob("*")):
                tar.add(path, path.relative_to(folder).as_posix(), recursive=False)
        sealing.finish()
        stream.flush()
        os.fsync(stream.fileno())
    return digest(target)


def unpack(source: Path, folder: Path, *keys: str) -> None:
    """Open a file that `pack` made with any of these keys.

    `Unreadable` when it cannot be trusted to the last byte.
    """
    with source.open("rb") as stream:
        opening: Any = _Opening(stream, keys)
        try:
            with tarfile.open(fileobj=opening, mode="r|gz") as tar:
                tar.extractall(folder, filter="data")
            opening.drain()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise Unreadable(f"{source.name}: {error}") from None


def digest(path: Path) -> str:
    """The SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Sealing:
    """A file to write to, whose bytes leave it sealed."""

    def __init__(self, stream: BinaryIO, key: str) -> None:
        salt = os.urandom(_SALT)
        self._stream = stream
        self._cipher = _cipher(key, salt)
        self._waiting = bytearray()
        self._number = 0
        stream.write(MAGIC + bytes.fromhex(key_name(key)) + salt)

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > CHUNK:
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(data)

    def finish(self) -> None:
        """Seal what is left as the last chunk."""
        self._seal(bytes(self._waiting), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._stream.write(self._cipher.encrypt(_nonce(self._number, last), chunk, MAGIC))
        self._number += 1


class _Opening:
    """A file to read from, whose bytes were sealed."""

    def __init__(self, stream: BinaryIO, keys: Sequence[str]) -> None:
        head = stream.read(len(MAGIC) + 8 + _SALT)
        if len(head) < len(MAGIC) + 8 + _SALT or not head.startswith(MAGIC):
            raise Unreadable("this is no backup of ours")
        name = head[len(MAGIC) : len(MAGIC) + 8].hex()
        key = next((one for one in keys if key_name(one) == name), None)
        if key is None:
            raise Unreadable("it was made with another BACKUP_KEY")
        self._chunks = _chunks(stream, _cipher(key, head[-_SALT:]))
        self._ready = bytearray()

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._ready) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._ready += chunk
        wanted = len(self._ready) if size < 0 else size
        found = bytes(self._ready[:wanted])
        del self._ready[:wanted]
        return found

    def drain(self) -> None:
        """Read to the end: only the last chunk proves that nothing was cut off."""
        for _ in self._chunks:
            pass


def _chunks(stream: BinaryIO, cipher: AESGCM) -> Iterator[bytes]:
    number = 0
    sealed = stream.read(CHUNK + _TAG)
    while True:
        following = stream.read(CHUNK + _TAG)
        try:
            yield cipher.decrypt(_nonce(number, not following), sealed, MAGIC)
        except InvalidTag:
            raise Unreadable("it is damaged or cut off") from None
        if not following:
            return
        sealed, number = following, number + 1


def _cipher(key: str, salt: bytes) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=salt, info=_PURPOSE)
    return AESGCM(derived.derive(key.encode()))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")
