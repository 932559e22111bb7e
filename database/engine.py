"""`Database`: engines, connections and transactions, on SQLite (the default) and PostgreSQL.

SQLite runs in WAL with `synchronous=FULL`: a committed journal entry survives a power cut. It has
one writer at a time; within a process the writers queue on a lock instead of polling, across
processes `busy_timeout` waits. Every write transaction begins IMMEDIATE, so that none fails half
way for a lock it could have asked for at its start.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from database.checkpoints import IN_FRONT, Checkpoints
from database.commits import Commits, T, Work
from database.errors import UNREACHABLE, DatabaseUnavailable
from database.turn import WriteTurn

BUSY_TIMEOUT_MS = 5_000
SYMBOLS_FILE = "symbols.db"
_INHERITED: list[object] = []


class Database:
    """The two stores of one instance: the main database and the symbols.

    `url` is an SQLAlchemy URL. On SQLite the symbols live in a file of their own, `symbols_url` or
    `symbols.db` beside the main file, so that an import never holds the journal's write lock
    (docs/decisions/0010). On PostgreSQL both are one database unless `symbols_url` says otherwise.
    Nothing is connected before it is used, and a forked child starts with fresh connections.
    """

    def __init__(
        self,
        url: str,
        symbols_url: str | None = None,
        pool_size: int = 5,
        max_overflow: int = 10,
    ) -> None:
        self.url = _normalised(url)
        self.symbols_url = _normalised(symbols_url) if symbols_url else _beside(self.url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.symbols_apart = self.symbols_url != self.url
        self.engine = _build_engine(self.url, pool_size, max_overflow)
        self.symbols_engine = (
            _build_engine(self.symbols_url, pool_size, max_overflow)
            if self.symbols_apart
            else self.engine
        )
        self._reading = _snapshots(self.engine)
        self._reading_symbols = _snapshots(self.symbols_engine)
        self._most_connections = pool_size + max_overflow
        self._writer = threading.Lock()
        self._turn = WriteTurn(self.url.database if self.is_sqlite else None)
        self._writer_thread: int | None = None
        self._writing_since: float | None = None
        self._writer_conn: Connection | None = None
        self._commits = self._new_commits()
        self._written = 0
        self._checkpoints: Checkpoints | None = None
        if self.is_sqlite:
            _own_transactions(self.engine, self._writes_now)
            if self.symbols_apart:
                _own_transactions(self.symbols_engine, lambda: False)
        _reset_after_fork(self)

    def read(self) -> AbstractContextManager[Connection]:
        """A connection whose statements all see one state of the main database."""
        return self._connected(self._reading.connect)

    def write(self, *, durable: bool = True) -> AbstractContextManager[Connection]:
        """One write transaction: committed when the block ends, rolled back when it raises.

        Not to be nested within a thread. `DatabaseUnavailable` when storage fails; then nothing
        was committed. `durable` False does not wait for the disk: the commit survives the end of
        the process, but a power cut may take the last ones back. It is for what can be found out
        again (docs/decisions/0073).
        """
        return self._writing_block(self._begin_write if durable else self._begin_relaxed_write)

    def commit(self, work: Work[T], *, durable: bool = True) -> T:
        """What `work(connection)` returned, committed as by `write`; for what many threads write.

        On SQLite the works of threads that come at the same time share a transaction, without
        sharing their errors; see `Commits.run` for what that asks of them.
        """
        if self.is_sqlite:
            self._refuse_nesting()
            return self._commits.run(work, durable=durable)
        with self.write(durable=durable) as conn:
            return work(conn)

    def session_scope(self, *, readonly: bool = False) -> AbstractContextManager[Session]:
        """An ORM session in one transaction, for use with or without an application context."""
        if readonly:
            return self._connected(lambda: Session(self._reading, expire_on_commit=False))
        return self._writing_block(self._begin_session)

    def symbols(self) -> AbstractContextManager[Connection]:
        """A connection whose statements all see one generation of the symbols."""
        return self._connected(self._reading_symbols.connect)

    def connections(self) -> tuple[int, int]:
        """Connections of this process to the main database: in use, and the most there may be."""
        pool: Any = self.engine.pool
        return pool.checkedout(), self._most_connections

    def ping(self) -> None:
        """Ask both stores for a sign of life. `DatabaseUnavailable` when one gives none.

        SQLite answers a constant without opening its file, which may be gone or damaged by then;
        its catalogue stands in the file.
        """
        question = "SELECT count(*) FROM sqlite_master" if self.is_sqlite else "SELECT 1"
        for connect in (self.read, self.symbols):
            with connect() as conn:
                conn.exec_driver_sql(question).scalar_one()

    def writing_for(self) -> float:
        """Seconds since which this process's current write is open; 0 without one.

        Known on SQLite, where a process has one writer; always 0 on PostgreSQL.
        """
        since = self._writing_since
        return 0.0 if since is None else time.monotonic() - since

    def upgrade(self) -> None:
        """Bring both stores to the newest schema, one process at a time."""
        from database.upgrade import upgrade

        upgrade(self)

    def start_checkpoints(self) -> None:
        """On SQLite: copy the write-ahead log in a thread from now on, until `dispose`.

        For processes that serve, after any fork (docs/decisions/0101).
        """
        if not self.is_sqlite or self._checkpoints is not None:
            return
        with self._writer:
            self._close_writer()  # the next one leaves the copying to the thread
            self._checkpoints = Checkpoints(self._connect_apart, lambda: self._written, self._alone)
        self._checkpoints.start()

    def dispose(self) -> None:
        """Close all pooled connections. The object may be used again."""
        checkpoints, self._checkpoints = self._checkpoints, None
        if checkpoints is not None:
            checkpoints.close()
        with self._writer:
            self._close_writer()
            self._turn.close()
        self.engine.dispose()
        if self.symbols_apart:
            self.symbols_engine.dispose()

    @contextmanager
    def _begin_write(self) -> Iterator[Connection]:
        """A transaction that is on disk when it is committed."""
        with self._begin_write_connection() as conn, conn.begin():
            yield conn

    @contextmanager
    def _begin_write_connection(self) -> Iterator[Connection]:
        """The connection to write with: on SQLite the one that is kept for it."""
        if not self.is_sqlite:
            with self.engine.connect() as conn:
                yield conn
            return
        if self._writer_conn is None:
            conn = self._writer_conn = self.engine.connect()
            if self._checkpoints is not None:
                driver: Any = conn.connection.driver_connection
                driver.execute(f"PRAGMA wal_autocheckpoint={IN_FRONT}").close()
        try:
            yield self._writer_conn
        except (OperationalError, InterfaceError):
            self._close_writer()
            raise

    @contextmanager
    def _begin_relaxed_write(self) -> Iterator[Connection]:
        """The same without waiting for the disk; the connection waits again afterwards."""
        with self._begin_write_connection() as conn:
            if not self.is_sqlite:
                with conn.begin():
                    conn.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")
                    yield conn
                return
            driver: Any = conn.connection.driver_connection
            driver.execute("PRAGMA synchronous=NORMAL").close()
            try:
                with conn.begin():
                    yield conn
            finally:
                self._wait_for_disk_again(driver)

    def _wait_for_disk_again(self, driver: Any) -> None:
        try:
            driver.execute("PRAGMA synchronous=FULL").close()
        except sqlite3.Error:
            self._close_writer()  # the next write opens a connection that waits

    @contextmanager
    def _begin_session(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def _writes_now(self) -> bool:
        return self._writer_thread == threading.get_ident()

    def _close_writer(self) -> None:
        conn, self._writer_conn = self._writer_conn, None
        if conn is not None:
            conn.invalidate()
            conn.close()

    @contextmanager
    def _connected(self, connect: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
        try:
            with connect() as conn:
                yield conn
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as exc:
            raise _unavailable(exc) from exc
        except DatabaseError as exc:
            if type(exc) is not DatabaseError:  # a mistake of ours: a constraint, bad SQL
                raise
            raise _unavailable(exc) from exc  # a file that is damaged or no database

    @contextmanager
    def _writing_block(self, begin: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
        if not self.is_sqlite:
            with self._connected(begin) as conn:
                yield conn
            return
        me = self._refuse_nesting()
        if not self._writer.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise DatabaseUnavailable("the database is busy: another write takes too long")
        if not self._turn.take(BUSY_TIMEOUT_MS / 1000):
            self._writer.release()
            raise DatabaseUnavailable("the database is busy: another process writes for too long")
        self._writer_thread = me
        self._writing_since = time.monotonic()
        try:
            with self._connected(begin) as conn:
                yield conn
            self._written += 1
        finally:
            self._writing_since = None
            self._writer_thread = None
            self._turn.give()
            self._writer.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep this process's writers out for a moment."""
        with self._writer:
            yield

    def _connect_apart(self) -> sqlite3.Connection:
        """A connection to the main file that belongs to no pool."""
        made = sqlite3.connect(
            str(self.url.database), timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False
        )
        prepare_sqlite(made)
        return made

    def _new_commits(self) -> Commits:
        return Commits(lambda durable: self.write(durable=durable), BUSY_TIMEOUT_MS / 1000)

    def _refuse_nesting(self) -> int:
        me = threading.get_ident()
        if self._writer_thread == me:
            raise RuntimeError("a write transaction is open in this thread already")
        return me

    def _forget_connections(self) -> None:
        """Drop what a fork has copied, without closing it: it belongs to the parent.

        The copies are kept alive, because their end would close them.
        """
        _INHERITED.append((self._writer_conn, self.engine.pool, self.symbols_engine.pool))
        self._writer = threading.Lock()
        self._writer_thread = None
        self._writing_since = None
        self._writer_conn = None
        self._commits = self._new_commits()
        self._checkpoints = None
        self.engine.dispose(close=False)
        if self.symbols_apart:
            self.symbols_engine.dispose(close=False)


