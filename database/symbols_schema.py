"""The tables of the symbols, as plain SQL: the import runs without SQLAlchemy.

`symbol_token` has OpenAlgo's columns (REST reference §3) and ours, and holds live rows only:
`SELECT … WHERE broker='jainam_prop'` is what that broker trades today. `symbol_generation` says
per broker which import the rows came from; `symbol_search` holds per broker and exchange a
compressed text in which any part of a symbol or name is found within a few milliseconds.

On SQLite the tables live in a file of their own, made by `create_sqlite`; on PostgreSQL they are
part of the migrations.
"""

from __future__ import annotations

import sqlite3

# Raise it with every change of the tables below: older files are made anew, and filled by the next
# import, which a start without symbols causes.
VERSION = 1

COLUMNS: tuple[tuple[str, str, str], ...] = (
    # name, SQLite type, PostgreSQL type
    ("symbol", "TEXT NOT NULL", 'TEXT COLLATE "C" NOT NULL'),
    ("brsymbol", "TEXT NOT NULL", "TEXT NOT NULL"),
    ("name", "TEXT NOT NULL", 'TEXT COLLATE "C" NOT NULL'),
    ("exchange", "TEXT NOT NULL", 'TEXT COLLATE "C" NOT NULL'),
    ("brexchange", "TEXT NOT NULL", "TEXT NOT NULL"),
    ("token", "TEXT NOT NULL", 'TEXT COLLATE "C" NOT NULL'),
    ("expiry", "TEXT NOT NULL", 'TEXT COLLATE "C" NOT NULL'),
    ("strike", "REAL NOT NULL", "DOUBLE PRECISION NOT NULL"),
    ("lotsize", "INTEGER NOT NULL", "BIGINT NOT NULL"),
    ("instrumenttype", "TEXT NOT NULL", 'TEXT COLLATE "C" NOT NULL'),
    ("tick_size", "REAL NOT NULL", "DOUBLE PRECISION NOT NULL"),
    ("broker", "TEXT NOT NULL", 'TEXT COLLATE "C" NOT NULL'),
    ("freeze_qty", "INTEGER", "BIGINT"),
    ("kind", "TEXT NOT NULL", "TEXT NOT NULL"),
    ("isin", "TEXT NOT NULL", "TEXT NOT NULL"),
    ("price_low", "REAL", "DOUBLE PRECISION"),
    ("price_high", "REAL", "DOUBLE PRECISION"),
    ("multiplier", "REAL NOT NULL", "DOUBLE PRECISION NOT NULL"),
    ("tradable", "INTEGER NOT NULL", "SMALLINT NOT NULL"),
    ("generation", "INTEGER NOT NULL", "BIGINT NOT NULL"),
)
NAMES = tuple(name for name, _, _ in COLUMNS)

# What a look-up asks for first in each, the broker last. A range of symbols (a chain of options,
# the expiries of a root) needs no other index: symbols begin with the root and the expiry.
INDEXES: tuple[tuple[str, bool, str], ...] = (
    # name, unique, columns
    ("uq_symbol_token_symbol", True, "symbol, exchange, broker"),
    ("uq_symbol_token_token", True, "token, exchange, broker"),
)

GENERATION_SQL = """
CREATE TABLE IF NOT EXISTS symbol_generation (
    broker TEXT NOT NULL PRIMARY KEY,
    generation INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    loaded_at TEXT NOT NULL,
    counts TEXT NOT NULL
)"""
SEARCH_SQL = """
CREATE TABLE IF NOT EXISTS symbol_search (
    broker TEXT NOT NULL,
    exchange TEXT NOT NULL,
    body {blob} NOT NULL,
    PRIMARY KEY (broker, exchange)
)"""


def table_sql(name: str = "symbol_token", *, sqlite: bool = True) -> str:
    """CREATE TABLE for the symbols under this name."""
    key = "id INTEGER PRIMARY KEY" if sqlite else "id BIGSERIAL PRIMARY KEY"
    kinds = [f"{column} {kind if sqlite else pg_kind}" for column, kind, pg_kind in COLUMNS]
    return f"CREATE TABLE {name} ({', '.join([key, *kinds])})"


def index_sql(table: str = "symbol_token", suffix: str = "") -> list[str]:
    """CREATE INDEX statements for a table of symbols; names are global, hence the suffix."""
    return [
        f"CREATE {'UNIQUE ' if unique else ''}INDEX {name}{suffix} ON {table} ({columns})"
        for name, unique, columns in INDEXES
    ]


def postgres_sql() -> list[str]:
    """All statements that make the symbols' tables on PostgreSQL."""
    return [
        table_sql(sqlite=False), *index_sql(),
        GENERATION_SQL.replace("INTEGER", "BIGINT"), SEARCH_SQL.format(blob="BYTEA"),
    ]


def create_sqlite(connection: sqlite3.Connection) -> bool:
    """Make the tables in an SQLite file, unless they are there in this version; whether it did."""
    if _version(connection) == VERSION:  # so that nobody waits for an import that is running
        return False
    connection.execute("BEGIN IMMEDIATE")
    try:
        outdated = _version(connection) != VERSION
        if outdated:
            for table in ("symbol_token", "symbol_generation", "symbol_search"):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in (
                table_sql(), *index_sql(), GENERATION_SQL, SEARCH_SQL.format(blob="BLOB")
            ):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return outdated


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
