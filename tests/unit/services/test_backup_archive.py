"""The sealed file of a backup: it opens whole and unchanged, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.backup_archive import CHUNK, Unreadable, digest, key_name, pack, signature, unpack

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978"
OTHER = KEY[::-1]


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Three chunks and a bit of incompressible data, and a small file."""
    folder = tmp_path / "content"
    (folder / "deep").mkdir(parents=True)
    (folder / "main.copy").write_bytes(os.urandom(3 * CHUNK + 17))
    (folder / "deep" / "openalgo.env").write_text("SECRET=canary-7f3a\n", encoding="utf-8")
    target = tmp_path / "one.bak"
    assert pack(folder, target, KEY) == digest(target)
    return target


def test_it_opens_as_it_was_and_tells_nothing(sealed: Path, tmp_path: Path) -> None:
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert b"canary" not in sealed.read_bytes()
    unpack(sealed, tmp_path / "out", KEY)
    for name in ("main.copy", "deep/openalgo.env"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "content" / name).read_bytes()


def test_another_key_is_named_as_the_reason(sealed: Path, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="another BACKUP_KEY"):
        unpack(sealed, tmp_path / "out", OTHER)
    assert key_name(KEY) != key_name(OTHER)
    assert signature(KEY, b"text") != signature(OTHER, b"text")


def chunks_of(data: bytes) -> tuple[bytes, list[bytes]]:
    head, body = data[:28], data[28:]
    size = CHUNK + 16
    return head, [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("damage", ["flipped", "cut", "chunk cut off", "swapped", "repeated"])
def test_no_damage_goes_unnoticed(sealed: Path, tmp_path: Path, damage: str) -> None:
    head, chunks = chunks_of(sealed.read_bytes())
    assert len(chunks) == 4
    if damage == "flipped":
        middle = bytearray(chunks[2])
        middle[500] ^= 1
        chunks[2] = bytes(middle)
    elif damage == "cut":
        chunks[3] = chunks[3][:-1]
    elif damage == "chunk cut off":
        chunks.pop()
    elif damage == "swapped":
        chunks[0], chunks[1] = chunks[1], chunks[0]
    else:
        chunks.insert(1, chunks[0])
    sealed.write_bytes(head + b"".join(chunks))
    with pytest.raises(Unreadable, match="damaged or cut off"):
        unpack(sealed, tmp_path / "out", KEY)


def test_something_else_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "x.bak").write_bytes(b"PK\x03\x04" * 20)
    with pytest.raises(Unreadable, match="no backup of ours"):
        unpack(tmp_path / "x.bak", tmp_path / "out", KEY)
