"""The turn to write: one process at a time, bounded, freed by death, and never in the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from database import engine
from database.engine import Database
from database.errors import DatabaseUnavailable
from database.turn import WriteTurn
from tests.support.databases import sqlite_database


def _hold(path: str, ready: Any) -> None:
    assert WriteTurn(path).take(5.0)
    ready.set()
    signal.pause()


def test_one_at_a_time_and_freed_by_death(tmp_path: Path) -> None:
    path = str(tmp_path / "one.db")
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(path, ready))
    holder.start()
    assert ready.wait(20)
    turn = WriteTurn(path)
    assert not turn.take(0.02)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert turn.take(5.0)
    assert not WriteTurn(path).take(0.0)
    turn.give()
    assert WriteTurn(path).take(0.0)


def test_a_child_does_not_share_its_parents_turn(tmp_path: Path) -> None:
    path = str(tmp_path / "one.db")
    turn = WriteTurn(path)
    assert turn.take(0.0)
    turn.give()
    child = os.fork()
    if child == 0:
        os._exit(0 if turn.take(5.0) and not WriteTurn(path).take(0.0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert turn.take(0.0)


@pytest.mark.parametrize("database", [None, "", ":memory:"])
def test_without_a_file_nobody_waits(database: str | None) -> None:
    first, second = WriteTurn(database), WriteTurn(database)
    assert first.take(0.0)
    assert second.take(0.0)
    first.give()
    first.close()


def test_a_folder_that_takes_no_file_is_no_obstacle(tmp_path: Path) -> None:
    turn = WriteTurn(str(tmp_path / "absent" / "one.db"))
    assert turn.take(0.0)
    turn.give()


def test_who_waits_too_long_is_told_and_nothing_is_left_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 50)
    with sqlite_database(tmp_path) as database:
        other = WriteTurn(database.url.database)
        assert other.take(0.0)
        with pytest.raises(DatabaseUnavailable, match="another process writes"), database.write():
            pytest.fail("two writers")
        other.give()
        with database.write() as conn:
            conn.exec_driver_sql("CREATE TABLE t (x)")
        assert other.take(0.0), "the turn was given back"
        other.give()


def _write(url: str, rows: int) -> None:
    database = Database(url)
    for _ in range(rows):
        with database.write() as conn:
            conn.exec_driver_sql("UPDATE t SET x = x + 1")
    database.dispose()


def test_processes_write_one_after_the_other(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        with database.write() as conn:
            conn.exec_driver_sql("CREATE TABLE t (x)")
            conn.exec_driver_sql("INSERT INTO t VALUES (0)")
        context = multiprocessing.get_context("spawn")
        url = database.url.render_as_string(hide_password=False)
        writers = [context.Process(target=_write, args=(url, 30)) for _ in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
            assert writer.exitcode == 0
        with database.read() as conn:
            assert conn.exec_driver_sql("SELECT x FROM t").scalar() == 120
