"""Statements of the hot path: written with Core, compiled once per dialect, sent as they are.

SQLAlchemy's execution of a Core statement costs about 60 µs, most of it for generality that an
insert or update of the journal doesn't need; the same SQL through `exec_driver_sql` costs 20. The
connection, its transaction and its errors stay SQLAlchemy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect
from sqlalchemy.sql.dml import UpdateBase

Processor = Callable[[Any], Any]


class Prepared:
    """One INSERT or UPDATE with named parameters, the same on every dialect."""

    def __init__(self, statement: UpdateBase, names: tuple[str, ...] = ()) -> None:
        """`names` are the columns that an INSERT will be given."""
        self._statement = statement
        self._names = names
        self._plans: dict[str, _Plan] = {}

    def execute(self, conn: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Run it with these values; every parameter must be among them."""
        plan = self._plans.get(conn.dialect.name)
        if plan is None:
            plan = self._plans[conn.dialect.name] = _Plan(
                self._statement, self._names, conn.dialect
            )
        return conn.exec_driver_sql(plan.sql, plan.parameters(values))


class _Plan:
    """The statement as one dialect spells it, and how its values must be converted."""

    def __init__(
        self, statement: UpdateBase, names: tuple[str, ...], dialect: Dialect
    ) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names) or None)
        self.sql = compiled.string
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
