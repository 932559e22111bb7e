"""How Alembic reaches the main database: from `Database.upgrade()` or from `flask db …`."""

from __future__ import annotations

from typing import Any

from alembic import context

from database import schema, upgrade
from database.engine import Database


def current() -> Database:
    """The database that was handed in, or the one of the current Flask application."""
    database = context.config.attributes.get("database")
    if database is None:
        from database.db import current_database

        database = current_database()
    return database


def run(database: Database) -> None:
    """Migrate in one transaction: a step that fails leaves the old schema."""
    with upgrade.migrating(database) as connection:
        context.configure(
            connection=connection,
            target_metadata=schema.metadata,
            include_name=_ours,
            compare_type=True,
            render_as_batch=database.is_sqlite,
            process_revision_directives=_leave_out_empty,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
        upgrade.ensure_symbols(database)


def print_sql(database: Database) -> None:
    """The statements as a script (`flask db upgrade --sql`)."""
    context.configure(
        dialect_name=database.engine.dialect.name, target_metadata=schema.metadata,
        literal_binds=True, include_name=_ours,
    )
    with context.begin_transaction():
        context.run_migrations()


def _leave_out_empty(_context: object, _revision: object, directives: list[Any]) -> None:
    """`flask db migrate` without a change writes no file."""
    asked = getattr(context.config.cmd_opts, "autogenerate", False)
    if asked and directives and directives[0].upgrade_ops.is_empty():
        directives.clear()


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    """The symbols' tables are not in the metadata; autogenerate must not drop them."""
    return not (kind == "table" and name is not None and name.startswith("symbol_"))


if context.is_offline_mode():
    print_sql(current())
else:
    run(current())