def _reset_after_fork(database: Database) -> None:
    reference = weakref.ref(database)

    def reset() -> None:
        alive = reference()
        if alive is not None:
            alive._forget_connections()

    os.register_at_fork(after_in_child=reset)


def _snapshots(engine: Engine) -> Engine:
    """The same pool, with transactions in which every statement sees one state of the data."""
    if engine.dialect.name == "sqlite":  # any transaction of SQLite does
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def _unavailable(exc: Exception) -> DatabaseUnavailable:
    """Keep the driver's words, leave out the statement and its parameters."""
    original = getattr(exc, "orig", None) or exc
    return DatabaseUnavailable(f"{UNREACHABLE}{original}".strip())


def _normalised(url: str) -> URL:
    """The parsed URL; a plain `postgresql://` means the installed driver, psycopg 3."""
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file: sqlite:///path/to/openalgo.db")
    return parsed


def _beside(url: URL) -> URL:
    if url.get_backend_name() != "sqlite":
        return url
    return url.set(database=str(Path(str(url.database)).with_name(SYMBOLS_FILE)))


def _build_engine(url: URL, pool_size: int, max_overflow: int) -> Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(
            url, pool_size=pool_size, max_overflow=max_overflow, pool_timeout=5,
            pool_pre_ping=True, connect_args={"connect_timeout": 5}, hide_parameters=True,
        )
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url, pool_size=pool_size, max_overflow=max_overflow, pool_timeout=5,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
        hide_parameters=True,
    )
    event.listen(engine, "connect", prepare_sqlite)
    return engine


def prepare_sqlite(connection: sqlite3.Connection, _record: object = None) -> None:
    """Set the PRAGMAs of a new SQLite connection and take transactions out of the driver's hand."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL",
        "foreign_keys=ON", "cache_size=-4000", "journal_size_limit=67108864",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _own_transactions(engine: Engine, writes_now: Callable[[], bool]) -> None:
    """Let SQLAlchemy begin SQLite's transactions, as a write where the thread has that right.

    The dialect's `do_begin` is replaced and no listener used: listeners make every statement of
    the engine slower.
    """

    def do_begin(connection: Any) -> None:
        connection.execute("BEGIN IMMEDIATE" if writes_now() else "BEGIN").close()

    engine.dialect.do_begin = do_begin  # type: ignore[method-assign, assignment]
