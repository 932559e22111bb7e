"""The write-ahead log is copied by a thread, and does not grow while writers write on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from database import checkpoints, flags
from database.engine import Database
from tests.support.databases import NOON, sqlite_database
from tests.support.waiting import wait_until


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


def write(database: Database, times: int) -> None:
    for number in range(times):
        with database.write(durable=False) as conn:
            flags.set_flag(conn, f"flag-{number}", "1", at=NOON, by="me")


def log_of(database: Database) -> Path:
    return Path(f"{database.url.database}-wal")


def copied(database: Database) -> bytes:
    return Path(str(database.url.database)).read_bytes()


def test_the_thread_copies_what_was_written(sqlite: Database) -> None:
    sqlite.start_checkpoints()
    sqlite.start_checkpoints()  # a second time changes nothing
    with sqlite.write() as conn:
        assert conn.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar() == checkpoints.IN_FRONT
    before = copied(sqlite)
    write(sqlite, checkpoints.ENOUGH)
    wait_until(lambda: copied(sqlite) != before)
    names = {thread.name for thread in threading.enumerate()}
    assert "checkpoints" in names
    sqlite.dispose()
    assert "checkpoints" not in {thread.name for thread in threading.enumerate()}


def test_a_log_too_long_is_finished_while_writers_wait(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader holds the first copy up, so that it is incomplete; the second one is not."""
    monkeypatch.setattr(checkpoints, "TOO_LONG", 20)
    made = checkpoints.Checkpoints(sqlite._connect_apart, lambda: 0, sqlite._alone)
    with sqlite.write() as conn:
        conn.exec_driver_sql("PRAGMA wal_autocheckpoint=0")
    apart = sqlite._connect_apart()
    asked = []
    with sqlite.read() as reader:
        reader.exec_driver_sql("SELECT * FROM flags").all()
        write(sqlite, 30)
        release = reader.rollback

        class Alone:
            def __enter__(self) -> None:
                asked.append(True)
                release()

            def __exit__(self, *_: object) -> None:
                pass

        made._alone = Alone
        made.copy(apart)
    assert asked == [True]
    grown = log_of(sqlite).stat().st_size
    write(sqlite, 1)
    assert log_of(sqlite).stat().st_size == grown  # the log began anew
    apart.close()


def test_storage_that_fails_is_logged_and_tried_again(
    sqlite: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, failures = sqlite._connect_apart, iter([True])

    def fails_first():
        made = connect()
        if next(failures, False):
            made.close()
        return made

    monkeypatch.setattr(sqlite, "_connect_apart", fails_first)
    sqlite.start_checkpoints()
    write(sqlite, checkpoints.ENOUGH)
    wait_until(lambda: "could not be copied" in caplog.text)
    before = copied(sqlite)
    write(sqlite, checkpoints.ENOUGH)
    wait_until(lambda: copied(sqlite) != before)
