"""Every test of storage runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from database.engine import Database
from tests.support.databases import KINDS, add_account, add_user, scratch_database


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with scratch_database(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def user_id(database: Database) -> int:
    return add_user(database)


@pytest.fixture
def account_id(database: Database) -> int:
    return add_account(database)
