"""The risk rules: switches, limits that are set for an account, and what costs nothing."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from broker.models import Exchange, Product, Side
from broker.redis_link import RedisAway
from database import audit
from database.engine import Database
from database.journal import IntentState
from services.errors import BrokerDisabled, InvalidRequest, SharedAway
from services.flags import KILL_SWITCH
from services.risk_limits import RiskLimits
from tests.support.clocks import ManualClock
from tests.support.risk import both, limit, place, resting
from tests.support.trading import Trader, TradingBroker, TradingVenue, draft, ref_of, request
from tests.support.venue import VENUES
from tests.support.waiting import wait_until
from utils.clock import IST, SystemClock

KEY = (ref_of("INFY"), Product.MIS)


# Switches --------------------------------------------------------------------------------------


def test_an_order_that_waits_for_its_turn_is_held_back_by_the_switch(
    main_database: Database, tmp_path: Path
) -> None:
    """It was admitted, then it waited, then the switch was turned: it does not go."""
    VENUES.clear()
    trader = Trader(main_database, tmp_path, SystemClock())
    trader.stack.sessions.connection(trader.account)
    trader.venue.no_slot_at_once = 1
    turned = threading.Event()
    reserve = TradingBroker.reserve

    class Waiting(TradingBroker):
        pass

    def wait_first(self: TradingBroker, operation: Any, *, wait: bool = True, **rest: Any) -> Any:
        if wait:
            turned.wait(10)
        return reserve(self, operation, wait=wait, **rest)

    broker = trader.stack.sessions.connection(trader.account)
    broker.reserve = wait_first.__get__(broker)  # type: ignore[method-assign]
    outcomes: list[str] = []
    work = threading.Thread(target=lambda: outcomes.extend(both(lambda: place(trader))))
    work.start()
    wait_until(lambda: len(trader.intents()) == 1)
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    turned.set()
    work.join(20)
    assert outcomes == ["BrokerDisabled"]
    assert trader.venue.placed == []
    assert trader.venue.slots_out == 0
    assert trader.intents()[0].state is IntentState.NOT_SENT


def test_the_switch_stops_one_user_and_leaves_his_way_out_open(trader: Trader) -> None:
    """A flag for one user; what is set for him never takes back what holds for everybody."""
    other = trader.stack.user("ravi")
    flags = trader.stack.flags
    row = resting(trader, Side.BUY, 10)
    trader.venue.opening[KEY] = 5
    flags.set(KILL_SWITCH, "on", "boss", user_id=trader.principal.user_id)
    with pytest.raises(BrokerDisabled, match="stopped your new orders"):
        place(trader)
    assert place(trader, draft(Side.SELL, 5)).order_id
    assert trader.desk.orders.cancel(trader.principal, trader.account, row.order_id).order_id
    assert trader.desk.orders.place(other, trader.account, draft()).order_id
    flags.set(KILL_SWITCH, "off", "boss", user_id=trader.principal.user_id)
    assert place(trader).order_id
    flags.switch(KILL_SWITCH, True, "boss")
    with pytest.raises(BrokerDisabled, match="kill switch is on"):
        place(trader)


def test_past_the_square_off_time_an_intraday_entry_is_warned_about(
    trader: Trader, clock: ManualClock
) -> None:
    limit(trader, square_off_time="12:30")  # the clock stands at noon in India
    assert place(trader).warnings == ()
    clock.advance((datetime(2026, 11, 20, 12, 30, tzinfo=IST) - clock.now()).total_seconds())
    (warning,) = place(trader).warnings
    assert warning.startswith("It is past the square-off time 12:30 IST")
    assert place(trader, draft(product=Product.CNC)).warnings == ()


# Limits ----------------------------------------------------------------------------------------


def test_what_is_stored_for_an_account_stands_in_place_of_the_setting(
    main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    VENUES.clear()
    variables = {"RISK_MAX_ORDER_QUANTITY": "5", "RISK_MAX_OPEN_ORDERS": "3"}
    first = Trader(main_database, tmp_path, clock, **variables)
    other = Trader(main_database, tmp_path, clock, **variables)
    assert first.limits.of(first.account).max_order_quantity == 5
    changed = first.limits.change(
        first.account, {"max_order_quantity": "7", "max_open_orders": "off"}, "asha"
    )
    assert changed == {
        "RISK_MAX_ORDER_QUANTITY": "setting → 7", "RISK_MAX_OPEN_ORDERS": "setting → off",
    }
    clock.advance(1.0)
    held = other.limits.of(other.account)
    assert (held.max_order_quantity, held.max_open_orders) == (7, None)
    with main_database.read() as conn:
        (entry,) = audit.list_entries(conn)
    assert (entry.actor, entry.action, entry.subject, entry.detail) == (
        "asha", "risk limits changed", "jainam_prop", changed,
    )
    rows = {row.name: row for row in first.limits.table(first.account).rows}
    quantity = rows["max_order_quantity"]
    assert (quantity.setting, quantity.stored, quantity.effective) == ("5", "7", "7")
    assert rows["max_open_orders"].effective == "off"
    first.limits.change(first.account, {"max_order_quantity": ""}, "asha")
    assert first.limits.of(first.account).max_order_quantity == 5
    assert first.limits.change(first.account, {"max_order_quantity": ""}, "asha") == {}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("max_order_quantity", "0", "greater than 0"), ("max_order_quantity", "1.5", "integer"),
        ("max_order_value", "nan", "finite"), ("max_drawdown_percent", "101", "less than"),
        ("allowed_exchanges", "NSE,MOON", "does not know MOON"),
        ("allowed_products", "BO", "does not know BO"), ("square_off_time", "25:00", "time of day"),
        ("no_such_limit", "1", "is no risk limit"),
    ],
)
def test_a_limit_that_means_nothing_is_not_stored(
    trader: Trader, name: str, text: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as told:
        limit(trader, **{"max_open_orders": "3", name: text})
    assert list(told.value.errors) == [name]
    assert trader.limits.of(trader.account) == RiskLimits()


def test_without_limits_an_order_reads_nothing_more(trader: Trader) -> None:
    place(trader)
    assert [name for name, _ in trader.venue.wire] == ["reserve at once", "place"]
    assert trader.states(trader.intents()[0].reference) == ["received", "sending", "accepted"]


def test_the_venue_of_these_tests_is_the_one_that_lags(trader: Trader) -> None:
    """The double itself: an order that lags is in the order book and not in the positions."""
    venue: TradingVenue = trader.venue
    row = venue.add(request(Side.BUY, 5), "")
    venue.lagging[row.order_id] = 1
    assert venue.traded()[KEY] == (0, 0)
    assert venue.traded()[KEY] == (5, 0)
    assert ref_of("INFY").exchange is Exchange.NSE


def test_while_what_hosts_share_is_away_only_exits_go(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        is_away = True

        def ping(self) -> None:
            raise RedisAway("Redis does not answer")

    entries = trader.desk.orders._placer._entries
    monkeypatch.setattr(entries, "_shared", Away())
    trader.venue.opening[KEY] = 50
    with pytest.raises(SharedAway):
        place(trader)
    assert trader.venue.placed == []
    assert place(trader, draft(Side.SELL, 50)).order_id
