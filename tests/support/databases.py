"""Scratch databases for tests: SQLite in a temporary folder, PostgreSQL in a database of its own.

Tests that use PostgreSQL carry the mark `postgres`, by which `tests/conftest.py` leaves them out
where there is no server.
"""

from __future__ import annotations

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
    """A fresh database on the PostgreSQL server, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    server = sa.make_url(SERVER).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {name}")
    database = Database(server.set(database=name).render_as_string(hide_password=False))
    try:
        if upgraded:
            database.upgrade()
        yield database
    finally:
        database.dispose()
        with admin.connect() as conn:
            conn.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


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
