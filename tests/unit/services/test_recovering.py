"""After a restore: what the broker's book has of ours, and the journal has lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from broker.errors import ConnectFailed
from broker.models import OrderState, OrderType, Side
from database import journal
from database.engine import Database
from database.journal import IntentState
from services.recovering import Recoverer
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft, request
from utils.ids import new_tag, tag_time


@pytest.fixture
def trader(main_database: Database, tmp_path: Path, clock: ManualClock) -> Trader:
    made = Trader(main_database, tmp_path, clock)
    made.stack.sessions.login(made.account)
    return made


def recoverer(trader: Trader) -> Recoverer:
    return Recoverer(
        trader.database, trader.stack.accounts, trader.desk.books, trader.symbols, trader.clock  # type: ignore[arg-type]
    )


def tag_of(trader: Trader, *, minutes_ago: float) -> str:
    moment = trader.clock.now() - timedelta(minutes=minutes_ago)
    return new_tag(lambda: int(moment.timestamp() * 1000))


def test_the_time_of_a_tag_is_read_back(clock: ManualClock) -> None:
    now = clock.now()
    for days in (-3000, -1, 0, 1, 3000):
        moment = now + timedelta(days=days)
        found = tag_time(new_tag(lambda moment=moment: int(moment.timestamp() * 1000)), now)
        assert found is not None and abs(found - moment) < timedelta(milliseconds=2)
    assert tag_time("OPENALGO", now) is None
    assert tag_time("i" * 20, now) is None


def test_lost_orders_are_imported_once_with_their_state(trader: Trader) -> None:
    backup_at = trader.clock.now() - timedelta(minutes=15)
    known = trader.desk.orders.place(trader.principal, trader.account, draft())
    filled = trader.venue.add(request(Side.BUY, 7), tag_of(trader, minutes_ago=3))
    limit = request(Side.SELL, 4, order_type=OrderType.LIMIT, price="1600.5")
    resting = trader.venue.add(limit, tag_of(trader, minutes_ago=2))
    refused = trader.venue.add(request(Side.BUY, 9), tag_of(trader, minutes_ago=1))
    trader.venue.change(refused.order_id, state=OrderState.REJECTED, reason="RMS: no margin")
    trader.venue.add(request(Side.BUY, 1), "from a terminal")
    trader.venue.add(request(Side.BUY, 2), tag_of(trader, minutes_ago=600))  # before the backup

    found = recoverer(trader).run(backup_at)
    assert found.unread == ()
    by_id = {intent.broker_order_id: intent for intent in found.imported}
    assert set(by_id) == {filled.order_id, resting.order_id, refused.order_id}
    assert known.order_id not in by_id
    assert by_id[refused.order_id].state is IntentState.REJECTED
    assert by_id[refused.order_id].message == "RMS: no margin"
    sold = trader.intent(by_id[resting.order_id].reference)
    assert (sold.origin, sold.state, sold.symbol, sold.side, sold.quantity, str(sold.price)) == (
        "recovered", IntentState.ACCEPTED, "INFY", "SELL", 4, "1600.5"
    )
    assert [event.cause for event in trader.events(sold.reference)] == ["recovered from the book"]
    assert recoverer(trader).run(backup_at).imported == ()

    # ours from here on: found by its reference, shown as ours, cancelled
    views = {view.order_id: view for view in trader.desk.portfolio.orders(trader.account)}
    assert views[resting.order_id].ours
    trader.desk.orders.cancel(trader.principal, trader.account, sold.reference)
    assert [order_id for order_id, _ in trader.venue.cancelled] == [resting.order_id]


def test_a_book_that_cannot_be_read_is_said(trader: Trader) -> None:
    trader.venue.script("orders", *[ConnectFailed("no way there")] * 9)
    found = recoverer(trader).run(trader.clock.now())
    assert found.imported == ()
    assert len(found.unread) == 1 and found.unread[0].startswith("jainam_prop: ")
    with trader.database.read() as conn:
        assert journal.by_tags(conn, ["x"]) == {}
