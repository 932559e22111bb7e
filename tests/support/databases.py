"""Scratch databases for tests: SQLite in a temporary folder, PostgreSQL in a database of its own.

Tests that use PostgreSQL carry the mark `postgres`, by which `tests/conftest.py` leaves them out
where there is no server.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy as sa

from broker.models import Secret
from database import accounts, users
from database.crypto import Vault
from database.engine import Database

SERVER = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
VAULT = Vault("a key for tests only, 32 characters")


@contextmanager
def sqlite_database(folder: Path, *, upgraded: bool = True) -> Iterator[Database]:
    """A fresh SQLite database under `folder`."""
    if upgraded:
        for name, content in _upgraded_files().items():
            (folder / name).write_bytes(content)
    database = Database(f"sqlite:///{folder / 'openalgo.db'}")
    try:
        yield database
    finally:
        database.dispose()


@cache
def _upgraded_files() -> dict[str, bytes]:
    """The files of an empty database of the newest schema: migrated once, copied for each test."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'openalgo.db'}")
        database.upgrade()
        database.dispose()  # the last connection to close folds the write-ahead log in
        return {
            path.name: path.read_bytes() for path in Path(folder).iterdir()
            if path.suffix == ".db"
        }


@contextmanager
def postgres_database(*, upgraded: bool = True) -> Iterator[Database]:
    """A fresh database on the PostgreSQL server, dropped afterwards.

    The one of the newest schema is made once per test process, and emptied after each test.
    """
    if upgraded:
        database = Database(_upgraded_postgres())
        try:
            yield database
        finally:
            _empty(database)
            database.dispose()
        return
    with scratch_postgres_url() as url:
        database = Database(url)
        try:
            yield database
        finally:
            database.dispose()


@contextmanager
def scratch_postgres_url() -> Iterator[str]:
    """The URL of an empty database on the PostgreSQL server, dropped afterwards."""
    url = _create_postgres()
    try:
        yield url
    finally:
        _drop_postgres(url)


@cache
def _upgraded_postgres() -> str:
    url = _create_postgres()
    atexit.register(_drop_postgres, url)
    database = Database(url)
    database.upgrade()
    database.dispose()
    return url


def _empty(database: Database) -> None:
    names = [
        name for name in sa.inspect(database.engine).get_table_names() if name != "alembic_version"
    ]
    with database.engine.begin() as conn:
        conn.exec_driver_sql(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE")


def _create_postgres() -> str:
    name = f"test_{uuid.uuid4().hex}"
    _as_admin(f"CREATE DATABASE {name}")
    return _server().set(database=name).render_as_string(hide_password=False)


def _drop_postgres(url: str) -> None:
    _as_admin(f"DROP DATABASE IF EXISTS {sa.make_url(url).database} WITH (FORCE)")


def _as_admin(statement: str) -> None:
    admin = sa.create_engine(_server(), isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.exec_driver_sql(statement)
    admin.dispose()


def _server() -> sa.URL:
    return sa.make_url(SERVER).set(drivername="postgresql+psycopg")


@contextmanager
def scratch_database(kind: str, folder: Path, *, upgraded: bool = True) -> Iterator[Database]:
    """A fresh database of the kind "sqlite" or "postgres"."""
    if kind == "sqlite":
        with sqlite_database(folder, upgraded=upgraded) as database:
            yield database
    else:
        with postgres_database(upgraded=upgraded) as database:
            yield database


KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def add_user(database: Database, name: str = "asha") -> int:
    """A user; their id."""
    with database.write() as conn:
        return users.create_user(conn, name, "a hash", at=NOON).id


def add_account(database: Database, label: str = "prop-b", owner_id: int | None = None) -> int:
    """An account; its id."""
    new = accounts.NewAccount(
        label=label,
        broker="jainam_prop",
        owner_id=owner_id,
        credentials={"market_api_key": Secret("canary-market-key")},
    )
    with database.write() as conn:
        return accounts.create_account(conn, new, VAULT, at=NOON).id
