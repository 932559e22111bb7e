"""The one statement that SQLite and PostgreSQL share and SQLAlchemy spells per dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def upsert_many(
    conn: Connection,
    model: type[Base],
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    change: Callable[[Any], Mapping[str, Any]],
) -> None:
    """Insert rows in one statement; to those that are there apply `change(the new row)`."""
    if not rows:
        return
    statement = _insert(conn)(model).values([dict(row) for row in rows])
    conn.execute(statement.on_conflict_do_update(
        index_elements=list(key), set_=dict(change(statement.excluded))
    ))


def _insert(conn: Connection) -> Any:
    return sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
