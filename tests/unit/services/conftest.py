"""A database per test, and the services of one gateway process over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.models import OrderType
from database.engine import Database
from services.order_models import Placed
from tests.support.backups import Kept
from tests.support.clocks import ManualClock
from tests.support.databases import KINDS, scratch_database, sqlite_database
from tests.support.reconciling import place
from tests.support.stacks import Stack, new_venue
from tests.support.trading import Trader
from tests.support.venue import VENUES, Venue


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


@pytest.fixture
def trader(main_database: Database, tmp_path: Path, clock: ManualClock) -> Trader:
    """An account that trades at a venue of its own."""
    VENUES.clear()
    return Trader(main_database, tmp_path, clock)


@pytest.fixture
def resting(trader: Trader) -> Placed:
    """An order of the account that rests in the market."""
    return place(trader, order_type=OrderType.LIMIT, price="100")


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    (tmp_path / "db").mkdir()
    with scratch_database(request.param, tmp_path / "db", upgraded=request.param == "sqlite") as db:
        if request.param != "sqlite":
            db.upgrade()
        yield Kept(db, tmp_path)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Kept]:
    (tmp_path / "db").mkdir()
    with scratch_database("sqlite", tmp_path / "db") as database:
        yield Kept(database, tmp_path)
