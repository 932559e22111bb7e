"""Last prices are kept warm for books that are looked at, for as long as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.models import Product
from database.engine import Database
from services.price_keeper import EVERY, WATCHED
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, ref_of
from tests.support.venue import VENUES
from tests.support.waiting import wait_until

INFY = (ref_of("INFY"), Product.MIS)


@pytest.fixture
def trader(main_database: Database, tmp_path: Path, clock: ManualClock) -> Trader:
    VENUES.clear()
    trader = Trader(main_database, tmp_path, clock)
    trader.venue.opening[INFY] = 10
    return trader


def look(trader: Trader) -> tuple[int, int]:
    """Look at the position book; how often positions and quotes have been read by then."""
    view = trader.desk.portfolio.positions(trader.account)[0]
    assert view.ltp > 0
    return trader.venue.calls("positions"), trader.venue.calls("quotes")


def test_a_watched_book_costs_one_read(trader: Trader, clock: ManualClock) -> None:
    assert look(trader) == (1, 1)
    for number in (2, 3, 4):
        clock.advance(EVERY)
        assert trader.desk.price_keeper.refresh() == 1
        clock.advance(0.5)
        before = trader.venue.calls("quotes")
        assert look(trader) == (number, before)


def test_prices_older_than_a_second_are_never_shown(trader: Trader, clock: ManualClock) -> None:
    look(trader)
    clock.advance(1.1)  # the keeper is late
    assert look(trader) == (2, 2)


def test_nothing_is_read_once_nobody_looks(trader: Trader, clock: ManualClock) -> None:
    look(trader)
    clock.advance(WATCHED)
    assert trader.desk.price_keeper.refresh() == 0
    assert trader.venue.calls("quotes") == 1


def test_a_flat_book_is_not_watched(trader: Trader, clock: ManualClock) -> None:
    trader.venue.opening[INFY] = 0
    trader.desk.portfolio.positions(trader.account)
    assert trader.desk.price_keeper.refresh() == 0


def test_what_cannot_be_read_is_left_to_the_next_look(trader: Trader, clock: ManualClock) -> None:
    look(trader)
    clock.advance(EVERY)
    trader.venue.script("quotes", "fail")
    assert trader.desk.price_keeper.refresh() == 1
    assert trader.desk.price_keeper.refresh() == 0
    clock.advance(1.0)
    assert look(trader) == (2, 3)


def test_the_thread_reads_while_somebody_looks_and_ends_when_told(
    trader: Trader, clock: ManualClock
) -> None:
    keeper = trader.desk.price_keeper
    keeper.start()
    try:
        look(trader)
        clock.advance(EVERY)
        wait_until(lambda: trader.venue.calls("quotes") >= 2)
    finally:
        keeper.close()
    keeper.close()
    keeper.watch(trader.account, [INFY[0]])
    assert trader.venue.calls("quotes") == 2
