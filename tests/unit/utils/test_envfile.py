"""The secrets of a fresh installation: random, complete, private, never overwritten."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dotenv import dotenv_values

from utils.envfile import GENERATED, ensure_secrets, read_plain, write_private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_fresh_file_has_every_secret_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert ensure_secrets(path, {}) == list(GENERATED)
    values = dotenv_values(path)
    assert all(len(values[name] or "") == 64 for name in GENERATED)
    assert len({values[name] for name in GENERATED}) == len(GENERATED)
    assert mode(path) == 0o600


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("PORT=5001\nSECRET_KEY=mine\nAPI_KEY_PEPPER=\nBACKUP_KEY_FILE=/k", "utf-8")
    path.chmod(0o644)
    assert ensure_secrets(path, {}) == ["API_KEY_PEPPER"]
    values = dotenv_values(path)
    assert (values["PORT"], values["SECRET_KEY"]) == ("5001", "mine")
    assert values["BACKUP_KEY_FILE"] == "/k"
    assert len(values["API_KEY_PEPPER"] or "") == 64
    assert mode(path) == 0o600


def test_a_complete_file_is_only_made_private(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    ensure_secrets(path, {})
    before = path.read_bytes()
    path.chmod(0o640)
    assert ensure_secrets(path, {}) == []
    assert path.read_bytes() == before
    assert mode(path) == 0o600


def test_the_environment_may_give_them_all(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert ensure_secrets(path, dict.fromkeys(GENERATED, "given")) == []
    assert not path.exists()


def test_two_starts_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda _: ensure_secrets(path, {}), range(8)))
    assert sorted(map(len, written)) == [0] * 7 + [3]
    assert path.read_text("utf-8").count("SECRET_KEY=") == 1


def test_plain_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert read_plain(path) == {}
    path.write_text("# c\nexport PORT = 5001\nA='x y'\nB=\"q\"\nC=\nnonsense\n", "utf-8")
    assert read_plain(path) == {"PORT": "5001", "A": "x y", "B": "q", "C": ""}


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_text("old", "utf-8")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_private(path, "new")
    assert path.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
