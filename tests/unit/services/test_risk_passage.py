"""The risk rules: what passes whatever they say, and what the parts of an order count for."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from broker.base import Priority
from broker.errors import OutcomeUnknown
from broker.models import Holding, OrderType, Product, Side
from database.engine import Database
from database.journal import IntentState
from services.errors import BrokerDisabled, RiskLimit
from services.flags import KILL_SWITCH
from services.order_models import ChildStatus, Placed
from tests.support.risk import LIMIT, PRICE_100, both, limit, modify, place, resting
from tests.support.trading import Trader, draft, ref_of, request
from tests.support.venue import VENUES
from utils.clock import SystemClock

KEY = (ref_of("INFY"), Product.MIS)


# The way out -----------------------------------------------------------------------------------

HARD = {
    "max_order_quantity": "1", "max_open_orders": "1", "max_orders_per_day": "1",
    "max_position_quantity": "1", "allowed_exchanges": "BSE", "max_order_value": "1",
}


@pytest.mark.parametrize("how", ["rules", "kill", "broker"])
def test_an_order_that_only_reduces_passes_whatever_stands_against_entries(
    trader: Trader, how: str
) -> None:
    trader.stack.sessions.connection(trader.account)
    trader.venue.opening[KEY] = 50
    resting(trader, Side.SELL, 20)
    if how == "rules":
        limit(trader, **HARD)
    elif how == "kill":
        trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    else:
        trader.stack.accounts.set_broker_enabled("jainam_prop", False, "asha")
    for refused in (draft(Side.SELL, 31), draft(Side.BUY, 5), draft(Side.SELL, 5, symbol="TCS")):
        with pytest.raises((RiskLimit, BrokerDisabled)):
            place(trader, refused)
    assert place(trader, draft(Side.SELL, 30)).order_id
    assert trader.venue.reserved[-1][1] is Priority.EXIT
    with pytest.raises((RiskLimit, BrokerDisabled)):
        place(trader, draft(Side.SELL, 1))
    assert trader.venue.net()[KEY] == 20


def test_shares_of_the_demat_account_can_be_sold(trader: Trader) -> None:
    limit(trader, max_order_quantity="1")
    refs = (ref_of("INFY"),)
    trader.venue.holdings_held.append(Holding("INE009A01021", refs, 10, 4, Decimal(1), "*****"))
    with pytest.raises(RiskLimit):
        place(trader, draft(Side.SELL, 7, product=Product.CNC))
    assert place(trader, draft(Side.SELL, 6, product=Product.CNC)).order_id


def test_an_exit_that_cannot_be_told_from_an_entry_is_refused_and_says_so(trader: Trader) -> None:
    limit(trader, max_order_quantity="1")
    trader.venue.opening[KEY] = 50
    trader.venue.script("positions", "fail")
    with pytest.raises(RiskLimit) as told:
        place(trader, draft(Side.SELL, 50))
    assert told.value.message.endswith("Whether it only reduces a position could not be read.")
    trader.venue.scripts.clear()
    assert place(trader, draft(Side.SELL, 50)).order_id


def test_two_exits_at_once_do_not_turn_a_position_round(
    main_database: Database, tmp_path: Path
) -> None:
    VENUES.clear()
    trader = Trader(main_database, tmp_path, SystemClock())
    limit(trader, max_order_quantity="1")
    trader.venue.opening[KEY] = 50
    outcomes = both(
        lambda: place(trader, draft(Side.SELL, 50)), lambda: place(trader, draft(Side.SELL, 50))
    )
    assert sorted(outcomes) == ["RiskLimit", "sent"]
    assert trader.venue.net()[KEY] == 0


def test_cancels_pass_every_rule_and_the_switch(trader: Trader) -> None:
    row = resting(trader, Side.BUY, 10)
    limit(trader, **HARD)
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    assert trader.desk.orders.cancel(trader.principal, trader.account, row.order_id).order_id


# Composites, concurrency -----------------------------------------------------------------------


def test_children_are_checked_one_by_one_and_count_for_each_other(trader: Trader) -> None:
    limit(trader, max_position_quantity="25")
    rows = trader.desk.baskets.basket(
        trader.principal, trader.account, [draft(quantity=10) for _ in range(4)]
    )
    assert sorted(row.status for row in rows) == [ChildStatus.ERROR] * 2 + [
        ChildStatus.SUCCESS] * 2
    assert {row.code for row in rows if row.status is ChildStatus.ERROR} == {"risk_limit"}
    assert trader.venue.net()[KEY] == 20


def test_a_smart_order_is_an_entry_as_far_as_it_adds(trader: Trader) -> None:
    limit(trader, max_order_quantity="10")
    trader.venue.opening[KEY] = 50
    smart = trader.desk.smart_orders.place
    assert smart(trader.principal, trader.account, draft(quantity=0), 20).placed
    with pytest.raises(RiskLimit, match="its quantity is 40"):
        smart(trader.principal, trader.account, draft(quantity=0), -20)


def test_orders_at_the_same_time_do_not_slip_past_a_limit_together(
    main_database: Database, tmp_path: Path
) -> None:
    """Two processes, eight threads, room for five: the venue sees five."""
    VENUES.clear()
    traders = [Trader(main_database, tmp_path, SystemClock()) for _ in range(2)]
    limit(traders[0], max_position_quantity="50")
    traders[1].clock.sleep(0.6)  # the other process sees the change
    order = draft(quantity=10, **PRICE_100)
    outcomes = both(*[lambda t=t: place(t, order) for t in traders * 4])
    assert sorted(outcomes) == ["RiskLimit"] * 3 + ["sent"] * 5
    assert sum(row.quantity for row in traders[0].venue.book) == 50


def test_an_order_of_unknown_outcome_counts(trader: Trader) -> None:
    limit(trader, max_position_quantity="15")
    trader.venue.script("place", "lost")
    with pytest.raises(OutcomeUnknown):
        place(trader)
    with pytest.raises(RiskLimit, match="may come to 20"):
        place(trader)


# Modifications ---------------------------------------------------------------------------------


def test_a_modification_that_asks_for_more_is_an_entry(trader: Trader) -> None:
    row = resting(trader, Side.BUY, 10)
    limit(trader, max_position_quantity="12", max_order_quantity="15")
    with pytest.raises(RiskLimit, match="may come to 13") as told:
        modify(trader, row.order_id, draft(quantity=13, **PRICE_100))
    assert trader.intent(told.value.reference).state is IntentState.NOT_SENT
    assert modify(trader, row.order_id, draft(quantity=12, **PRICE_100)).order_id
    assert modify(trader, row.order_id, draft(quantity=5, **PRICE_100)).order_id
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    with pytest.raises(BrokerDisabled):
        modify(trader, row.order_id, draft(quantity=6, **PRICE_100))
    assert modify(trader, row.order_id, draft(quantity=4, **PRICE_100)).order_id
    assert modify(trader, row.order_id, draft(quantity=4, order_type=LIMIT, price="90")).order_id


def test_a_modification_in_flight_counts(trader: Trader) -> None:
    row = resting(trader, Side.BUY, 10)
    limit(trader, max_position_quantity="30")
    trader.venue.effective = False  # accepted, and the book does not show it yet
    modify(trader, row.order_id, draft(quantity=25, **PRICE_100))
    with pytest.raises(RiskLimit, match="may come to 35"):
        place(trader)


def test_a_new_price_is_held_against_the_band_in_both_directions(trader: Trader) -> None:
    row = resting(trader, Side.BUY, 10, "110")
    limit(trader, price_band_percent="5", max_order_quantity="1")

    def at(price: str) -> Placed:
        return modify(trader, row.order_id, draft(quantity=10, order_type=LIMIT, price=price))

    with pytest.raises(RiskLimit, match="RISK_PRICE_BAND_PERCENT"):
        at("104")
    assert at("105").order_id  # further away from the market, and within the band
    with pytest.raises(RiskLimit, match="RISK_MAX_ORDER_QUANTITY"):
        at("106")  # nearer to the market: an entry like a new one
    limit(trader, max_order_quantity="10")
    with pytest.raises(RiskLimit, match="RISK_PRICE_BAND_PERCENT"):
        at("116")
    assert at("115").order_id


def test_a_stop_that_follows_the_price_passes(trader: Trader) -> None:
    """A trailing stop of a position: its value grows, and it still only reduces."""
    trader.venue.opening[KEY] = 10
    stop = trader.venue.add(replace(
        request(Side.SELL, 10, order_type=OrderType.STOP_MARKET), trigger_price=Decimal(90)
    ), "")
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    limit(trader, **HARD)
    assert modify(trader, stop.order_id, draft(
        Side.SELL, 10, order_type=OrderType.STOP_MARKET, trigger_price="95"
    )).order_id
