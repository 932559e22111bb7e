"""Smart orders: the whole decision table, certainty of the position, one at a time."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base import Priority
from broker.errors import Fate, OutcomeUnknown, SessionExpired
from broker.models import OrderState, OrderType, Position, Product, Side
from database.engine import Database
from database.journal import IntentState
from services.errors import (
    BrokerDisabled,
    Conflict,
    InvalidRequest,
    Unavailable,
    UnknownSymbol,
)
from services.exposure import lock_name
from services.flags import KILL_SWITCH
from services.lagging import Missing, lacking
from services.locks import LockBusy
from services.order_models import OrderDraft, Provenance, SmartResult
from services.smart_orders import MATCHED, NOTHING_TO_EXIT, Trade, decide
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft, ref_of, request
from tests.support.venue import VENUES
from utils.clock import SystemClock

KEY = (ref_of("INFY"), Product.MIS)


def smart(
    trader: Trader, target: int, order: OrderDraft | None = None, **values: object
) -> SmartResult:
    return trader.desk.smart_orders.place(
        trader.principal, trader.account, order or draft(quantity=0), target,
        **values,  # type: ignore[arg-type]
    )


# The table (REST reference §8.2) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "current", "side", "quantity", "expected"),
    [
        (0, 0, Side.BUY, 10, Trade(Side.BUY, 10)),
        (0, 0, Side.SELL, 10, Trade(Side.SELL, 10)),
        (0, 0, Side.BUY, 0, NOTHING_TO_EXIT),
        (50, 50, Side.BUY, 10, MATCHED),
        (-50, -50, Side.SELL, 10, MATCHED),
        (50, 50, Side.BUY, 0, NOTHING_TO_EXIT),
        (0, 30, Side.BUY, 10, Trade(Side.SELL, 30)),
        (0, -30, Side.SELL, 0, Trade(Side.BUY, 30)),
        (70, 0, Side.SELL, 0, Trade(Side.BUY, 70)),
        (-70, 0, Side.BUY, 5, Trade(Side.SELL, 70)),
        (100, 40, Side.SELL, 5, Trade(Side.BUY, 60)),
        (40, 100, Side.BUY, 5, Trade(Side.SELL, 60)),
        (-40, 60, Side.BUY, 0, Trade(Side.SELL, 100)),
        (40, -60, Side.SELL, 0, Trade(Side.BUY, 100)),
        (-100, -40, Side.BUY, 0, Trade(Side.SELL, 60)),
        (-40, -100, Side.BUY, 0, Trade(Side.BUY, 60)),
    ],
)
def test_the_decision_table(
    target: int, current: int, side: Side, quantity: int, expected: Trade | str
) -> None:
    assert decide(target, current, side, quantity) == expected


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.sampled_from(list(Side)))
def test_a_trade_always_leads_to_the_target(target: int, current: int, side: Side) -> None:
    wanted = decide(target, current, side, 0)
    if isinstance(wanted, Trade):
        sign = 1 if wanted.side is Side.BUY else -1
        assert wanted.quantity > 0
        assert current + sign * wanted.quantity == target
    else:
        assert target == current


@pytest.mark.parametrize(
    ("opening", "target", "quantity", "traded"),
    [(0, 10, 0, 10), (100, 0, 0, -100), (-30, 20, 0, 50), (0, 0, 7, 7), (20, -20, 1, -40)],
)
def test_the_position_ends_at_the_target(
    trader: Trader, opening: int, target: int, quantity: int, traded: int
) -> None:
    trader.venue.opening[KEY] = opening
    result = smart(trader, target, draft(quantity=quantity))
    assert result.placed is not None
    assert trader.venue.net()[KEY] == opening + traded


def test_a_matched_position_places_nothing(trader: Trader) -> None:
    trader.venue.opening[KEY] = 50
    assert smart(trader, 50, draft(quantity=1)) == SmartResult(None, MATCHED)
    assert smart(trader, 50) == SmartResult(None, NOTHING_TO_EXIT)
    assert trader.venue.placed == []


def test_the_derived_order_keeps_its_terms(trader: Trader) -> None:
    order = draft(
        Side.SELL, 0, order_type=OrderType.STOP_LIMIT, price="99", trigger_price="98",
        product=Product.CNC,
    )
    smart(trader, 25, order)
    sent = trader.venue.placed[0][1]
    assert (sent.side, sent.quantity, sent.product) == (Side.BUY, 25, Product.CNC)
    assert (sent.order_type, str(sent.price), str(sent.trigger_price)) == (
        OrderType.STOP_LIMIT, "99", "98",
    )


def test_products_and_instruments_are_positions_of_their_own(trader: Trader) -> None:
    trader.venue.opening[ref_of("INFY"), Product.CNC] = 40
    trader.venue.opening[ref_of("TCS"), Product.MIS] = 40
    smart(trader, 10)
    assert trader.venue.placed[0][1].quantity == 10


# What is refused --------------------------------------------------------------------------------


def test_defect_04_a_position_that_cannot_be_read_is_a_refusal(trader: Trader) -> None:
    trader.venue.opening[KEY] = 100
    trader.venue.script("positions", "fail")
    with pytest.raises(Unavailable, match="could not be read, so nothing was sent"):
        smart(trader, 100)
    trader.venue.script("orders", "fail")
    with pytest.raises(Unavailable):
        smart(trader, 100)
    assert trader.venue.placed == []


@pytest.mark.parametrize(
    ("target", "order", "field"),
    [
        (10, draft(quantity=-1), "quantity"),
        (66, draft(quantity=0, symbol="NIFTY26NOVFUT", exchange="NFO"), "position_size"),
        (65, draft(quantity=1, symbol="NIFTY26NOVFUT", exchange="NFO"), "quantity"),
        (10, draft(quantity=0, order_type=OrderType.LIMIT), "price"),
        (10, draft(quantity=0, symbol="NIFTY", exchange="NSE_INDEX"), "exchange"),
        (10**10, draft(quantity=0), "position_size"),
    ],
)
def test_bad_input_reaches_no_broker(
    trader: Trader, target: int, order: OrderDraft, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        smart(trader, target, order)
    assert list(caught.value.errors) == [field]
    assert trader.venue.wire == []


def test_an_unknown_symbol_reaches_no_broker(trader: Trader) -> None:
    with pytest.raises(UnknownSymbol):
        smart(trader, 10, draft(quantity=0, symbol="NOPE"))
    assert trader.venue.wire == []


def test_a_difference_above_the_freeze_quantity_is_refused(trader: Trader) -> None:
    with pytest.raises(InvalidRequest, match="at most 100"):
        smart(trader, 150, draft(quantity=0, symbol="SBIN"))
    assert trader.venue.placed == []


def test_an_order_of_unknown_outcome_makes_the_position_uncertain(trader: Trader) -> None:
    trader.venue.script("place", "lost")
    with pytest.raises(OutcomeUnknown) as lost:
        smart(trader, 10)
    with pytest.raises(Conflict, match=lost.value.reference):
        smart(trader, 10)
    assert trader.venue.calls("place") == 1
    other = smart(trader, 10, draft(quantity=0, symbol="TCS"))
    assert other.placed is not None


def test_an_accepted_order_that_no_book_shows_makes_it_uncertain(trader: Trader) -> None:
    trader.venue.script("place", "drop")
    smart(trader, 10)
    with pytest.raises(Conflict, match="not in the broker's book yet"):
        smart(trader, 10)


# Orders on their way ----------------------------------------------------------------------------


def test_an_order_about_to_fill_is_waited_for(trader: Trader) -> None:
    row = trader.venue.add(request(Side.BUY, 10, order_type=OrderType.LIMIT, price="1"), "")
    trader.venue.change(row.order_id, state=OrderState.PENDING, order_type=OrderType.MARKET)
    reads = 0
    original = trader.venue.fault

    def fault(operation: str, detail: str = "") -> object:
        nonlocal reads
        reads += operation == "orders"
        if operation == "orders" and reads == 3:
            trader.venue.fill(row.order_id)
        return original(operation, detail)

    trader.venue.fault = fault  # type: ignore[method-assign,assignment]
    assert smart(trader, 10, draft(quantity=1)) == SmartResult(None, MATCHED)
    assert trader.venue.placed == []


def test_an_order_that_does_not_come_to_rest_is_counted(trader: Trader) -> None:
    trader.venue.fill_market = False
    trader.venue.add(request(Side.BUY, 10), "")
    result = smart(trader, 25)
    assert result.placed is not None
    assert trader.venue.placed[0][1].quantity == 15


def test_a_position_that_moves_while_it_is_read_is_refused(trader: Trader) -> None:
    trader.venue.fill_market = False
    row = trader.venue.add(request(Side.BUY, 10), "")
    original = trader.venue.fault

    def fault(operation: str, detail: str = "") -> object:
        if operation == "positions":
            trader.venue.fill(row.order_id, 3)
        return original(operation, detail)

    trader.venue.fault = fault  # type: ignore[method-assign,assignment]
    with pytest.raises(Conflict, match="was changing"):
        smart(trader, 25)
    assert trader.venue.placed == []


def test_a_foreign_resting_limit_and_a_waiting_stop_do_not_count(trader: Trader) -> None:
    trader.venue.opening[KEY] = 10
    trader.venue.add(request(Side.SELL, 10, order_type=OrderType.LIMIT, price="120"), "")
    stop = trader.venue.add(request(Side.SELL, 10, order_type=OrderType.LIMIT, price="90"), "")
    trader.venue.change(stop.order_id, state=OrderState.TRIGGER_PENDING)
    result = smart(trader, 0)
    assert result.placed is not None
    assert trader.venue.placed[0][1].side is Side.SELL


def test_a_repeated_limit_smart_order_does_not_double(trader: Trader) -> None:
    order = draft(quantity=0, order_type=OrderType.LIMIT, price="90")
    first = smart(trader, 100, order)
    assert first.placed is not None
    again = smart(trader, 100, order)
    assert again.placed is None
    assert first.placed.order_id in (again.message or "")
    more = smart(trader, 130, order)
    assert more.placed is not None
    assert [item.quantity for _, item in trader.venue.placed] == [100, 30]


def test_a_market_exit_is_not_held_up_by_a_resting_limit_of_ours(trader: Trader) -> None:
    trader.venue.opening[KEY] = 100
    smart(trader, 0, draft(quantity=0, order_type=OrderType.LIMIT, price="110"))
    result = smart(trader, 0)
    assert result.placed is not None
    assert [item.order_type for _, item in trader.venue.placed] == [
        OrderType.LIMIT, OrderType.MARKET,
    ]


# Locks, priorities, repeats ---------------------------------------------------------------------


def test_a_reduction_is_an_exit_and_a_reversal_is_an_entry(trader: Trader) -> None:
    trader.venue.opening[KEY] = 100
    trader.stack.sessions.connection(trader.account)
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    assert smart(trader, 40).placed is not None
    assert trader.venue.reserved[-1][1] is Priority.EXIT
    with pytest.raises(Exception, match="kill switch"):
        smart(trader, -10)
    with pytest.raises(Exception, match="kill switch"):
        smart(trader, 50)


def test_a_position_that_somebody_works_on_is_busy(trader: Trader) -> None:
    name = lock_name(trader.account, KEY)
    with trader.stack.locks.lock(name, 0.0), pytest.raises(LockBusy):
        # another process's lock object: the file decides
        Trader(trader.database, trader.stack_folder, trader.clock).desk.smart_orders.place(
            trader.principal, trader.account, draft(quantity=0), 10
        )
    assert trader.venue.placed == []


def test_concurrent_smart_orders_reach_the_target_once(
    main_database: Database, tmp_path: Path
) -> None:
    VENUES.clear()
    processes = [Trader(main_database, tmp_path, SystemClock()) for _ in range(2)]
    results: list[SmartResult] = []
    errors: list[Exception] = []

    def work(trader: Trader) -> None:
        try:
            results.append(smart(trader, 100, draft(quantity=1)))
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(processes[i % 2],)) for i in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert processes[0].venue.net()[KEY] == 100
    assert sum(result.placed is not None for result in results) == 1


def test_a_repeat_under_the_same_reference_trades_once(trader: Trader) -> None:
    first = smart(trader, 10, draft(quantity=5), provenance=Provenance(reference="S-1"))
    trader.venue.opening[KEY] = -100
    again = smart(trader, 10, draft(quantity=5), provenance=Provenance(reference="S-1"))
    assert first.placed is not None
    assert again.placed is not None
    assert again.placed.order_id == first.placed.order_id
    assert again.placed.replayed
    assert trader.venue.calls("place") == 1
    assert trader.intent("S-1").origin == "smart"
    assert trader.intent("S-1").state is IntentState.ACCEPTED


def test_an_order_that_an_earlier_day_left_unknown_blocks_nothing(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.script("place", "lost")
    with pytest.raises(OutcomeUnknown):
        smart(trader, 10)
    clock.advance(24 * 3600.0)
    trader.venue.opening[KEY] = 4
    assert smart(trader, 10).placed is not None
    assert trader.venue.net()[KEY] == 10


def test_a_smart_limit_that_is_not_confirmed_yet_counts_once(trader: Trader) -> None:
    limit = draft(quantity=0, order_type=OrderType.LIMIT, price="100")
    trader.venue.script("place", "pending")
    smart(trader, 10, limit)
    smart(trader, 30, limit)
    assert [order.quantity for _, order in trader.venue.placed] == [10, 20]


def test_an_order_that_opens_what_others_are_closing_is_no_exit(trader: Trader) -> None:
    trader.venue.opening[KEY] = 10
    trader.venue.fill_market = False
    trader.venue.add(request(Side.SELL, 10), "")
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    with pytest.raises(BrokerDisabled):
        smart(trader, -5)
    assert trader.venue.placed == []


def test_a_position_read_that_the_venue_refuses_proves_that_nothing_was_sent(
    trader: Trader,
) -> None:
    trader.venue.script("positions", SessionExpired("Invalid Token"), SessionExpired("Invalid"))
    with pytest.raises(SessionExpired) as caught:
        smart(trader, 10)
    assert caught.value.fate is Fate.NOT_SENT  # so that its idempotency key is not used up


# In parts ---------------------------------------------------------------------------------------


def test_what_exceeds_the_freeze_quantity_goes_out_in_parts_when_asked(trader: Trader) -> None:
    key = (ref_of("SBIN"), Product.MIS)
    order = draft(quantity=0, symbol="SBIN")
    with pytest.raises(InvalidRequest, match="may have at most 100"):
        smart(trader, 250, order)
    assert trader.venue.placed == []
    trader.venue.script("place", "", "refuse")
    whence = Provenance(reference="PARENT", client_order_id="mine")
    result = smart(trader, 250, order, auto_slice=True, provenance=whence)
    assert [(row.quantity, row.status.value) for row in result.children] == [
        (100, "success"), (100, "error"), (50, "success"),
    ]
    intents = trader.intents()
    assert [row.client_order_id for row in intents] == ["mine-1", "mine-2", "mine-3"]
    assert {(row.parent_reference, row.origin) for row in intents} == {("PARENT", "smart")}
    assert trader.venue.net()[key] == 150
    # Repeated after a crash under the same key: what is missing by then, and nothing twice.
    again = smart(trader, 250, order, auto_slice=True, provenance=whence)
    assert again.placed is not None
    assert trader.venue.net()[key] == 250
    assert smart(trader, 250, order, auto_slice=True).message == NOTHING_TO_EXIT


def test_the_way_out_in_parts_goes_as_an_exit(trader: Trader) -> None:
    trader.venue.opening[ref_of("SBIN"), Product.MIS] = 150
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    result = smart(trader, 0, draft(quantity=0, symbol="SBIN"), auto_slice=True)
    assert [row.status.value for row in result.children] == ["success", "success"]
    assert {priority for _, priority, _ in trader.venue.reserved} == {Priority.EXIT}


# Positions that lag -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filled", "shown", "lacks"),
    [
        ([(Side.BUY, 10)], (10, 10, 0), None),
        ([(Side.BUY, 10)], (0, 0, 0), Missing(10, 0)),
        ([(Side.BUY, 10), (Side.SELL, 10)], (10, 10, 0), Missing(0, 10)),
        ([(Side.BUY, 10), (Side.SELL, 10)], (0, 0, 0), None),  # columns of what is open
        ([(Side.BUY, 10)], (25, 25, 0), None),  # more is held than these orders bought
        ([(Side.SELL, 10)], (5, 15, 10), None),
        ([(Side.BUY, 10), (Side.BUY, 5)], (10, 10, 0), Missing(5, 0)),
    ],
)
def test_what_a_position_lacks_of_the_fills(
    trader: Trader, filled: list[tuple[Side, int]], shown: tuple[int, int, int],
    lacks: Missing | None,
) -> None:
    orders = [trader.venue.add(request(side, quantity), "") for side, quantity in filled]
    net, bought, sold = shown
    position = Position(
        KEY[0], "INFY", KEY[1], net, bought, sold, Decimal(1), Decimal(1), Decimal(1), None, None,
        "*****",
    )
    found = lacking(orders, [position], {KEY})
    assert found == ({KEY: lacks} if lacks else {})


def test_a_fill_of_an_hour_ago_is_taken_to_have_arrived(
    trader: Trader, clock: ManualClock
) -> None:
    """Positions that were converted since then differ for good."""
    row = trader.venue.add(request(Side.BUY, 10), "")
    trader.venue.lagging[row.order_id] = 1_000
    with pytest.raises(Conflict, match="does not show the latest fills"):
        smart(trader, 10)
    clock.advance(3600)
    assert smart(trader, 10).placed is not None
