"""The state file: SQLite, one writer, opened for itself alone.

A file of another version, master or seed is begun anew. A damaged file, or one of another
program, is set aside under a name that tells when, and never touched again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from simulator.state.capture import Batch
from simulator.state.tables import HOLDINGS, POSITIONS, TABLES, Record, Row, Table

log = logging.getLogger("simulator.state")

#: "XTSS": tells a state file from any other SQLite file.
APPLICATION_ID = 0x58545353
#: How long a simulator that is about to end may still hold the file, in seconds.
_PATIENCE = 5.0
_LARGEST = 2**63 - 1
# Two tables hang on accounts and are replaced with them.
_OF_AN_ACCOUNT = (POSITIONS, HOLDINGS)


class Foreign(Exception):
    """The file is damaged, or not a state file at all."""


class Store:
    """An open state file."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def read(self, profile: str) -> dict[Table, list[Record]]:
        """Every row of a venue."""
        return {
            table: [
                dict(zip(table.columns, row, strict=True))
                for row in self._connection.execute(table.read(), (profile,))
            ]
            for table in TABLES
        }

    def write(self, batches: Iterable[Batch]) -> None:
        """All of it or, when it raises, nothing."""
        try:
            self._write(batches, lambda rows: rows)
        except (OverflowError, UnicodeEncodeError):
            # A number or text that XTS would refuse later, but that is in the book all the same.
            self._write(batches, _storable)

    def close(self) -> None:
        self._connection.close()

    def _write(
        self, batches: Iterable[Batch], prepared: Callable[[Iterable[Row]], Iterable[Row]]
    ) -> None:
        with _transaction(self._connection) as connection:
            for batch in batches:
                for table in TABLES if batch.anew else ():
                    connection.execute(
                        f"DELETE FROM {table.name} WHERE profile = ?",  # noqa: S608
                        (batch.profile,),
                    )
                for table in _OF_AN_ACCOUNT:
                    connection.executemany(
                        f"DELETE FROM {table.name} WHERE profile = ? AND account = ?",  # noqa: S608
                        [(batch.profile, key) for key in batch.replaced],
                    )
                for table, rows in batch.rows.items():
                    connection.executemany(table.write(), prepared(rows))


def open_store(path: Path, version: int, now: datetime) -> tuple[Store, str]:
    """The store at `path`, and "kept", "new" or "set aside": what became of the file there.

    Raises OSError or sqlite3.Error when nothing can be kept there, or another simulator does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    became = "new"
    if path.exists() and path.stat().st_size:
        connection = _connect(path)
        try:
            if _checked(connection) == version:
                _tune(connection)
                return Store(path, connection), "kept"
            log.info("%s is of another version, master or seed: beginning anew", path)
            connection.close()
            _remove(path)
        except (Foreign, sqlite3.DatabaseError) as wrong:
            connection.close()
            if isinstance(wrong, sqlite3.OperationalError):
                raise  # locked, or no right to it: leave it alone
            set_aside(path, str(wrong), now)
            became = "set aside"
    return _create(path, version), became


def set_aside(path: Path, why: str, now: datetime) -> Path:
    """Give the file a name that nothing uses, and say so."""
    stem = f"{path.name}.aside-{now:%Y%m%d-%H%M%S}"
    target = path.with_name(stem)
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{stem}-{number}")
    path.rename(target)
    with suppress(FileNotFoundError):
        _journal(path).rename(_journal(target))
    log.warning("cannot use the state in %s (%s): set aside as %s", path, why, target.name)
    return target


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _checked(connection: sqlite3.Connection) -> int:
    """The version of a state file in good order; raises for any other."""
    with _transaction(connection):
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise Foreign("it is no state file of a simulator")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise Foreign(str(found))
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _create(path: Path, version: int) -> Store:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = _connect(path)
    try:
        _tune(connection)
        with _transaction(connection):
            for table in TABLES:
                connection.execute(table.create())
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        connection.close()
        raise
    return Store(path, connection)


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = NORMAL")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield connection
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _storable(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows with what SQLite has no type for in another one: see `tables` for the way back."""
    for row in rows:
        yield tuple(map(_value, row))


def _value(value: object) -> object:
    if isinstance(value, int) and abs(value) > _LARGEST:
        return str(value)
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "surrogatepass")
    return value


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _remove(path: Path) -> None:
    path.unlink()
    _journal(path).unlink(missing_ok=True)
