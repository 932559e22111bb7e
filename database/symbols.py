"""Reading the symbols: one at a time within microseconds, many at once, by range and by text.

Every question is one statement, so its answer comes from one generation, whatever an import does
meanwhile. On SQLite the reader keeps one connection of its own per process, used under a lock: a
look-up takes 10 µs of it, where a connection from a pool would cost 80. On PostgreSQL it uses the
pool of `Database`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from database.engine import Database
from database.errors import DatabaseUnavailable
from database.symbol_rows import FIELDS
from database.symbol_text import SearchText

_COLUMNS = ", ".join(("id", *FIELDS, "generation"))
_PREFIXED = ", ".join(f"t.{name}" for name in ("id", *FIELDS, "generation"))
_BATCH = 250
_CHUNK = 2_000
_LAST_CHARACTER = "\U0010ffff"

Row = tuple[Any, ...]
"""`id`, then the fields of `database.symbol_rows.SymbolRow`, and the generation as the last."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The live contract of a broker: which import it came from, and its rows by exchange."""

    number: int
    rows: int
    loaded_at: datetime
    counts: dict[str, int]


class SymbolReader:
    """Questions to `symbol_token`. All raise `DatabaseUnavailable` when storage fails."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_sqlite = database.symbols_engine.dialect.name == "sqlite"
        self._lock = threading.Lock()
        self._conn: sqlite3.Connection | None = None
        self._pid = 0

    def generations(self) -> dict[str, int]:
        """The number of the live import, by broker. Cheap enough to ask every few milliseconds."""
        return dict(self._all("SELECT broker, generation FROM symbol_generation"))

    def generation(self, broker: str) -> Generation | None:
        """What is known of the broker's live contract; None before its first import."""
        rows = self._all(
            "SELECT generation, row_count, loaded_at, counts FROM symbol_generation"
            " WHERE broker = ?", (broker,),
        )
        if not rows:
            return None
        number, count, loaded_at, counts = rows[0]
        return Generation(number, count, datetime.fromisoformat(loaded_at), json.loads(counts))

    def by_symbol(self, broker: str, exchange: str, symbol: str) -> Row | None:
        return self._first(
            f"SELECT {_COLUMNS} FROM symbol_token"  # noqa: S608 - constant names
            " WHERE symbol = ? AND exchange = ? AND broker = ?", (symbol, exchange, broker),
        )

    def by_token(self, broker: str, exchange: str, token: str) -> Row | None:
        return self._first(
            f"SELECT {_COLUMNS} FROM symbol_token"  # noqa: S608
            " WHERE token = ? AND exchange = ? AND broker = ?", (token, exchange, broker),
        )

    def many(self, broker: str, column: str, pairs: Sequence[tuple[str, str]]) -> list[Row]:
        """The rows of many pairs of `column` ("symbol" or "token") and exchange, in no order."""
        if column not in ("symbol", "token"):
            raise ValueError(f"there is no look-up by {column}")
        found: list[Row] = []
        for start in range(0, len(pairs), _BATCH):
            batch = pairs[start : start + _BATCH]
            wanted = ", ".join(["(?, ?)"] * len(batch))
            values = [value for pair in batch for value in pair]
            # CROSS: pairs outside, the index inside, whatever SQLite thinks of their number
            found += self._all(
                f"WITH wanted (word, place) AS (VALUES {wanted})"  # noqa: S608
                f" SELECT {_PREFIXED} FROM wanted CROSS JOIN symbol_token t"
                f" WHERE t.{column} = wanted.word AND t.exchange = wanted.place AND t.broker = ?",
                (*values, broker),
            )
        return found

    def expiries(
        self, broker: str, root: str, exchange: str, instrument_types: Sequence[str]
    ) -> list[str]:
        """The expiries ("DD-MMM-YY", in no order) of a root's futures or options."""
        marks = ", ".join("?" * len(instrument_types))
        rows = self._all(
            "SELECT DISTINCT expiry FROM symbol_token WHERE symbol >= ? AND symbol < ?"  # noqa: S608
            f" AND exchange = ? AND broker = ? AND name = ? AND instrumenttype IN ({marks})",
            (root, root + _LAST_CHARACTER, exchange, broker, root, *instrument_types),
        )
        return [expiry for (expiry,) in rows if expiry]

    def starting_with(self, broker: str, exchange: str, prefix: str, limit: int) -> list[Row]:
        """The rows whose symbol begins so, in the order of their symbols."""
        return self._all(
            f"SELECT {_COLUMNS} FROM symbol_token WHERE symbol >= ? AND symbol < ?"  # noqa: S608
            " AND exchange = ? AND broker = ? ORDER BY symbol LIMIT ?",
            (prefix, prefix + _LAST_CHARACTER, exchange, broker, limit),
        )

    def search_text(self, broker: str) -> SearchText:
        """The text to search; cash before derivatives. Keep it as long as the generation lives."""
        rows = self._all("SELECT exchange, body FROM symbol_search WHERE broker = ?", (broker,))
        order = {name: place for place, name in enumerate(_SEARCH_ORDER)}
        rows.sort(key=lambda row: (order.get(row[0], len(order)), row[0]))
        return SearchText({exchange: bytes(body) for exchange, body in rows})

    def iterate(self, broker: str, exchange: str | None) -> Iterator[Row]:
        """All rows of a broker, or of one of its exchanges, from one generation, in chunks."""
        condition = " AND exchange = ?" if exchange else ""
        values = (broker, exchange) if exchange else (broker,)
        sql = f"SELECT {_COLUMNS} FROM symbol_token WHERE broker = ?{condition}"  # noqa: S608
        with self._database.symbols() as conn:
            result = conn.execution_options(stream_results=True).exec_driver_sql(
                self._spelt(sql), values
            )
            while rows := result.fetchmany(_CHUNK):
                yield from (tuple(row) for row in rows)

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        with self._lock:
            self._drop()

    def _first(self, sql: str, values: Sequence[Any]) -> Row | None:
        rows = self._all(sql, values)
        return rows[0] if rows else None

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        if not self._is_sqlite:
            conn: Connection
            with self._database.symbols() as conn:
                rows = conn.exec_driver_sql(self._spelt(sql), tuple(values)).all()
            return [tuple(row) for row in rows]
        with self._lock:
            try:
                if self._conn is None or self._pid != os.getpid():
                    self._connect()
                return self._conn.execute(sql, values).fetchall()  # type: ignore[union-attr]
            except sqlite3.Error as exc:
                self._drop()
                raise DatabaseUnavailable(f"the symbols can't be read: {exc}") from exc

    def _spelt(self, sql: str) -> str:
        return sql if self._is_sqlite else sql.replace("?", "%s")

    def _connect(self) -> None:
        if self._conn is not None:  # a fork's copy: kept, because closing it would harm the parent
            _INHERITED.append(self._conn)
        path = str(self._database.symbols_url.database)
        self._conn = sqlite3.connect(
            path, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        self._conn.execute("PRAGMA query_only = ON").close()
        self._pid = os.getpid()

    def _drop(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None and self._pid == os.getpid():
            with suppress(sqlite3.Error):
                conn.close()


_INHERITED: list[sqlite3.Connection] = []
_SEARCH_ORDER = (
    "NSE", "BSE", "NSE_INDEX", "BSE_INDEX", "MCX_INDEX", "NFO", "BFO", "MCX", "CDS", "BCD",
    "NCDEX", "NCO",
)
