"""Every migration, up and down, with a row in every table; and the making of a new one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from flask import Flask

from database import upgrade
from database.db import db, init_app
from database.engine import Database
from tests.support.databases import KINDS, scratch_database


def revisions() -> list[str]:
    """All of them, the oldest first."""
    config = Config()
    config.set_main_option("script_location", str(upgrade.MIGRATIONS))
    return [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()][::-1]


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with scratch_database(request.param, tmp_path, upgraded=False) as made:
        yield made


def value_for(column: sa.Column[Any]) -> Any:
    """Something that the column takes."""
    kind = column.type
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(kind, (sa.Integer, sa.Numeric, sa.Float)):
        return 1
    if isinstance(kind, (sa.DateTime, sa.TIMESTAMP)):
        return datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
    if isinstance(kind, sa.Date):
        return datetime(2026, 11, 20, tzinfo=UTC).date()
    if isinstance(kind, (sa.LargeBinary, sa.dialects.postgresql.BYTEA)):
        return b"x"
    if isinstance(kind, sa.JSON):
        return {}
    return "x"


def fill(database: Database) -> dict[str, int]:
    """One row in every table that has none yet; how many rows each table has then."""
    tables = sa.MetaData()
    tables.reflect(database.engine)
    with database.engine.begin() as conn:
        if not database.is_sqlite:
            conn.exec_driver_sql("SET session_replication_role = replica")  # no foreign keys
        else:
            conn.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        for table in tables.sorted_tables:
            if table.name == "alembic_version" or table.name.startswith("symbol_"):
                continue
            if conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one():
                continue
            conn.execute(sa.insert(table).values(
                {column.name: value_for(column) for column in table.columns}
            ))
    return counts(database)


def counts(database: Database) -> dict[str, int]:
    tables = sa.MetaData()
    tables.reflect(database.engine)
    with database.engine.connect() as conn:
        return {
            name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in tables.tables.items()
            if name != "alembic_version" and not name.startswith("symbol_")
        }


def test_up_and_down_one_by_one_with_a_row_in_every_table(empty: Database) -> None:
    chain = revisions()
    assert len(chain) >= 2
    filled: list[dict[str, int]] = []
    for revision in chain:
        upgrade.upgrade(empty, revision)
        here = counts(empty)
        if filled:  # nothing that was there is gone
            assert {name: here.get(name) for name in filled[-1]} == filled[-1], revision
        filled.append(fill(empty))
    for revision, before in zip(chain[-2::-1], filled[-2::-1], strict=True):
        upgrade.downgrade(empty, revision)
        assert counts(empty) == before, revision
    upgrade.upgrade(empty)
    assert {name: counts(empty)[name] for name in filled[0]} == filled[0]


def test_a_new_migration_is_made_from_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`flask db migrate` in a copy: nothing while the models fit, the change when they do not."""
    folder = tmp_path / "migrations"
    shutil.copytree(upgrade.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with scratch_database("sqlite", tmp_path, upgraded=False) as database:
        app = Flask("test")
        init_app(app, database)
        runner = app.test_cli_runner()

        def run(*words: str) -> None:
            done = runner.invoke(args=["db", *words])
            assert done.exit_code == 0, done.output

        def files() -> set[str]:
            return {path.name for path in (folder / "versions").glob("*.py")}

        run("upgrade", "-d", str(folder))
        known = files()
        run("migrate", "-d", str(folder), "-m", "nothing")
        assert files() == known
        table = sa.Table("notes", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
        try:
            run("migrate", "-d", str(folder), "-m", "add notes")
            (made,) = files() - known
            text = (folder / "versions" / made).read_text(encoding="utf-8")
            assert 'op.create_table("notes"' in text.replace("'", '"')
            run("upgrade", "-d", str(folder))
            assert sa.inspect(database.engine).has_table("notes")
            run("downgrade", "-d", str(folder))
            assert not sa.inspect(database.engine).has_table("notes")
        finally:
            db.metadata.remove(table)
