"""What the watchdog's probe passes, and what stops it."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.slots import FileSlotStore
from database.engine import Database
from database.errors import DatabaseUnavailable
from services.order_path import OrderPath
from tests.support.clocks import ManualClock
from tests.support.databases import sqlite_database
from tests.support.waiting import wait_until
from utils.watchdog import Stuck


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


def slots(folder: Path) -> FileSlotStore:
    return FileSlotStore(folder / "slots", ManualClock())


def test_a_free_path_is_walked_and_leaves_nothing(database: Database, tmp_path: Path) -> None:
    OrderPath(database, slots(tmp_path)).walk()
    assert [path.name for path in (tmp_path / "slots").iterdir()] == ["lock"]
    assert database.writing_for() == 0


def test_a_write_that_never_ends_is_found(database: Database, tmp_path: Path) -> None:
    release = threading.Event()

    def write() -> None:
        with database.write():
            release.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    wait_until(lambda: database.writing_for() > 0)
    with pytest.raises(Stuck, match="open for"):
        OrderPath(database, slots(tmp_path), patience=0).walk()
    release.set()
    thread.join()
    OrderPath(database, slots(tmp_path), patience=0).walk()


def test_a_store_that_fails_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "openalgo.db").write_bytes(b"this is no database" * 100)
    broken = Database(f"sqlite:///{tmp_path / 'openalgo.db'}")
    with pytest.raises(DatabaseUnavailable):
        OrderPath(broken, slots(tmp_path)).walk()


def test_a_lock_that_another_process_keeps_holds_it_up(
    database: Database, tmp_path: Path
) -> None:
    store = slots(tmp_path)
    path = OrderPath(database, store)
    path.walk()
    walked = threading.Event()

    def walk() -> None:
        path.walk()
        walked.set()

    with (tmp_path / "slots" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=walk)
        thread.start()
        assert not walked.wait(0.2)
    assert walked.wait(30)
    thread.join()
