"""Connections and transactions: atomic, isolated, safe over threads and forks, and honest."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from database import flags
from database.engine import Database
from database.errors import DatabaseUnavailable
from tests.support.databases import NOON, postgres_database, sqlite_database


@pytest.fixture
def sqlite(tmp_path: Path):
    with sqlite_database(tmp_path) as made:
        yield made


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as conn:
        flags.set_flag(conn, "kill", "on", at=NOON)
        raise RuntimeError("stop")
    with database.read() as conn:
        assert flags.get(conn, "kill") is None


def test_a_session_commits_or_rolls_back(database: Database) -> None:
    with database.session_scope() as session:
        session.execute(sa.insert(flags.Flag).values(
            name="kill", value="on", version=1, changed_at=NOON
        ))
    with pytest.raises(RuntimeError), database.session_scope() as session:
        flag = session.get(flags.Flag, "kill")
        assert flag is not None
        flag.value = "off"
        session.flush()
        raise RuntimeError("stop")
    with database.session_scope(readonly=True) as session:
        assert session.scalar(sa.select(flags.Flag.value)) == "on"


def test_a_reader_sees_one_state_and_blocks_nobody(database: Database) -> None:
    with database.write() as conn:
        flags.set_flag(conn, "kill", "off", at=NOON)
    with database.read() as reader:
        assert flags.get(reader, "kill") == "off"
        with database.write() as conn:
            flags.set_flag(conn, "kill", "on", at=NOON)
        assert flags.get(reader, "kill") == "off"
    with database.read() as reader:
        assert flags.get(reader, "kill") == "on"


def test_writers_take_turns_and_lose_nothing(database: Database) -> None:
    def add() -> None:
        for _ in range(25):
            with database.write() as conn:
                flags.bump(conn, at=NOON)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as conn:
        assert flags.version(conn) == 200


def _bump_in_another_process(url: str, times: int) -> None:
    database = Database(url)
    for _ in range(times):
        with database.write() as conn:
            flags.bump(conn, at=NOON)
    database.dispose()


def test_processes_take_turns_and_lose_nothing(database: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    url = database.url.render_as_string(hide_password=False)
    processes = [
        spawn.Process(target=_bump_in_another_process, args=(url, 40)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    with database.read() as conn:
        assert flags.version(conn) == 120


def test_a_forked_child_uses_connections_of_its_own(database: Database) -> None:
    with database.write() as conn:
        flags.bump(conn, at=NOON)
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        status = 1
        try:
            with database.write() as conn:
                flags.bump(conn, at=NOON)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    with database.write() as conn:
        assert flags.bump(conn, at=NOON) == 3
    database.ping()


def test_sqlite_is_set_up_to_survive_a_power_cut(sqlite: Database) -> None:
    with sqlite.write() as conn:
        found = {
            name: conn.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000
    }


def test_symbols_have_a_file_of_their_own_on_sqlite(sqlite: Database) -> None:
    assert Path(str(sqlite.symbols_url.database)).name == "symbols.db"
    other = sqlite3.connect(str(sqlite.symbols_url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with sqlite.write() as conn:
        flags.bump(conn, at=NOON)
    other.close()


def test_a_write_does_not_nest(sqlite: Database) -> None:
    with sqlite.write(), pytest.raises(RuntimeError, match="already"), sqlite.write():
        pass
    with sqlite.write() as conn:
        flags.bump(conn, at=NOON)


def test_a_write_waits_for_the_one_before_it_a_limited_time(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.engine.BUSY_TIMEOUT_MS", 50)
    caught: list[Exception] = []

    def write() -> None:
        try:
            with sqlite.write():
                pass
        except DatabaseUnavailable as exc:
            caught.append(exc)

    with sqlite.write():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert "busy" in str(caught[0])


def test_a_lost_database_is_said_to_be_unavailable(tmp_path: Path) -> None:
    gone = Database("postgresql://nobody:canary-password@127.0.0.1:1/none")
    for use in (gone.read, gone.write, gone.session_scope, gone.symbols):
        with pytest.raises(DatabaseUnavailable) as caught, use() as conn:
            conn.execute(sa.text("SELECT 1"))
        assert "canary-password" not in str(caught.value)
    with pytest.raises(DatabaseUnavailable):
        gone.ping()


def test_a_damaged_file_gives_no_sign_of_life(sqlite: Database) -> None:
    sqlite.ping()
    with Path(str(sqlite.url.database)).open("r+b") as stream:
        stream.write(b"\0" * 4096)
    for log in Path(str(sqlite.url.database)).parent.glob("*.db-*"):
        if log.name.endswith(("-wal", "-shm")):
            log.unlink()
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        Database(str(sqlite.url)).ping()


def test_writing_goes_on_after_an_error_of_storage(sqlite: Database) -> None:
    with pytest.raises(DatabaseUnavailable), sqlite.write() as conn:
        conn.exec_driver_sql("SELECT * FROM no_such_table")
    with sqlite.write() as conn:
        assert flags.bump(conn, at=NOON) == 1


def test_a_full_disk_is_told_and_rolled_back(sqlite: Database) -> None:
    with sqlite.write() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DatabaseUnavailable, match="full"), sqlite.write() as conn:
        flags.set_flag(conn, "kill", "x" * 100_000, at=NOON)
    with sqlite.write() as conn:
        conn.exec_driver_sql("PRAGMA max_page_count = 1000000")
        assert flags.get(conn, "kill") is None
        flags.bump(conn, at=NOON)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_sqlite_needs_a_file(url: str) -> None:
    with pytest.raises(ValueError, match="file"):
        Database(url)


def test_a_plain_postgresql_url_means_psycopg() -> None:
    database = Database("postgresql://postgres@127.0.0.1/x")
    assert database.url.drivername == "postgresql+psycopg"
    assert not database.symbols_apart


def test_a_file_that_is_no_database_is_said_to_be_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    path.write_bytes(b"this is no database " * 100)
    damaged = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnavailable, match="not a database"), damaged.read() as conn:
        conn.exec_driver_sql("SELECT 1 FROM users")
    damaged.dispose()


@pytest.mark.parametrize("kind", [sa.exc.InternalError, sa.exc.DatabaseError])
def test_a_server_that_lets_nobody_write_is_said_to_be_unavailable(
    sqlite: Database, kind: type[sa.exc.DBAPIError]
) -> None:
    with pytest.raises(DatabaseUnavailable, match="read-only"), sqlite.write():
        raise kind("UPDATE", {}, Exception("cannot execute in a read-only transaction"))


def test_a_mistake_of_ours_is_not_called_an_outage(sqlite: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), sqlite.write():
        raise sa.exc.IntegrityError("INSERT", {}, Exception("constraint"))


def test_a_relaxed_write_does_not_wait_for_the_disk_and_the_next_one_does(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        seen = []
        for durable in (True, False, True):
            with database.write(durable=durable) as conn:
                seen.append(conn.exec_driver_sql("PRAGMA synchronous").scalar_one())
        assert seen == [2, 1, 2]  # FULL, NORMAL, FULL


def test_a_relaxed_write_that_fails_is_rolled_back_and_leaves_the_disk_waited_for(
    tmp_path: Path,
) -> None:
    with sqlite_database(tmp_path) as database:
        with pytest.raises(ZeroDivisionError), database.write(durable=False) as conn:
            conn.exec_driver_sql("CREATE TABLE never (x)")
            raise ZeroDivisionError
        with database.write() as conn:
            assert conn.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
            assert not sa.inspect(conn).has_table("never")


def test_a_relaxed_write_is_seen_at_once_by_everyone(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        with database.write(durable=False) as conn:
            conn.exec_driver_sql("CREATE TABLE made (x)")
        other = Database(str(database.url))
        with other.read() as conn:
            assert sa.inspect(conn).has_table("made")
        other.dispose()


@pytest.mark.postgres
def test_a_relaxed_write_on_postgres_is_relaxed_for_itself_alone() -> None:
    with postgres_database() as database:
        seen = []
        for durable in (True, False, True):
            with database.write(durable=durable) as conn:
                seen.append(conn.exec_driver_sql("SHOW synchronous_commit").scalar_one())
        assert seen == ["on", "off", "on"]
