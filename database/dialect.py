"""The one statement that SQLite and PostgreSQL share and SQLAlchemy spells per dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, literal
from sqlalchemy.dialects import postgresql, sqlite

from database.base import Base


def insert_new(conn: Connection, model: type[Base], values: Mapping[str, Any]) -> bool:
    """Insert a row unless a unique constraint says that it is there; whether it was inserted."""
    statement = _insert(conn)(model).values(values).on_conflict_do_nothing()
    return conn.execute(statement.returning(literal(1))).first() is not None


def upsert(
    conn: Connection,
    model: type[Base],
    values: Mapping[str, Any],
    *,
    key: Sequence[str],
    change: Mapping[str, Any],
) -> None:
    """Insert a row, or apply `change` to the one that has the same `key`."""
    statement = _insert(conn)(model).values(values)
    conn.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(change)))


def _insert(conn: Connection) -> Any:
    return sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
