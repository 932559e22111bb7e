"""The declarative base of all tables of the main database, and rows as frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, Connection, Integer, MetaData, Select, Table, select
from sqlalchemy.orm import DeclarativeBase

T = TypeVar("T")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY.
BigId = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Base of the typed models; they describe the tables, statements are written with Core."""

    metadata = MetaData(naming_convention=NAMING)


class RowMapper(Generic[T]):
    """Reads rows of one table into a frozen dataclass whose fields are named as its columns."""

    def __init__(self, cls: type[T], model: type[Base]) -> None:
        self.make: Callable[..., T] = cls
        self.names = [item.name for item in dataclasses.fields(cls)]  # type: ignore[arg-type]
        self.columns = [model.__table__.c[name] for name in self.names]

    def select(self) -> Select[Any]:
        """A SELECT of the columns that the dataclass has, in its order."""
        return select(*self.columns)

    def one(self, conn: Connection, statement: Select[Any]) -> T | None:
        """The first row, or None when there is none."""
        row = conn.execute(statement).first()
        return None if row is None else self.make(*row)

    def all(self, conn: Connection, statement: Select[Any]) -> list[T]:
        return [self.make(*row) for row in conn.execute(statement)]

    def values(self, item: T, leave_out: tuple[str, ...] = ("id",)) -> Mapping[str, Any]:
        """The item's fields as column values, without the ones the database gives."""
        return {name: getattr(item, name) for name in self.names if name not in leave_out}


def table_of(model: type[Base]) -> Table:
    """The model's table, with its precise type."""
    table = model.__table__
    if not isinstance(table, Table):
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return table
