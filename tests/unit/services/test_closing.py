"""Cancel-all and close-all: everything, past every failure, told child by child."""

from __future__ import annotations

import pytest

from broker.base import Operation, Priority
from broker.errors import OutcomeUnknown, Refused
from broker.models import OrderRequest, OrderState, OrderType, Product, Side
from database.errors import DatabaseUnavailable
from services.closing import still_to_close
from services.errors import Unavailable
from services.exposure import lock_name
from services.flags import KILL_SWITCH
from services.order_models import ChildResult, ChildStatus, Provenance
from tests.support.trading import Trader, draft, ref_of, request

GOOD, BAD, OPEN = ChildStatus.SUCCESS, ChildStatus.ERROR, ChildStatus.UNKNOWN
INFY = (ref_of("INFY"), Product.MIS)
TCS = (ref_of("TCS"), Product.CNC)
BANK = (ref_of("BANKNIFTY26NOVFUT"), Product.NRML)


def rest(trader: Trader, price: str = "90", tag: str = "") -> str:
    order = request(Side.BUY, 10, order_type=OrderType.LIMIT, price=price)
    return trader.venue.add(order, tag).order_id


def cancel_all(trader: Trader) -> list[ChildResult]:
    return trader.desk.baskets.cancel_all(
        trader.principal, trader.account, strategy="panic"
    ).children


def close_all(trader: Trader) -> list[ChildResult]:
    return trader.desk.baskets.close_positions(
        trader.principal, trader.account, strategy="panic"
    )


# Cancel all -------------------------------------------------------------------------------------


def test_defect_07_every_open_state_is_cancelled_and_no_other(trader: Trader) -> None:
    ids = [rest(trader) for _ in OrderState]
    for order_id, state in zip(ids, OrderState, strict=True):
        trader.venue.change(order_id, state=state)
    partly = rest(trader)
    trader.venue.fill(partly, 4)
    open_ids = {
        order_id for order_id, state in zip(ids, OrderState, strict=True) if state.is_open
    } | {partly}
    rows = cancel_all(trader)
    assert {row.order_id for row in rows} == open_ids
    assert {row.status for row in rows} == {GOOD}
    assert {order_id for order_id, _ in trader.venue.cancelled} == open_ids
    assert all(trader.venue.row(order_id).state is OrderState.CANCELLED for order_id in open_ids)
    assert {row.symbol for row in rows} == {"INFY"}
    assert all(
        priority is Priority.EXIT
        for operation, priority, _ in trader.venue.reserved if operation is Operation.CANCEL
    )


def test_nothing_to_cancel_is_an_empty_answer(trader: Trader) -> None:
    assert cancel_all(trader) == []


def test_a_refused_cancel_does_not_stop_the_others(trader: Trader) -> None:
    first, second = rest(trader), rest(trader)
    broker = trader.stack.sessions.connection(trader.account)
    original = broker.cancel

    def cancel(order_id: str, **kwargs: object) -> str:
        if order_id == first:
            trader.venue.fill(first)
        return original(order_id, **kwargs)  # type: ignore[arg-type]

    broker.cancel = cancel  # type: ignore[method-assign]
    result = trader.desk.baskets.cancel_all(trader.principal, trader.account)
    assert [row.status for row in result.children] == [BAD, GOOD]
    assert (result.cancelled, result.failed) == ([second], [first])
    assert "filled before it could be cancelled" in result.children[0].message


def test_a_cancel_without_effect_is_not_called_a_success(trader: Trader) -> None:
    order_id = rest(trader)
    trader.venue.effective = False
    rows = cancel_all(trader)
    assert [(row.order_id, row.status, row.code) for row in rows] == [
        (order_id, OPEN, "not_verified")
    ]


def test_a_lost_cancel_that_took_effect_is_a_success(trader: Trader) -> None:
    rest(trader)
    trader.venue.script("cancel", "accept_lost")
    assert [row.status for row in cancel_all(trader)] == [GOOD]


def test_cancellations_that_cannot_be_verified_are_told_so(trader: Trader) -> None:
    rest(trader)
    trader.venue.script("orders", "", *["fail"] * 50)
    assert [row.code for row in cancel_all(trader)] == ["not_verified"]


