"""Instruments to name and databases to import them into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from database.engine import Database
from tests.support.databases import KINDS, scratch_database


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with scratch_database(request.param, tmp_path) as made:
        yield made
