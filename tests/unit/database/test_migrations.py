"""Migrations: up and down with data, no drift, one at a time, with and without Flask."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask

from database import flags, schema, symbols_schema, upgrade
from database.db import current_database, db, init_app
from database.engine import Database
from tests.support.databases import KINDS, NOON, add_account, add_user, scratch_database


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with scratch_database(request.param, tmp_path, upgraded=False) as made:
        yield made


def tables(database: Database) -> set[str]:
    return set(sa.inspect(database.engine).get_table_names()) - {"alembic_version"}


def ours(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and str(name).startswith("symbol_"))


def test_migrations_make_what_the_models_say(database: Database) -> None:
    with database.engine.connect() as conn:
        options = {"compare_type": True, "include_name": ours}
        context = MigrationContext.configure(conn, opts=options)
        assert compare_metadata(context, schema.metadata) == []


def test_partial_indexes_are_partial(database: Database) -> None:
    made = sa.inspect(database.engine)
    key = f"{database.engine.dialect.name}_where"
    for table in schema.metadata.sorted_tables:
        found = {index["name"]: index for index in made.get_indexes(table.name)}
        for index in table.indexes:
            wanted = index.dialect_options[database.engine.dialect.name]["where"] is not None
            options = found[index.name].get("dialect_options", {})
            assert (key in options) is wanted, index.name


def test_up_and_down_with_data(empty: Database) -> None:
    empty.upgrade()
    made = tables(empty)
    add_account(empty, owner_id=add_user(empty))
    empty.upgrade()
    with empty.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM accounts").scalar() == 1
    upgrade.downgrade(empty, "base")
    assert tables(empty) == set()
    empty.upgrade()
    assert tables(empty) == made
    empty.ping()


def _upgrade_in_another_process(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.dispose()


def test_processes_that_start_together_migrate_once(empty: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    url = empty.url.render_as_string(hide_password=False)
    processes = [spawn.Process(target=_upgrade_in_another_process, args=(url,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert "order_intents" in tables(empty)


def test_the_flask_commands_use_the_same_database(empty: Database) -> None:
    app = Flask("test")
    init_app(app, empty)
    runner = app.test_cli_runner()
    done = runner.invoke(args=["db", "upgrade"])
    assert done.exit_code == 0, done.output
    assert "users" in tables(empty)
    with app.app_context():
        assert current_database() is empty
        assert db.engine is empty.engine
        db.session.execute(sa.insert(flags.Flag).values(
            name="kill", value="on", version=1, changed_at=NOON
        ))
        db.session.rollback()
        db.session.execute(sa.insert(flags.Flag).values(
            name="kill", value="off", version=1, changed_at=NOON
        ))
        db.session.commit()
    with empty.read() as conn:
        assert flags.get(conn, "kill") == "off"
    printed = runner.invoke(args=["db", "upgrade", "--sql"])
    assert "CREATE TABLE order_intents" in printed.output
    assert runner.invoke(args=["db", "downgrade", "base"]).exit_code == 0
    assert tables(empty) == set()


def test_the_symbols_tables_have_the_columns_of_the_schema(database: Database) -> None:
    made = sa.inspect(database.symbols_engine)
    assert [column["name"] for column in made.get_columns("symbol_token")] == [
        "id", *symbols_schema.NAMES
    ]
    assert {index["name"] for index in made.get_indexes("symbol_token")} == {
        name for name, _, _ in symbols_schema.INDEXES
    }


def test_an_older_symbols_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "symbols.db"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE symbol_token (something_else TEXT)")
    with scratch_database("sqlite", tmp_path) as database:
        with database.symbols() as conn:
            assert conn.exec_driver_sql("SELECT count(symbol) FROM symbol_token").scalar() == 0
        connection = sqlite3.connect(path, isolation_level=None)
        assert not symbols_schema.create_sqlite(connection)
        connection.close()


@pytest.mark.postgres
def test_symbols_may_live_in_another_postgresql_database(tmp_path: Path) -> None:
    with (
        scratch_database("postgres", tmp_path, upgraded=False) as first,
        scratch_database("postgres", tmp_path, upgraded=False) as second,
    ):
        apart = Database(
            first.url.render_as_string(hide_password=False),
            second.url.render_as_string(hide_password=False),
        )
        apart.upgrade()
        apart.upgrade()
        with apart.symbols() as conn:
            assert conn.exec_driver_sql("SELECT count(*) FROM symbol_token").scalar() == 0
        apart.dispose()
