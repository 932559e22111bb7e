"""The import into PostgreSQL: COPY into a temporary table, then one transaction that replaces.

A rename would need an exclusive lock and wait for every reader; deleting and inserting leaves
readers with the rows of before until the commit, by PostgreSQL's own versions of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from database import symbols_schema
from database.symbol_import import SymbolImport
from database.symbol_rows import FIELDS, RowValues

_ONE_AT_A_TIME = 0x6F617379  # the advisory lock of imports in this database


class PostgresImport(SymbolImport):
    """An import into PostgreSQL; imports of several brokers wait for each other."""

    staging = "symbol_staging"
    own = "id IS NOT NULL"  # all of them

    def __init__(self, url: str, broker: str) -> None:
        super().__init__(broker)
        self._conn = psycopg.connect(url, autocommit=True, connect_timeout=5)
        self._conn.execute("SELECT pg_advisory_lock(%s)", [_ONE_AT_A_TIME])
        self.generation = self._next_generation()
        kinds = {name: kind for name, _, kind in symbols_schema.COLUMNS}
        columns = ", ".join(f"{name} {kinds[name]}" for name in FIELDS)
        self._conn.execute(
            f"CREATE TEMP TABLE {self.staging} (id BIGSERIAL PRIMARY KEY, {columns})"
        )
        self._copy = f"COPY {self.staging} ({', '.join(FIELDS)}) FROM STDIN"

    def _write(self, rows: Sequence[RowValues]) -> None:
        with self._conn.cursor().copy(self._copy) as copy:
            for row in rows:
                copy.write_row(row)

    def _index(self) -> None:
        for column in ("symbol", "token"):
            self._conn.execute(f"CREATE INDEX ON {self.staging} ({column}, exchange)")
        self._conn.execute(f"ANALYZE {self.staging}")
        self._make_unique()

    def publish(self) -> int:
        columns = ", ".join(FIELDS)
        generation, texts = self._generation_row(), self._search_texts()
        with self._conn.transaction():
            for table in ("symbol_token", "symbol_generation", "symbol_search"):
                self._conn.execute(f"DELETE FROM {table} WHERE broker = %s", [self.broker])  # noqa: S608
            self._conn.execute(
                f"INSERT INTO symbol_token ({columns}, broker, generation)"  # noqa: S608
                f" SELECT {columns}, %s, %s FROM {self.staging} ORDER BY symbol, exchange",
                [self.broker, self.generation],
            )
            self._conn.execute(
                "INSERT INTO symbol_generation VALUES (%s, %s, %s, %s, %s)", generation
            )
            for text in texts:
                self._conn.execute("INSERT INTO symbol_search VALUES (%s, %s, %s)", text)
        return self.generation

    def close(self) -> None:
        self._conn.close()

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = self._conn.execute(sql.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description else []
