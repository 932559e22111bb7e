"""`db`: Flask-SQLAlchemy on the engines of a `Database`, for a Flask application and its CLI.

The application's own code goes through `Database`; this gives `flask db upgrade` (Flask-Migrate)
and extensions that expect `app.extensions["sqlalchemy"]` the same pool and the same transactions.
It is the one module of this package that imports Flask.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine

from database import schema
from database.engine import Database
from database.upgrade import MIGRATIONS

EXTENSION = "openalgo_database"


class GatewaySQLAlchemy(SQLAlchemy):
    """Flask-SQLAlchemy that makes no engines of its own."""

    def attach(self, app: Flask, database: Database) -> None:
        """Register with the application, on the engines of `database`."""
        app.extensions[EXTENSION] = database
        app.config["SQLALCHEMY_DATABASE_URI"] = database.url
        app.config["SQLALCHEMY_BINDS"] = {"symbols": database.symbols_url}
        self.init_app(app)

    def _apply_driver_defaults(self, options: dict[str, Any], app: Flask) -> None:
        """Nothing to apply: the engines are built already."""

    def _make_engine(self, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:
        database: Database = app.extensions[EXTENSION]
        return database.symbols_engine if bind_key == "symbols" else database.engine


db = GatewaySQLAlchemy(metadata=schema.metadata)
migrate = Migrate(directory=str(MIGRATIONS), compare_type=True, render_as_batch=True)


def init_app(app: Flask, database: Database) -> None:
    """Give the application `db` and the commands `flask db …`."""
    db.attach(app, database)
    migrate.init_app(app, db)


def current_database() -> Database:
    """The `Database` of the current application."""
    database: Database = current_app.extensions[EXTENSION]
    return database
