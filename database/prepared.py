"""Statements of the hot path: written with Core, compiled once per dialect, sent as they are.

SQLAlchemy's execution of a Core statement costs about 60 µs, most of it for generality that an
insert or update of the journal doesn't need; the same SQL through `exec_driver_sql` costs 20, and
through SQLite's own driver 5. The connection, its transaction and its errors stay SQLAlchemy's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

Processor = Callable[[Any], Any]


class Done(NamedTuple):
    """What a statement did: how many rows it touched, and the rows that it returned."""

    rowcount: int
    rows: Sequence[Any]

    def scalar_one(self) -> Any:
        """The one value of the one row that was returned."""
        ((value,),) = self.rows
        return value


class Prepared:
    """One INSERT or UPDATE with named parameters, the same on every dialect."""

    def __init__(self, statement: UpdateBase, names: tuple[str, ...] = ()) -> None:
        """`names` are the columns that an INSERT will be given."""
        self._statement = statement
        self._names = names
        self._plans: dict[str, _Plan] = {}

    def execute(self, conn: Connection, values: Mapping[str, Any]) -> Done:
        """Run it with these values; every parameter must be among them."""
        dialect = conn.dialect
        plan = self._plans.get(dialect.name)
        if plan is None:
            plan = self._plans[dialect.name] = _Plan(self._statement, self._names, dialect)
        parameters = plan.parameters(values)
        if plan.is_sqlite and conn.in_transaction():
            return _execute_directly(conn, plan, parameters)
        result = conn.exec_driver_sql(plan.sql, parameters)
        rows = result.fetchall() if result.returns_rows else ()
        return Done(result.rowcount, rows)


def _execute_directly(conn: Connection, plan: _Plan, parameters: Any) -> Done:
    """The same on the driver's connection, inside the transaction that SQLAlchemy has begun."""
    driver: Any = conn.connection.driver_connection
    try:
        cursor = driver.execute(plan.sql, parameters)
        rows = cursor.fetchall() if cursor.description else ()
    except sqlite3.Error as error:
        raise DBAPIError.instance(
            plan.sql, None, error, sqlite3.Error, hide_parameters=True, dialect=conn.dialect
        ) from error
    return Done(cursor.rowcount, rows)


class _Plan:
    """The statement as one dialect spells it, and how its values must be converted."""

    def __init__(
        self, statement: UpdateBase, names: tuple[str, ...], dialect: Dialect
    ) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names) or None)
        self.sql = compiled.string
        self.is_sqlite = dialect.name == "sqlite"
        self._positional = bool(compiled.positional)
        order = compiled.positiontup if self._positional else list(compiled.params)
        self._fields: list[tuple[str, Processor | None]] = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in order or ()
        ]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """The values as the driver wants them; `KeyError` names one that is missing."""
        ready = [
            values[name] if process is None else process(values[name])
            for name, process in self._fields
        ]
        if self._positional:
            return tuple(ready)
        return dict(zip([name for name, _ in self._fields], ready, strict=True))
