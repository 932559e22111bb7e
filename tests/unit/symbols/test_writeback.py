"""Writing large files to disk in small steps, through descriptors that are open already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from database import writeback
from database.engine import Database
from tests.support.databases import sqlite_database
from tests.support.instruments import load, share


def test_a_file_goes_out_in_steps_of_a_megabyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, at, size, _how: told.append((at, size)))
    pauses: list[float] = []
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"x" * 2_500_000)
        file.flush()
        assert writeback.write_out(str(path), pauses.append, 0.01)
    assert told == [(0, 1 << 20), (1 << 20, 1 << 20), (2 << 20, 1 << 20)]
    assert pauses == [0.01] * 3


def test_only_what_was_added_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, at, size, _how: told.append((at, size)))
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file:
        log = writeback.Writeback(str(path))
        log.advance()
        file.write(b"x" * 100)
        log.advance()
        log.advance()
        file.write(b"x" * 50)
        log.advance()
    assert told == [(0, 100), (100, 50)]


def test_where_it_cannot_be_done_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "not open"
    path.write_bytes(b"x")
    assert writeback.open_descriptor(str(path)) is None
    assert not writeback.write_out(str(path), lambda _: None, 0)
    writeback.Writeback(str(path)).advance()
    with path.open("rb") as file:
        assert writeback.open_descriptor(str(path)) == file.fileno()
        monkeypatch.setattr(os, "listdir", lambda _path: (_ for _ in ()).throw(OSError("no /proc")))
        assert writeback.open_descriptor(str(path)) is None
        monkeypatch.delattr(os, "posix_fadvise")
        assert writeback.open_descriptor(str(path)) is None


@pytest.mark.parametrize("smooth", [True, False])
def test_after_an_import_the_log_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smooth: bool
) -> None:
    if not smooth:
        monkeypatch.setattr(writeback, "open_descriptor", lambda _path: None)
    with sqlite_database(tmp_path) as database:
        load(database, [share(f"S{n}", token=str(n)) for n in range(500)])
        path = Path(str(database.symbols_url.database))
        log = path.with_name(path.name + "-wal")
        assert not log.exists() or log.stat().st_size == 0
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "symbols.db").write_bytes(path.read_bytes())
        alone = Database(f"sqlite:///{copy / 'openalgo.db'}")
        with alone.symbols() as conn:
            assert conn.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert conn.exec_driver_sql("SELECT count(*) FROM symbol_token").scalar() == 500
        alone.dispose()
