"""The tables of a state file: their columns are the fields of the books' own classes."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from simulator.oms.accounts import Account, Holding, Position
from simulator.oms.orders import Order, Report

Row = tuple[Any, ...]
Record = dict[str, Any]


def text(value: Any) -> str:
    """Text from a column; what SQLite can't hold as text was stored as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    if not isinstance(value, str):
        raise ValueError(f"not text: {value!r}")
    return value


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "str": text,
    "bool": bool,
}


def _plain(kind: type[Any]) -> dict[str, Callable[[Any], Any]]:
    """The fields of a dataclass that one column can hold, and how each is read back."""
    return {
        field.name: _CONVERTERS[str(field.type)]
        for field in dataclasses.fields(kind)
        if str(field.type) in _CONVERTERS and field.name != "row_version"
    }


ORDER_FIELDS = _plain(Order)
ACCOUNT_FIELDS = _plain(Account)
POSITION_FIELDS = _plain(Position)
HOLDING_FIELDS = _plain(Holding)
#: Monotonic time means nothing to another process: it is made anew from the wall time.
REPORT_FIELDS = {
    name: _CONVERTERS[kind.__name__]
    for name, kind in get_type_hints(Report).items()
    if name != "mono"
}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that are told apart by `profile` and the rest of `key`, read back by `sort`."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    sort: str = "rowid"

    def create(self) -> str:
        return (
            f"CREATE TABLE {self.name} ({', '.join(map(_quoted, self.columns))}, "
            f"PRIMARY KEY ({', '.join(map(_quoted, self.key))}))"
        )

    def write(self) -> str:
        """Insert a row or update it in its place (its rank among the others stays)."""
        names = ", ".join(map(_quoted, self.columns))
        marks = ", ".join("?" * len(self.columns))
        update = ", ".join(
            f"{_quoted(name)} = excluded.{_quoted(name)}"
            for name in self.columns
            if name not in self.key
        )
        keys = ", ".join(map(_quoted, self.key))
        return (
            f"INSERT INTO {self.name} ({names}) VALUES ({marks}) "  # noqa: S608 - constants
            f"ON CONFLICT ({keys}) DO UPDATE SET {update}"
        )

    def read(self) -> str:
        names = ", ".join(map(_quoted, self.columns))
        return f"SELECT {names} FROM {self.name} WHERE profile = ? ORDER BY {self.sort}"  # noqa: S608


def _quoted(name: str) -> str:
    return f'"{name}"'


VENUES = Table(
    "venues", ("profile",), ("profile", "day", "last_order", "last_sequence", "last_execution")
)
LOGINS = Table("logins", ("profile", "interactive_key"), ("profile", "interactive_key", "document"))
#: account: NULL for a row from elsewhere; waiting: open at the exchange.
ORDERS = Table(
    "orders",
    ("profile", "app_id"),
    ("profile", "account", "segment", "token", "symbol", "waiting", *ORDER_FIELDS),
    "app_id",
)
REPORTS = Table(
    "reports", ("profile", "sequence"), ("profile", "app_id", *REPORT_FIELDS), "sequence"
)
#: sequence: of the report that the execution made.
TRADES = Table(
    "trades",
    ("profile", "sequence"),
    ("profile", "sequence", "app_id", "execution_id", "place", "quantity", "price"),
    "sequence",
)
#: elsewhere: the account of another client, whose rows dealer books show.
ACCOUNTS = Table(
    "accounts", ("profile", "key"), ("profile", "elsewhere", "entries", *ACCOUNT_FIELDS)
)
POSITIONS = Table(
    "positions",
    ("profile", "account", "segment", "token", "product"),
    ("profile", "account", "segment", "token", "symbol", *POSITION_FIELDS),
)
HOLDINGS = Table(
    "holdings", ("profile", "account", "isin"), ("profile", "account", *HOLDING_FIELDS)
)
TABLES = (VENUES, LOGINS, ORDERS, REPORTS, TRADES, ACCOUNTS, POSITIONS, HOLDINGS)


def version(*facts: object) -> int:
    """A number for this layout and `facts`: files with another one are not read."""
    told = ";".join([*(table.create() for table in TABLES), *map(str, facts)])
    return zlib.crc32(told.encode()) & 0x7FFFFFFF
