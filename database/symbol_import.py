"""Puts a broker's new master contract in the place of the old one, without SQLAlchemy.

Rows are staged, checked and published. Until `publish` commits, every reader sees the old
contract, and afterwards the new one: there is no moment in between, and a run that fails or is
killed changes nothing (docs/decisions/0011).

On SQLite the staging table becomes the table: `symbol_token_new` is filled, indexed and renamed
inside one transaction on the symbols' own file, which blocks no reader and no journal. On
PostgreSQL (`database.symbol_import_postgres`) rows are copied from a temporary table, because a
rename there would wait for every reader.
"""

from __future__ import annotations

import json
import sqlite3
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from database import symbols_schema
from database.symbol_rows import FIELDS, RowValues
from database.symbol_text import compress, lines_of
from database.writeback import Writeback, write_out

_SAMPLES = 20
_LOCK_WAIT = 900.0  # seconds that an import waits for another broker's on the same file
_TABLE = "symbol_token_new"
_OLD = "symbol_token_old"
_TIDY_WAIT_MS = 1_000
_STEP_PAUSE = 0.012  # seconds between two steps of writing to disk
_PAGE = 4_000  # rows that are read again at a time
_TOGETHER = 25  # rows that one statement inserts; SQLite once bound 999 values at most
# KiB of pages, and of what is sorted at a time: more than a processor's cache holds is slower.
_CACHE = 2_000
_STEPS = 200_000  # of SQLite's machine, some 10 ms of work, between two hints to the disk

_EXCHANGE = itemgetter(FIELDS.index("exchange"))
_SEARCHED = itemgetter(*map(FIELDS.index, ("symbol", "name", "expiry")))
_Item = TypeVar("_Item")


class Collision(NamedTuple):
    """Rows that claim one symbol (or one token) of an exchange: none of them can be traded."""

    exchange: str
    what: str
    tokens: list[str]


class Changes(NamedTuple):
    """How the new contract differs from the live one, by exchange, with some examples."""

    added: dict[str, int]
    removed: dict[str, int]
    added_samples: list[str]
    removed_samples: list[str]


