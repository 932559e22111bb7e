"""Brings both stores to the newest schema, one process at a time.

The main database is migrated by Alembic (`migrations/`), with or without a Flask application. The
symbols of an SQLite instance live in a file of their own, whose content is made from a download:
its tables are versioned by the code and made anew when the version differs
(docs/decisions/0010).
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from database import symbols_schema

if TYPE_CHECKING:
    from alembic.config import Config

    from database.engine import Database

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
_LOCK_NUMBER = 0x6F616267  # any number that nobody else locks in this PostgreSQL database


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate the main database up to `revision`, and make the symbols' tables."""
    from alembic import command

    command.upgrade(_config(database), revision)


def downgrade(database: Database, revision: str) -> None:
    """Migrate the main database down to `revision` ("base": nothing is left)."""
    from alembic import command

    command.downgrade(_config(database), revision)


def ensure_symbols(database: Database) -> None:
    """Make the symbols' tables where they are not part of the migrations."""
    if database.symbols_engine.dialect.name == "sqlite":
        with database.symbols_engine.connect() as conn:
            symbols_schema.create_sqlite(conn.connection.driver_connection)  # type: ignore[arg-type]
    elif database.symbols_apart:
        with database.symbols_engine.begin() as conn:
            if conn.exec_driver_sql("SELECT to_regclass('symbol_token')").scalar() is None:
                for statement in symbols_schema.postgres_sql():
                    conn.exec_driver_sql(statement)


@contextmanager
def migrating(database: Database) -> Iterator[Connection]:
    """A connection to migrate with, while every other process waits."""
    if database.is_sqlite:
        path = Path(str(database.url.database) + ".migrate.lock")
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with database.engine.connect() as conn:
                yield conn
        return
    with database.engine.connect() as guard, database.engine.connect() as conn:
        guard.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK_NUMBER})")
        try:
            yield conn
        finally:
            guard.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK_NUMBER})")


def _config(database: Database) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["database"] = database
    return config
