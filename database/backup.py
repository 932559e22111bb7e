"""Copies of the stores, taken while they are used, put back, and counted.

SQLite by its online backup, PostgreSQL by `pg_dump -F c` and `pg_restore`. The main store and the
symbols are copied apart: the symbols come from a download and change once a day. An inventory
(counts of every table, sums over the journal) is taken from the same state as the copy, so that a
copy can be held against it after it was put back.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url

from database.errors import StorageError

MAIN = "main"
SYMBOLS = "symbols"
_SYMBOL_TABLES = ("symbol_token", "symbol_generation", "symbol_search")
_SECONDS = 1_800

Inventory = dict[str, Any]


class BackupFailed(StorageError):
    """A copy could not be made or put back; the message has the database's own words."""


class Source:
    """One instance's stores, by DATABASE_URL, without the application's pool or schema."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.url = parsed
        self.is_sqlite = parsed.get_backend_name() == "sqlite"

    @property
    def kind(self) -> str:
        """ "sqlite" or "postgresql"."""
        return "sqlite" if self.is_sqlite else "postgresql"

    def path(self, part: str = MAIN) -> Path:
        """The file of a part, on SQLite."""
        main = Path(str(self.url.database))
        return main if part == MAIN else main.with_name("symbols.db")

    # Copying -----------------------------------------------------------------------------------

    def copy(self, part: str, folder: Path) -> Inventory:
        """Copy a part into `folder`; the inventory of what was copied."""
        target = folder / f"{part}.copy"
        if self.is_sqlite:
            _copy_sqlite(self.path(part), target)
            with _engine(sa.URL.create("sqlite", database=str(target))) as engine:
                return _inventory(engine, part)
        with _engine(self.url) as engine, engine.connect() as conn:
            conn = conn.execution_options(isolation_level="REPEATABLE READ")
            snapshot = conn.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
            found = _inventory_of(conn, part)
            self._tool("pg_dump", "-F", "c", "--no-owner", f"--snapshot={snapshot}",
                       *_chosen(part), "-f", str(target), str(self.url.database))
        return found

    def stamp(self) -> str:
        """A text that is another one whenever the symbols are; "" where there are none."""
        if self.is_sqlite:
            path = self.path(SYMBOLS)
            if not path.is_file():
                return ""
            url = sa.URL.create("sqlite", database=str(path))
        else:
            url = self.url
        sql = (
            "SELECT broker, generation, row_count, loaded_at FROM symbol_generation ORDER BY broker"
        )
        try:
            with _engine(url) as engine, engine.connect() as conn:
                rows = conn.exec_driver_sql(sql).all()
        except BackupFailed:
            return ""
        return ";".join(":".join(str(value) for value in row) for row in rows)

    # Putting back ------------------------------------------------------------------------------

    def put_back(self, part: str, folder: Path) -> Path | None:
        """Replace a part by the copy in `folder`. Nothing may use the database meanwhile.

        On SQLite the file that was there is kept beside it, and returned; on PostgreSQL everything
        happens in one transaction, in a database that is made where it is missing.
        """
        copy = folder / f"{part}.copy"
        if self.is_sqlite:
            return _replace_sqlite(copy, self.path(part))
        self._ensure_database()
        # --clean drops what is there; a table of a newer release than the copy's stays behind.
        self._tool("pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction",
                   "-d", str(self.url.database), str(copy))
        return None

    def users(self) -> list[str]:
        """Who uses the database now, in words: it must not be replaced under them."""
        if self.is_sqlite:
            main = self.path()
            turn = main.with_name(f"{main.name}-turn")  # open also where the file cannot be read
            return _who_opened(main, turn, self.path(SYMBOLS))
        try:
            with _engine(self.url) as engine, engine.connect() as conn:
                rows = conn.exec_driver_sql(
                    "SELECT pid, application_name, client_addr FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                    "AND backend_type = 'client backend'"
                ).all()
        except BackupFailed:
            return []  # there is no such database yet
        return [f"connection {pid} {name} {address or 'local'}" for pid, name, address in rows]

    @contextmanager
    def scratch(self, folder: Path) -> Iterator[Source]:
        """An empty database of the same kind, gone afterwards."""
        if self.is_sqlite:
            yield Source(f"sqlite:///{folder / 'scratch.db'}")
            return
        name = f"verify_{os.urandom(8).hex()}"
        self._as_admin(f'CREATE DATABASE "{name}"')
        try:
            yield Source(self.url.set(database=name).render_as_string(hide_password=False))
        finally:
            self._as_admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def inventory(self, part: str = MAIN) -> Inventory:
        """Counts and sums of a part as it stands."""
        url = self.url
        if self.is_sqlite:
            url = sa.URL.create("sqlite", database=str(self.path(part)))
        with _engine(url) as engine:
            return _inventory(engine, part)

    # PostgreSQL --------------------------------------------------------------------------------

    def _ensure_database(self) -> None:
        name = str(self.url.database)
        with _engine(self.url.set(database="postgres")) as engine, engine.connect() as conn:
            known = conn.execute(
                sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}
            ).scalar()
        if not known:
            self._as_admin(f'CREATE DATABASE "{name}"')

    def _as_admin(self, statement: str) -> None:
        engine = sa.create_engine(
            self.url.set(database="postgres"), isolation_level="AUTOCOMMIT", hide_parameters=True
        )
        try:
            with engine.connect() as conn:
                conn.exec_driver_sql(statement)
        except sa.exc.SQLAlchemyError as error:
            raise BackupFailed(_words(error)) from None
        finally:
            engine.dispose()

    def _tool(self, name: str, *arguments: str) -> None:
        try:
            done = subprocess.run(
                [name, *arguments], env={**os.environ, **_pg_environ(self.url)},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackupFailed(f"{name} could not be run: {error}") from None
        if done.returncode != 0:
            last = " ".join(done.stderr.strip().splitlines()[-3:])
            raise BackupFailed(f"{name} ended with {done.returncode}: {last}")


def _chosen(part: str) -> list[str]:
    if part == SYMBOLS:
        return [f"--table={name}" for name in _SYMBOL_TABLES]
    return [f"--exclude-table={name}*" for name in _SYMBOL_TABLES]


def _pg_environ(url: URL) -> Mapping[str, str]:
    """The connection for PostgreSQL's own tools: none of it in their arguments."""
    given = {
        "PGHOST": url.host, "PGPORT": str(url.port) if url.port else None,
        "PGUSER": url.username, "PGPASSWORD": url.password, "PGCONNECT_TIMEOUT": "5",
    }
    found = {name: str(value) for name, value in given.items() if value}
    for name, value in url.query.items():
        found[f"PG{name.upper()}"] = value if isinstance(value, str) else value[0]
    return found