class SymbolImport(ABC):
    """One import of one broker: `stage` often, `settle`, ask, `publish`; in any case `close`.

    `staging` is the table that holds the new rows, `own` the condition that leaves out rows of
    other brokers in it.
    """

    staging: str
    own: str

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self.generation = 0
        # What is searched, by exchange. Kept while rows pass: to read them again takes longer.
        self._lines: dict[str, list[str]] = defaultdict(list)
        self._collisions: list[Collision] = []

    def stage(self, rows: Sequence[RowValues]) -> None:
        """Take rows; nobody else sees them."""
        self._write(rows)
        self._search(rows)

    def _search(self, rows: Iterable[RowValues]) -> None:
        """Gather what is searched of these rows."""
        for exchange, group in groupby(rows, _EXCHANGE):
            self._lines[exchange] += lines_of(map(_SEARCHED, group))

    def settle(self) -> None:
        """All rows are in: make symbols and tokens unique; what was in the way is `collisions`."""
        self._index()
        if self._collisions:
            self._read_lines()

    @abstractmethod
    def publish(self) -> int:
        """Put the staged rows in the place of the broker's old ones; the new generation."""

    @abstractmethod
    def close(self) -> None:
        """End the import; what was not published is gone."""

    @abstractmethod
    def _write(self, rows: Sequence[RowValues]) -> None:
        """Put rows into the staging table."""

    @abstractmethod
    def _index(self) -> None:
        """Index the staging table, and make its rows unique where they are not."""

    @abstractmethod
    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement with `?` for its values; its rows."""

    def staged(self) -> dict[str, int]:
        """Staged rows by exchange, once they are settled."""
        return {exchange: len(lines) for exchange, lines in sorted(self._lines.items())}

    def live(self) -> dict[str, int]:
        """The broker's live rows by exchange, empty before its first import."""
        rows = self._all("SELECT counts FROM symbol_generation WHERE broker = ?", [self.broker])
        return dict(json.loads(rows[0][0])) if rows else {}

    def changes(self) -> Changes:
        """Compare the staged symbols with the live ones."""
        live, staged = self.live(), self.staged()
        kept = dict(self._all(
            f"SELECT s.exchange, count(*) FROM {self.staging} s JOIN symbol_token t"  # noqa: S608
            " ON t.symbol = s.symbol AND t.exchange = s.exchange AND t.broker = ?"
            f" WHERE s.{self.own} GROUP BY s.exchange", [self.broker],
        )) if live else {}
        added = {name: rows - kept.get(name, 0) for name, rows in staged.items()}
        removed = {name: rows - kept.get(name, 0) for name, rows in live.items()}
        return Changes(
            {name: count for name, count in added.items() if count},
            {name: count for name, count in removed.items() if count},
            self._samples(self.staging, "symbol_token", live) if any(added.values()) else [],
            self._samples("symbol_token", self.staging, staged) if any(removed.values()) else [],
        )

    def collisions(self) -> list[Collision]:
        """What `settle` found; each of these rows carries its token in its symbol now."""
        return self._collisions

    def _samples(self, here: str, there: str, has_others: object) -> list[str]:
        """Some symbols that are here and not there."""
        if not has_others:
            return []
        mine, theirs = (
            self.own if table == self.staging else f"broker = {_quoted(self.broker)}"
            for table in (here, there)
        )
        rows = self._all(
            f"SELECT a.exchange, a.symbol FROM {here} a WHERE a.{mine} AND NOT EXISTS ("  # noqa: S608
            f"SELECT 1 FROM {there} b WHERE b.symbol = a.symbol AND b.exchange = a.exchange"
            f" AND b.{theirs}) LIMIT {_SAMPLES}"
        )
        return [f"{exchange}:{symbol}" for exchange, symbol in rows]

    def _make_unique(self) -> None:
        """Give rows that share a name names of their own, and drop repeated tokens.

        A symbol that several rows claim is none of theirs: each becomes `SYMBOL#TOKEN`, which can
        be looked at and not traded. Of rows that share a token the first stays: as it was when the
        others say the same, else not tradable.
        """
        for token, exchange in self._doubles("token"):
            rows = self._all(
                f"SELECT id, symbol FROM {self.staging}"  # noqa: S608
                f" WHERE token = ? AND exchange = ? AND {self.own} ORDER BY id", [token, exchange],
            )
            for row_id, _ in rows[1:]:
                self._all(f"DELETE FROM {self.staging} WHERE id = ?", [row_id])  # noqa: S608
            names = sorted({symbol for _, symbol in rows})
            if len(names) > 1:
                self._all(
                    f"UPDATE {self.staging} SET tradable = 0 WHERE id = ?",  # noqa: S608
                    [rows[0][0]],
                )
            self._collisions.append(
                Collision(exchange, f"token {token}: {', '.join(names)}", [token])
            )
        for symbol, exchange in self._doubles("symbol"):
            tokens = self._all(
                f"SELECT token FROM {self.staging}"  # noqa: S608
                f" WHERE symbol = ? AND exchange = ? AND {self.own} ORDER BY id",
                [symbol, exchange],
            )
            self._all(
                f"UPDATE {self.staging} SET symbol = symbol || '#' || token, tradable = 0"  # noqa: S608
                f" WHERE symbol = ? AND exchange = ? AND {self.own}", [symbol, exchange],
            )
            self._collisions.append(Collision(exchange, symbol, [token for (token,) in tokens]))

    def _doubles(self, column: str) -> list[tuple[Any, ...]]:
        return self._all(
            f"SELECT {column}, exchange FROM {self.staging} WHERE {self.own}"  # noqa: S608
            f" GROUP BY {column}, exchange HAVING count(*) > 1 ORDER BY exchange, {column}"
        )

    def _read_lines(self) -> None:
        """Gather the lines anew, of rows that were renamed or dropped."""
        self._lines.clear()
        last = 0
        while rows := self._all(
            f"SELECT {', '.join(FIELDS)}, id FROM {self.staging}"  # noqa: S608
            f" WHERE id > ? AND {self.own} ORDER BY id LIMIT {_PAGE}", [last],
        ):
            self._search(rows)
            last = rows[-1][-1]

    def _generation_row(self) -> tuple[Any, ...]:
        counts = self.staged()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return (self.broker, self.generation, sum(counts.values()), now, json.dumps(counts))

    def _search_texts(self) -> list[tuple[str, str, bytes]]:
        """Rows of `symbol_search`."""
        return [(self.broker, name, compress(self._lines[name])) for name in sorted(self._lines)]

    def _next_generation(self) -> int:
        rows = self._all("SELECT generation FROM symbol_generation WHERE broker = ?", [self.broker])
        return int(rows[0][0]) + 1 if rows else 1


