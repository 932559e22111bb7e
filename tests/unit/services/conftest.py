"""A database per test, and the services of one gateway process over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from database.engine import Database
from tests.support.clocks import ManualClock
from tests.support.databases import sqlite_database
from tests.support.stacks import Stack, new_venue
from tests.support.venue import Venue


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def main_database(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


@pytest.fixture
def venue() -> Venue:
    return new_venue()


@pytest.fixture
def stack(main_database: Database, tmp_path: Path, clock: ManualClock, venue: Venue) -> Stack:
    return Stack(main_database, tmp_path, clock)


@pytest.fixture
def other_process(
    main_database: Database, tmp_path: Path, clock: ManualClock, venue: Venue
) -> Stack:
    """What another process of the same gateway holds in memory."""
    return Stack(main_database, tmp_path, clock)
