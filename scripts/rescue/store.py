"""The database without the application: a switch, and the symbols of one broker.

SQLite by Python's own module, PostgreSQL by `psql`. Rows that are removed are saved first, so that
they can be put back. Only this module knows tables; tests hold it against the migrated schema.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from scripts.rescue.run import CommandFailed, run

TABLES = ("symbol_token", "symbol_generation", "symbol_search")
_VERSION = "\x01version"
_BY = "rollback"
_BUSY_SECONDS = 5.0
_PSQL_SECONDS = 30.0


class StoreFailed(Exception):
    """The database did not do what was asked; the message has its own words."""


class Store(Protocol):
    """What a rescue asks of a database. Every method may raise `StoreFailed`."""

    def flag(self, name: str) -> str | None:
        """A run-time switch, None where it was never set."""

    def set_flag(self, name: str, value: str | None) -> None:
        """Set a switch, or forget it; every process sees it within a second."""

    def count_symbols(self, broker: str) -> int:
        """How many instruments of a broker there are."""

    def take_symbols(self, broker: str, folder: Path) -> int:
        """Save a broker's symbols in `folder` and remove them; how many."""

    def put_symbols(self, broker: str, folder: Path) -> int:
        """Put back what was saved, unless the broker has symbols; how many there are then."""

    def note_deployment(self, version: str, outcome: str, environment: str) -> None:
        """Record it where dashboards and `flask deployments list` look."""

    def orders_without_end(self, broker: str) -> list[dict[str, Any]]:
        """What the journal knows of orders of the last day that may still work."""


_JOURNAL = """
SELECT i.reference, i.broker_order_id, a.label AS account, i.side, i.quantity, i.symbol, i.exchange,
       i.product, i.state, i.book_state
FROM order_intents i JOIN accounts a ON a.id = i.account_id
WHERE a.broker = {broker} AND i.kind = 'place' AND i.created_at >= {since}
  AND i.state IN ('accepted', 'unknown', 'sending', 'received')
  AND i.book_state NOT IN ('FILLED', 'CANCELLED', 'REJECTED')
ORDER BY i.id"""