class SqliteImport(SymbolImport):
    """An import into an SQLite file: one transaction from the first row to the swap."""

    staging = _TABLE

    def __init__(self, path: str, broker: str) -> None:
        super().__init__(broker)
        self.own = f"broker = {_quoted(broker)}"
        self._path = path
        self._log = Writeback(f"{path}-wal")
        self._conn = sqlite3.connect(path, timeout=_LOCK_WAIT, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"cache_size=-{_CACHE}",
                       "wal_autocheckpoint=0"):
            self._conn.execute(f"PRAGMA {pragma}").close()
        # Indexing writes 20 MB in one statement: the hints must not wait for its end.
        self._conn.set_progress_handler(self._log.advance, _STEPS)
        symbols_schema.create_sqlite(self._conn)
        self._conn.execute("BEGIN IMMEDIATE")
        self._conn.execute(f"DROP TABLE IF EXISTS {_OLD}")  # of a run that died while tidying
        self.generation = self._next_generation()
        self._conn.execute(symbols_schema.table_sql(_TABLE))

    def _insert_sql(self, rows: int) -> str:
        row = f"({'?, ' * len(FIELDS)}{_quoted(self.broker)}, {self.generation})"
        return (
            f"INSERT INTO {_TABLE} ({', '.join(FIELDS)}, broker, generation)"  # noqa: S608
            f" VALUES {', '.join([row] * rows)}"
        )

    def _write(self, rows: Sequence[RowValues]) -> None:
        whole = len(rows) // _TOGETHER * _TOGETHER
        self._conn.executemany(self._insert_sql(_TOGETHER), (
            list(chain.from_iterable(rows[at : at + _TOGETHER]))
            for at in range(0, whole, _TOGETHER)
        ))
        self._conn.executemany(self._insert_sql(1), rows[whole:])
        self._log.advance()

    def _index(self) -> None:
        """Only when an index finds a double are doubles looked for."""
        if self._all(f"SELECT 1 FROM symbol_generation WHERE NOT {self.own}"):  # noqa: S608
            columns = ", ".join(symbols_schema.NAMES)
            self._conn.execute(
                f"INSERT INTO {_TABLE} ({columns}) SELECT {columns} FROM symbol_token"  # noqa: S608
                f" WHERE NOT {self.own}"
            )
        try:
            self._create_indexes()
        except sqlite3.IntegrityError:
            self._drop_indexes()
            self._conn.execute(
                f"CREATE INDEX symbols_to_settle ON {_TABLE} (symbol, exchange)"
            )
            self._conn.execute(
                f"CREATE INDEX tokens_to_settle ON {_TABLE} (token, exchange)"
            )
            self._make_unique()
            self._conn.execute("DROP INDEX symbols_to_settle")
            self._conn.execute("DROP INDEX tokens_to_settle")
            self._create_indexes()

    def publish(self) -> int:
        generation, texts = self._generation_row(), self._search_texts()
        self._conn.execute(
            "INSERT OR REPLACE INTO symbol_generation VALUES (?, ?, ?, ?, ?)", generation
        )
        self._conn.execute("DELETE FROM symbol_search WHERE broker = ?", [self.broker])
        self._conn.executemany("INSERT INTO symbol_search VALUES (?, ?, ?)", texts)
        self._conn.execute(f"ALTER TABLE symbol_token RENAME TO {_OLD}")
        self._conn.execute(f"ALTER TABLE {_TABLE} RENAME TO symbol_token")
        self._conn.execute("COMMIT")
        return self.generation

    def close(self) -> None:
        """Undo what was not published; drop what was replaced, move the log into the file."""
        if self._conn.in_transaction:
            self._conn.execute("ROLLBACK")
        self._conn.execute(f"PRAGMA busy_timeout = {_TIDY_WAIT_MS}")
        with suppress(sqlite3.OperationalError):  # busy: the next import tidies up for both
            self._conn.execute(f"DROP TABLE IF EXISTS {_OLD}")
            self._move_log()
        self._conn.close()

    def _move_log(self) -> None:
        """Copy the log into the file without an fsync of all of it at once.

        The write lock is held until the file is safe on disk: without it another import could begin
        the log anew, and a power cut would then leave neither of the two whole.
        """
        self._log.advance()
        self._conn.execute("BEGIN IMMEDIATE")
        copier = sqlite3.connect(self._path, isolation_level=None)
        try:
            copier.execute("PRAGMA synchronous = OFF")
            if write_out(f"{self._path}-wal", time.sleep, _STEP_PAUSE):
                copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                write_out(self._path, time.sleep, _STEP_PAUSE)
        finally:
            copier.close()
            self._conn.execute("COMMIT")
        self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._conn.execute(sql, values).fetchall()

    def _create_indexes(self) -> None:
        for statement in symbols_schema.index_sql(_TABLE, self._suffix()):
            self._conn.execute(statement)

    def _drop_indexes(self) -> None:
        for name, _, _ in symbols_schema.INDEXES:
            self._conn.execute(f'DROP INDEX IF EXISTS "{name}{self._suffix()}"')

    def _suffix(self) -> str:
        return f"_{self.broker}_{self.generation}"


def open_import(url: str, broker: str) -> SymbolImport:
    """An import into the store that an SQLAlchemy URL names."""
    if url.startswith("sqlite"):
        return SqliteImport(url.partition(":///")[2], broker)
    from database.symbol_import_postgres import PostgresImport

    plain = urlsplit(url)._replace(scheme="postgresql").geturl()
    return PostgresImport(plain, broker)


def in_chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """The items in lists of at most `size`."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
