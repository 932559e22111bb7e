"""Prepared statements: the same on every dialect, in the transaction of their connection."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from database import flags
from database.base import table_of
from database.prepared import Prepared
from tests.support.databases import NOON, sqlite_database

TABLE = table_of(flags.Flag)
NAMES = tuple(column.name for column in TABLE.c)
INSERT = Prepared(sa.insert(TABLE).returning(TABLE.c.name), NAMES)
UPDATE = Prepared(
    sa.update(TABLE)
    .where(TABLE.c.name == sa.bindparam("which", None))
    .values(value=sa.literal_column("'new'"))
)


def row(name: str) -> dict[str, object]:
    known: dict[str, object] = {"name": name, "value": "old", "changed_by": "me"}
    return {name: known.get(name, NOON if "at" in name else 0) for name in NAMES}


def value_of(conn: sa.Connection, name: str) -> object:
    return conn.execute(sa.select(TABLE.c.value).where(TABLE.c.name == name)).scalar()


def test_it_returns_rows_and_counts(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database, database.write() as conn:
        assert INSERT.execute(conn, row("a")).scalar_one() == "a"
        done = UPDATE.execute(conn, {"which": "a"})
        assert (done.rowcount, list(done.rows)) == (1, [])
        assert UPDATE.execute(conn, {"which": "nobody"}).rowcount == 0
        assert value_of(conn, "a") == "new"


def test_it_is_rolled_back_with_its_transaction(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        with pytest.raises(ZeroDivisionError), database.write() as conn:
            INSERT.execute(conn, row("a"))
            raise ZeroDivisionError
        with database.read() as conn:
            assert value_of(conn, "a") is None


def test_outside_a_transaction_it_begins_one(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        with database.engine.connect() as conn:
            INSERT.execute(conn, row("a"))  # never committed
        with database.read() as conn:
            assert value_of(conn, "a") is None


def test_its_errors_are_those_of_sqlalchemy_and_hold_no_values(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database, database.write() as conn:
        INSERT.execute(conn, row("canary"))
        with pytest.raises(IntegrityError) as caught:
            INSERT.execute(conn, row("canary"))
    assert "canary" not in str(caught.value)


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    with (
        sqlite_database(tmp_path) as database,
        database.write() as conn,
        pytest.raises(KeyError, match="which"),
    ):
        UPDATE.execute(conn, {})
