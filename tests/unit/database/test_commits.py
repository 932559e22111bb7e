"""Commits that threads share: one transaction for many, and each its own outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from database import flags
from database.commits import Commits
from database.engine import Database
from database.errors import DatabaseUnavailable
from tests.support.databases import NOON, sqlite_database
from tests.support.waiting import wait_until


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


class Counted:
    """`Database.write`, with a count of the transactions; a closed `door` holds the next one up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.durable: list[bool] = []
        self.door = threading.Event()
        self.fails: Exception | None = None
        self.door.set()

    @contextmanager
    def __call__(self, durable: bool) -> Iterator[Connection]:
        self.durable.append(durable)
        assert self.door.wait(10)
        if self.fails is not None:
            raise self.fails
        with self._database.write(durable=durable) as conn:
            yield conn


def flag(name: str):
    def work(conn: Connection) -> str:
        if name.startswith("bad"):
            flags.set_flag(conn, f"half-{name}", "1", at=NOON, by="me")
            raise ZeroDivisionError(name)
        flags.set_flag(conn, name, "1", at=NOON, by="me")
        return name

    return work


def names(database: Database) -> set[str]:
    with database.read() as conn:
        return {row.name for row in flags.list_flags(conn)}


def queued(commits: Commits, count: int) -> None:
    wait_until(lambda: len(commits._queue) == count)


def start(commits: Commits, write: Counted, pool: ThreadPoolExecutor, wanted: dict[str, bool]):
    """One work commits behind the closed door while the others come; what became of each."""
    write.door.clear()
    running = {"first": pool.submit(commits.run, flag("first"))}
    wait_until(lambda: bool(write.durable))
    for number, (name, durable) in enumerate(wanted.items(), 1):
        running[name] = pool.submit(commits.run, flag(name), durable=durable)
        queued(commits, number)
    return running


def test_who_comes_meanwhile_shares_the_next_transaction(sqlite: Database) -> None:
    write = Counted(sqlite)
    commits = Commits(write, 5.0)
    with ThreadPoolExecutor(8) as pool:
        running = start(commits, write, pool, {"a": False, "b": True, "c": False})
        write.door.set()
        assert {name: each.result(10) for name, each in running.items()} == {
            name: name for name in running
        }
    assert write.durable == [True, True]  # one of the three waits for the disk, so all do
    assert names(sqlite) >= {"first", "a", "b", "c"}


def test_relaxed_works_alone_do_not_wait_for_the_disk(sqlite: Database) -> None:
    write = Counted(sqlite)
    commits = Commits(write, 5.0)
    with ThreadPoolExecutor(8) as pool:
        running = start(commits, write, pool, {"a": False, "b": False})
        write.door.set()
        for each in running.values():
            each.result(10)
    assert write.durable == [True, False]


def test_one_that_raises_spoils_nothing_for_the_others(sqlite: Database) -> None:
    write = Counted(sqlite)
    commits = Commits(write, 5.0)
    with ThreadPoolExecutor(8) as pool:
        running = start(commits, write, pool, {"a": True, "bad": True, "c": True})
        write.door.set()
        assert [running[name].result(10) for name in "ac"] == ["a", "c"]
        with pytest.raises(ZeroDivisionError):
            running["bad"].result(10)
    assert names(sqlite) >= {"first", "a", "c"}
    assert "half-bad" not in names(sqlite)


def test_storage_that_fails_is_told_to_everyone_once(sqlite: Database) -> None:
    write = Counted(sqlite)
    commits = Commits(write, 5.0)
    with ThreadPoolExecutor(8) as pool:
        running = start(commits, write, pool, {"a": True, "b": True})
        write.fails = DatabaseUnavailable("the disk is full")
        write.door.set()
        for each in running.values():
            with pytest.raises(DatabaseUnavailable, match="the disk is full"):
                each.result(10)
    assert len(write.durable) == 2
    write.fails = None
    assert commits.run(flag("later")) == "later"


def test_a_turn_is_waited_for_a_limited_time(sqlite: Database) -> None:
    write = Counted(sqlite)
    commits = Commits(write, 0.05)
    with ThreadPoolExecutor(8) as pool:
        running = start(commits, write, pool, {"late": True})
        with pytest.raises(DatabaseUnavailable, match="other writes take too long"):
            running["late"].result(10)
        write.door.set()
        assert running["first"].result(10) == "first"
    assert "late" not in names(sqlite)


def test_many_threads_lose_nothing(sqlite: Database) -> None:
    wanted = [f"{'bad' if number % 7 == 0 else 'flag'}-{number}" for number in range(120)]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda name: _outcome(sqlite, name), wanted))
    assert done == [None if name.startswith("bad") else name for name in wanted]
    assert {name for name in wanted if name.startswith("flag")} <= names(sqlite)


def _outcome(database: Database, name: str) -> str | None:
    try:
        return database.commit(flag(name), durable=name.endswith("1"))
    except ZeroDivisionError:
        return None


def test_a_commit_inside_a_write_is_refused(sqlite: Database) -> None:
    with sqlite.write(), pytest.raises(RuntimeError, match="open in this thread"):
        sqlite.commit(flag("inner"))