def test_orders_are_cancelled_though_their_symbols_cannot_be_looked_up(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise DatabaseUnavailable("the database is not available")

    monkeypatch.setattr(trader.symbols, "many_by_token", gone)
    rest(trader)
    assert [(row.symbol, row.status) for row in cancel_all(trader)] == [("BROKER 1594", GOOD)]


def test_defect_05_a_book_that_cannot_be_read_is_no_success(trader: Trader) -> None:
    trader.venue.script("orders", "fail")
    with pytest.raises(Unavailable, match="nothing was sent"):
        cancel_all(trader)


# Close all --------------------------------------------------------------------------------------


def test_every_position_is_closed_with_its_own_product(trader: Trader) -> None:
    trader.venue.opening.update({INFY: 30, TCS: -20, (ref_of("SBIN"), Product.MIS): 0})
    rows = close_all(trader)
    assert [(row.symbol, row.product, row.quantity, row.status) for row in rows] == [
        ("INFY", "MIS", 30, GOOD), ("TCS", "CNC", 20, GOOD),
    ]
    assert set(trader.venue.net().values()) == {0}
    sent = {order.instrument: order for _, order in trader.venue.placed}
    assert sent[INFY[0]].side is Side.SELL
    assert sent[TCS[0]].side is Side.BUY
    assert {order.order_type for order in sent.values()} == {OrderType.MARKET}
    assert {intent.origin for intent in trader.intents()} == {"exit"}
    assert {intent.strategy for intent in trader.intents()} == {"panic"}


def test_an_exit_is_cut_by_the_freeze_quantity(trader: Trader) -> None:
    trader.venue.opening[BANK] = 150
    rows = close_all(trader)
    assert [(row.index, row.quantity, row.status) for row in rows] == [
        (0, 60, GOOD), (1, 60, GOOD), (2, 30, GOOD),
    ]


def test_no_positions_is_an_empty_answer(trader: Trader) -> None:
    assert close_all(trader) == []


def test_defect_06_each_position_has_its_own_result(trader: Trader) -> None:
    trader.venue.opening.update({INFY: 30, TCS: -20, BANK: 30})
    broker = trader.stack.sessions.connection(trader.account)
    original = broker.place

    faults = {"1594": Refused("OEMS:RMS : no"), "11536": OutcomeUnknown("Connection timeout")}

    def place(order: OrderRequest, tag: str, **kwargs: object) -> str:
        if order.instrument.token in faults:
            raise faults[order.instrument.token]
        return original(order, tag, **kwargs)  # type: ignore[arg-type]

    broker.place = place  # type: ignore[method-assign]
    rows = {row.symbol: row for row in close_all(trader)}
    assert {symbol: row.status for symbol, row in rows.items()} == {
        "INFY": BAD, "TCS": OPEN, "BANKNIFTY26NOVFUT": GOOD,
    }
    assert rows["INFY"].message == "OEMS:RMS : no"
    assert all(row.reference for row in rows.values())


def test_switches_let_exits_through(trader: Trader) -> None:
    trader.venue.opening[INFY] = 30
    trader.stack.sessions.connection(trader.account)
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    trader.stack.accounts.set_broker_enabled("jainam_prop", False, "asha")
    assert [row.status for row in close_all(trader)] == [GOOD]


def test_positions_that_cannot_be_read_are_no_success(trader: Trader) -> None:
    trader.venue.script("positions", "fail")
    with pytest.raises(Unavailable, match="nothing was sent"):
        close_all(trader)


def test_a_second_call_does_not_turn_the_position_round(trader: Trader) -> None:
    trader.venue.opening[INFY] = 30
    trader.venue.fill_market = False
    assert [row.status for row in close_all(trader)] == [GOOD]
    rows = close_all(trader)
    assert [row.status for row in rows] == [BAD]
    assert "close the position of 'INFY' already" in rows[0].message
    assert trader.venue.calls("place") == 1


def test_an_exit_of_unknown_outcome_is_not_doubled(trader: Trader) -> None:
    trader.venue.opening[INFY] = 30
    trader.venue.script("place", "lost")
    assert [row.status for row in close_all(trader)] == [OPEN]
    rows = close_all(trader)
    assert rows[0].status is BAD
    assert "no known outcome yet" in rows[0].message
    assert trader.venue.calls("place") == 1


def test_an_entry_of_unknown_outcome_does_not_hold_up_the_exit(trader: Trader) -> None:
    trader.venue.opening[INFY] = 30
    trader.venue.script("place", "lost")
    with pytest.raises(OutcomeUnknown):
        trader.desk.orders.place(trader.principal, trader.account, draft(Side.BUY, 5))
    assert [row.status for row in close_all(trader)] == [GOOD]


def test_a_position_outside_the_master_contract_is_a_row_that_says_so(trader: Trader) -> None:
    trader.venue.opening.update({INFY: 30, (ref_of("INFY")._replace(token="9"), Product.MIS): 5})
    rows = close_all(trader)
    assert [row.status for row in rows] == [GOOD, BAD]
    assert "not in the master contract" in rows[1].message
    assert rows[1].symbol == "BROKER 9"


def test_a_position_that_somebody_works_on_is_left_to_them(trader: Trader) -> None:
    trader.venue.opening.update({INFY: 30, TCS: -20})
    other = Trader(trader.database, trader.stack_folder, trader.clock)
    with other.stack.locks.lock(lock_name(trader.account, INFY), 0.0):
        rows = close_all(trader)
    assert [row.status for row in rows] == [BAD, GOOD]
    assert "Another request is working" in rows[0].message


@pytest.mark.parametrize(
    ("net", "in_flight", "left"),
    [
        (30, 0, 30), (-30, 0, 30), (30, -10, 20), (30, -30, 0), (30, -40, 0), (30, 10, 30),
        (-30, 10, 20), (-30, 30, 0), (-30, -5, 30),
    ],
)
def test_what_is_still_to_close(net: int, in_flight: int, left: int) -> None:
    assert still_to_close(net, in_flight) == left


def test_a_run_after_a_crash_closes_what_is_left_and_not_what_stood_in_its_place(
    trader: Trader,
) -> None:
    trader.venue.opening.update({INFY: 30})
    baskets, provenance = trader.desk.baskets, Provenance(reference="PARENT")
    first = baskets.close_positions(trader.principal, trader.account, provenance=provenance)
    trader.venue.opening.update({TCS: -20})
    again = baskets.close_positions(trader.principal, trader.account, provenance=provenance)
    assert [(row.symbol, row.status) for row in first] == [("INFY", GOOD)]
    assert [(row.symbol, row.status) for row in again] == [("TCS", GOOD)]
    assert first[0].order_id != again[0].order_id
    assert set(trader.venue.net().values()) == {0}