def open_store(url: str, *, psql: Sequence[str] = ("psql",)) -> Store:
    """The database of this DATABASE_URL. `psql`: how its client is called."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return SqliteStore(Path(url.split(":///", 1)[1].partition("?")[0]))
    return PostgresStore(url, psql)


class SqliteStore:
    """The two files of an SQLite instance: the journal's, and `symbols.db` beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._symbols = path.with_name("symbols.db")

    def flag(self, name: str) -> str | None:
        with self._open(self._path) as conn, _words():
            row = conn.execute("SELECT value FROM flags WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_flag(self, name: str, value: str | None) -> None:
        with self._open(self._path) as conn, _words():
            conn.execute("BEGIN IMMEDIATE")
            conn.execute(
                "INSERT INTO flags (name, value, version, changed_by, changed_at) "
                "VALUES (?, '', 1, '', strftime('%Y-%m-%d %H:%M:%f000', 'now')) "
                "ON CONFLICT (name) DO UPDATE SET version = flags.version + 1, "
                "changed_at = excluded.changed_at",
                (_VERSION,),
            )
            conn.execute("DELETE FROM flags WHERE name = ?", (name,))
            if value is not None:
                conn.execute(
                    "INSERT INTO flags (name, value, version, changed_by, changed_at) "
                    "SELECT ?, ?, version, ?, changed_at FROM flags WHERE name = ?",
                    (name, value, _BY, _VERSION),
                )
            conn.execute("COMMIT")

    def count_symbols(self, broker: str) -> int:
        if not self._symbols.is_file():
            return 0
        with self._open(self._symbols) as conn, _words():
            return _count(conn, "main", broker)

    def take_symbols(self, broker: str, folder: Path) -> int:
        if not self._symbols.is_file():
            return 0
        with self._open(self._symbols) as conn, _words():
            conn.execute("ATTACH DATABASE ? AS saved", (str(folder / "symbols.sqlite"),))
            conn.execute("BEGIN IMMEDIATE")
            taken = _count(conn, "main", broker)
            for table in TABLES if taken else ():
                conn.execute(f"DROP TABLE IF EXISTS saved.{table}")
                where = f"FROM main.{table} WHERE broker = ?"
                conn.execute(f"CREATE TABLE saved.{table} AS SELECT * {where}", (broker,))
            for table in TABLES:
                conn.execute(f"DELETE FROM main.{table} WHERE broker = ?", (broker,))  # noqa: S608 - our own names
            conn.execute("COMMIT")
        return taken

    def put_symbols(self, broker: str, folder: Path) -> int:
        present = self.count_symbols(broker)
        source = folder / "symbols.sqlite"
        if present or not source.is_file():
            return present
        with self._open(self._symbols) as conn, _words():
            conn.execute("ATTACH DATABASE ? AS saved", (str(source),))
            conn.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                conn.execute(f"DELETE FROM main.{table} WHERE broker = ?", (broker,))  # noqa: S608 - our own names
                columns = ", ".join(
                    name for name in _columns(conn, "main", table)
                    if name != "id" and name in _columns(conn, "saved", table)
                )
                conn.execute(
                    f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM saved.{table}"  # noqa: S608 - our own names
                )
            found = _count(conn, "main", broker)
            conn.execute("COMMIT")
        return found

    def note_deployment(self, version: str, outcome: str, environment: str) -> None:
        with self._open(self._path) as conn, _words():
            conn.execute(
                "INSERT INTO deployments (at, version, outcome, environment, actor, note) "
                "VALUES (strftime('%Y-%m-%d %H:%M:%f000', 'now'), ?, ?, ?, ?, '')",
                (version, outcome, environment, _BY),
            )

    def orders_without_end(self, broker: str) -> list[dict[str, Any]]:
        sql = _JOURNAL.format(broker="?", since="datetime('now', '-1 day')")
        with self._open(self._path) as conn, _words():
            cursor = conn.execute(sql, (broker,))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def _open(self, path: Path) -> closing[sqlite3.Connection]:
        with _words():
            uri = f"file:{path}?mode=rw"
            return closing(
                sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            )


class PostgresStore:
    """A PostgreSQL database, asked through `psql`; the password stays out of the arguments."""

    def __init__(self, url: str, psql: Sequence[str]) -> None:
        parts = urlsplit(url)
        self._psql = tuple(psql)
        self._environ = {"PGCONNECT_TIMEOUT": "5"}
        given: Mapping[str, str | None] = {
            "PGHOST": parts.hostname,
            "PGPORT": str(parts.port) if parts.port else None,
            "PGUSER": parts.username,
            "PGPASSWORD": unquote(parts.password) if parts.password else None,
            "PGDATABASE": parts.path.lstrip("/") or None,
        }
        options = {f"PG{name.upper()}": value for name, value in parse_qsl(parts.query)}
        for name, value in {**given, **options}.items():
            if value:
                self._environ[name] = value

    def flag(self, name: str) -> str | None:
        sql = f"SELECT to_json(value) FROM flags WHERE name = {_quoted(name)}"  # noqa: S608 - quoted
        answer = self._ask(sql)
        return None if not answer else str(json.loads(answer))

    def set_flag(self, name: str, value: str | None) -> None:
        version = f"E{_quoted(_VERSION.replace(chr(1), chr(92) + 'x01'))}"
        insert = "" if value is None else (
            "INSERT INTO flags (name, value, version, changed_by, changed_at) "  # noqa: S608 - quoted
            f"SELECT {_quoted(name)}, {_quoted(value)}, version, '{_BY}', changed_at FROM flags "
            f"WHERE name = {version};"
        )
        self._ask(
            "BEGIN;"  # noqa: S608 - quoted
            "INSERT INTO flags (name, value, version, changed_by, changed_at) "
            f"VALUES ({version}, '', 1, '', now()) ON CONFLICT (name) "
            "DO UPDATE SET version = flags.version + 1, changed_at = excluded.changed_at;"
            f"DELETE FROM flags WHERE name = {_quoted(name)};{insert}COMMIT;"
        )

    def count_symbols(self, broker: str) -> int:
        where = f"WHERE broker = {_quoted(broker)}"
        return int(self._ask(f"SELECT count(*) FROM symbol_token {where}"))  # noqa: S608 - quoted

    def take_symbols(self, broker: str, folder: Path) -> int:
        taken = self.count_symbols(broker)
        where = f"WHERE broker = {_quoted(broker)}"
        for table in TABLES if taken else ():
            columns = self._columns(table)
            (folder / f"{table}.columns").write_text(columns, encoding="utf-8")
            self._ask(
                f"COPY (SELECT {columns} FROM {table} {where}) TO STDOUT",  # noqa: S608 - quoted
                stdout=folder / f"{table}.copy",
            )
        self._ask("BEGIN;" + "".join(f"DELETE FROM {table} {where};" for table in TABLES)  # noqa: S608 - quoted
                  + "COMMIT;")
        return taken

    def put_symbols(self, broker: str, folder: Path) -> int:
        present = self.count_symbols(broker)
        if present or not (folder / "symbol_token.copy").is_file():
            return present
        for table in TABLES:
            self._ask(f"DELETE FROM {table} WHERE broker = {_quoted(broker)}")  # noqa: S608 - quoted
            columns = (folder / f"{table}.columns").read_text(encoding="utf-8")
            self._ask(f"COPY {table} ({columns}) FROM STDIN", stdin=folder / f"{table}.copy")
        return self.count_symbols(broker)

    def note_deployment(self, version: str, outcome: str, environment: str) -> None:
        values = ", ".join(_quoted(text) for text in (version, outcome, environment, _BY, ""))
        self._ask(
            "INSERT INTO deployments (at, version, outcome, environment, actor, note) "  # noqa: S608 - quoted
            f"VALUES (now(), {values})"
        )

    def orders_without_end(self, broker: str) -> list[dict[str, Any]]:
        rows = _JOURNAL.format(broker=_quoted(broker), since="now() - interval '1 day'")
        found = self._ask(f"SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM ({rows}) r")  # noqa: S608 - quoted
        orders: list[dict[str, Any]] = json.loads(found)
        return orders

    def _columns(self, table: str) -> str:
        return self._ask(
            "SELECT string_agg(quote_ident(column_name), ',' ORDER BY ordinal_position) "  # noqa: S608 - our own names
            f"FROM information_schema.columns WHERE table_name = '{table}' "
            "AND table_schema = current_schema() AND column_name <> 'id'"
        )

    def _ask(self, sql: str, *, stdin: Path | None = None, stdout: Path | None = None) -> str:
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        try:
            return run(
                [*self._psql, *options], seconds=_PSQL_SECONDS,
                env={**os.environ, **self._environ}, stdin=stdin, stdout=stdout,
            ).strip()
        except CommandFailed as error:
            raise StoreFailed(str(error).replace(sql, "…")) from None


class _words:
    """Turns SQLite's errors into `StoreFailed`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise StoreFailed(f"SQLite: {error}") from None


def _count(conn: sqlite3.Connection, schema: str, broker: str) -> int:
    sql = f"SELECT count(*) FROM {schema}.symbol_token WHERE broker = ?"  # noqa: S608 - our own names
    return int(conn.execute(sql, (broker,)).fetchone()[0])


def _columns(conn: sqlite3.Connection, schema: str, table: str) -> list[str]:
    return [row[1] for row in conn.execute(f"PRAGMA {schema}.table_info({table})")]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
