"""The kill switch: what it stops, what squaring off reports, and who may."""

from __future__ import annotations

import pytest

from broker.models import OrderState, OrderType, Product, Side
from database import audit
from services.access import Principal
from services.errors import BrokerDisabled, Forbidden
from services.kill_switch import KillSwitch, SquareOff
from services.order_models import ChildStatus
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft, ref_of, request

ADMIN = Principal(0, "asha", True, "admin")
KEY = (ref_of("INFY"), Product.MIS)


@pytest.fixture
def switch(trader: Trader) -> KillSwitch:
    return KillSwitch(
        trader.database, trader.stack.flags, trader.stack.accounts, trader.desk.baskets,
        trader.clock,
    )


def test_it_is_turned_audited_and_told(
    trader: Trader, switch: KillSwitch, clock: ManualClock
) -> None:
    assert (switch.is_on, switch.state().is_on, switch.state().changed_at) == (False, False, None)
    state = switch.turn(True, "asha", address="127.0.0.1", request_id="r1")
    assert (state.is_on, state.changed_by, state.changed_at) == (True, "asha", clock.now())
    with pytest.raises(BrokerDisabled, match="The kill switch is on"):
        trader.desk.orders.place(trader.principal, trader.account, draft())
    assert not switch.turn(False, "ravi").is_on
    assert trader.desk.orders.place(trader.principal, trader.account, draft()).order_id
    with trader.database.read() as conn:
        deeds = [(row.actor, row.action, row.address) for row in audit.list_entries(conn)]
    assert deeds == [("ravi", "kill switch off", ""), ("asha", "kill switch on", "127.0.0.1")]


def test_squaring_off_cancels_and_closes_everything_and_reports_each(
    trader: Trader, switch: KillSwitch, clock: ManualClock
) -> None:
    trader.venue.opening[KEY] = 50
    trader.venue.opening[ref_of("TCS"), Product.CNC] = -7
    trader.venue.add(request(Side.BUY, 5, order_type=OrderType.LIMIT, price="90"), "")
    switch.turn(True, "asha")
    began = clock.monotonic()
    (report,) = switch.square_off(ADMIN)
    assert clock.monotonic() - began >= 1.0  # until every process has seen the switch
    assert (report.account, report.is_done, report.problems) == ("jainam_prop", True, ())
    assert [row.status for row in report.cancelled] == [ChildStatus.SUCCESS]
    assert sorted((row.symbol, row.quantity) for row in report.closed) == [("INFY", 50), ("TCS", 7)]
    assert set(trader.venue.net().values()) == {0}
    assert trader.venue.book[0].state is OrderState.CANCELLED
    assert {intent.strategy for intent in trader.intents()} == {"kill switch"}
    with trader.database.read() as conn:
        entry = audit.list_entries(conn)[0]
    assert (entry.action, entry.subject) == ("square off", "jainam_prop")
    assert entry.detail == {"cancelled": "1 of 1", "closed": "2 of 2", "problems": ""}


def test_it_goes_on_past_what_fails_and_says_what(trader: Trader, switch: KillSwitch) -> None:
    trader.venue.opening[KEY] = 50
    trader.venue.script("orders", "fail")
    switch.turn(True, "asha")
    (report,) = switch.square_off(ADMIN)
    assert not report.is_done
    (problem,) = report.problems
    assert problem.startswith("The orders were not cancelled. ")
    assert [row.status for row in report.closed] == [ChildStatus.SUCCESS]
    trader.venue.opening[KEY] = 100
    trader.venue.script("place", "refuse")
    (report,) = switch.square_off(ADMIN)
    assert [row.status for row in report.closed] == [ChildStatus.ERROR]
    assert not report.is_done


def test_only_an_administrator_squares_off(trader: Trader, switch: KillSwitch) -> None:
    trader.venue.opening[KEY] = 50
    with pytest.raises(Forbidden):
        switch.square_off(trader.principal)
    assert trader.venue.placed == []


def test_nothing_to_do_is_done() -> None:
    assert SquareOff("prop").is_done


def test_what_is_set_for_one_user_is_not_the_state_of_the_switch(
    trader: Trader, switch: KillSwitch
) -> None:
    trader.stack.flags.set("kill", "on", "boss", user_id=trader.principal.user_id)
    assert not switch.is_on
    assert not switch.state().is_on
    switch.turn(True, "boss")
    trader.stack.flags.set("kill", "off", "boss", user_id=trader.principal.user_id)
    assert switch.state().is_on