def _copy_sqlite(path: Path, target: Path) -> None:
    if not path.is_file():
        raise BackupFailed(f"there is no database at {path}")
    try:
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            copy.execute("PRAGMA synchronous=OFF")  # it is packed at once: orders need the disk
            source.backup(copy)  # one step: a state of the database, whoever writes meanwhile
            copy.execute("PRAGMA journal_mode=DELETE").close()
            verdict = copy.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        raise BackupFailed(f"SQLite: {error}") from None
    if verdict != "ok":
        raise BackupFailed(f"the copy is damaged: {verdict}")


def _replace_sqlite(copy: Path, path: Path) -> Path | None:
    """Put the copy in place; where what was there before is kept now, if anything is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.restoring")
    shutil.copyfile(copy, draft)
    if path.exists():
        facts = path.stat()
        draft.chmod(facts.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(draft, facts.st_uid, facts.st_gid)
    elif os.geteuid() == 0:
        facts = path.parent.stat()
        os.chown(draft, facts.st_uid, facts.st_gid)
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    kept = _put_aside(path)
    draft.replace(path)
    return kept


def _put_aside(path: Path) -> Path | None:
    """Move a database out of the way, with its log; where it is now, None when there was none.

    A log without its database goes as well: SQLite would write it into the file that comes.
    """
    kept = path.with_name(f"{path.name}.before-restore")
    is_there = path.exists()
    for ending in ("", "-wal", "-shm"):
        old = path.with_name(path.name + ending)
        if is_there:
            target = kept.with_name(kept.name + ending)
            target.unlink(missing_ok=True)  # of an earlier restore: not the log of this database
        else:
            target = old.with_name(f"{old.name}.before-restore")
        if old.exists():
            old.replace(target)
    return kept if is_there else None


def _who_opened(*paths: Path) -> list[str]:
    """Processes that have one of the files open, as far as this user may see them.

    Also files that are deleted: whoever has them open goes on writing to what is gone.
    """
    wanted = {f"{path.resolve()}{ending}" for path in paths for ending in ("", " (deleted)")}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if wanted.intersection(links) and int(process.name) != os.getpid():
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append(f"process {process.name} ({words.strip()[:60]})")
    return found


@contextmanager
def _engine(url: URL) -> Iterator[Engine]:
    """An engine for one question; the database's errors become `BackupFailed`."""
    engine = sa.create_engine(url, hide_parameters=True, poolclass=sa.pool.NullPool)
    try:
        yield engine
    except sa.exc.SQLAlchemyError as error:
        raise BackupFailed(_words(error)) from None
    finally:
        engine.dispose()


@contextmanager
def opened(source: Source, part: str) -> Iterator[Connection]:
    """A connection to read a part with."""
    url = source.url
    if source.is_sqlite:
        path = source.path(part)
        if not path.is_file():
            raise BackupFailed(f"there is no database at {path}")
        url = sa.URL.create("sqlite", database=str(path))
    with _engine(url) as engine, engine.connect() as conn:
        yield conn


def _words(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip()


def _inventory(engine: Engine, part: str) -> Inventory:
    with engine.connect() as conn:
        return _inventory_of(conn, part)


def _inventory_of(conn: Connection, part: str) -> Inventory:
    names = sorted(sa.inspect(conn).get_table_names())
    symbols = {name for name in names if name in _SYMBOL_TABLES}
    chosen = [name for name in names if (name in symbols) is (part == SYMBOLS)]
    tables = {
        name: int(conn.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one())
        for name in chosen
    }
    found: Inventory = {"tables": tables}
    if part == MAIN and "order_intents" in tables:
        found["journal"] = _journal(conn)
        found["revision"] = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def _journal(conn: Connection) -> dict[str, Any]:
    """Sums over the journal, in whole millionths of a rupee, alike on both databases."""
    millionths = "round(price * 1000000)"
    if conn.dialect.name == "sqlite":
        millionths = "CAST(round(CAST(price AS REAL) * 1000000) AS INTEGER)"
    sums = conn.exec_driver_sql(
        f"SELECT coalesce(sum(quantity), 0), coalesce(sum({millionths} * quantity), 0), "  # noqa: S608 - our own words
        "coalesce(max(reference), '') FROM order_intents"
    ).one()
    states = conn.exec_driver_sql(
        "SELECT state, count(*) FROM order_intents GROUP BY state ORDER BY state"
    ).all()
    return {
        "quantity": int(sums[0]), "value_millionths": int(sums[1]), "last_reference": sums[2],
        "states": {str(state): int(count) for state, count in states},
    }
