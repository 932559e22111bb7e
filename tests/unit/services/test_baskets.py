"""Baskets and splits: buys first, paced, request order, and each child's own truth."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base import Operation
from broker.errors import BrokerBusy
from broker.models import Product, Side
from services.children import PATIENCE, split_quantity
from services.errors import InvalidRequest
from services.order_models import ChildStatus, OrderDraft, Provenance
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft

BUY, SELL = Side.BUY, Side.SELL
GOOD, BAD, OPEN = ChildStatus.SUCCESS, ChildStatus.ERROR, ChildStatus.UNKNOWN


def basket(trader: Trader, drafts: list[OrderDraft], **values: object) -> list[tuple[object, ...]]:
    rows = trader.desk.baskets.basket(
        trader.principal, trader.account, drafts, **values,  # type: ignore[arg-type]
    )
    assert [row.index for row in rows] == list(range(len(drafts)))
    return [(row.symbol, row.quantity, row.status) for row in rows]


def test_defect_15_buys_are_accepted_before_sells_are_sent_and_rows_stand_in_order(
    trader: Trader,
) -> None:
    drafts = [draft(SELL, 1), draft(BUY, 2), draft(SELL, 3), draft(BUY, 4), draft(BUY, 5)]
    first_sell = threading.Event()
    accepted_before_sells: list[int] = []
    broker = trader.stack.sessions.connection(trader.account)
    original = broker.place

    def watching(order: object, tag: str, **kwargs: object) -> str:
        if order.side is SELL and not first_sell.is_set():  # type: ignore[attr-defined]
            first_sell.set()
            accepted_before_sells.append(
                sum(
                    intent.state.value == "accepted" and intent.quantity in (2, 4, 5)  # the buys
                    for intent in trader.intents()
                )
            )
        return original(order, tag, **kwargs)  # type: ignore[arg-type]

    broker.place = watching  # type: ignore[method-assign]
    rows = basket(trader, drafts)
    assert rows == [("INFY", quantity, GOOD) for quantity in (1, 2, 3, 4, 5)]
    assert accepted_before_sells == [3]


def test_a_row_that_is_refused_does_not_stop_the_others(trader: Trader) -> None:
    drafts = [draft(quantity=1), draft(symbol="NOPE"), draft(quantity=0), draft(quantity=2)]
    rows = trader.desk.baskets.basket(trader.principal, trader.account, drafts)
    assert [row.status for row in rows] == [GOOD, BAD, BAD, GOOD]
    assert "Token not found" in rows[1].message
    assert rows[1].code == "unknown_symbol"
    assert rows[0].order_id
    assert rows[0].reference
    assert len(trader.venue.placed) == 2


def test_a_child_of_unknown_fate_says_so_with_its_reference(trader: Trader) -> None:
    trader.venue.script("place", "lost")
    rows = trader.desk.baskets.basket(trader.principal, trader.account, [draft(), draft(SELL)])
    assert [row.status for row in rows] == [OPEN, GOOD]
    assert trader.intent(rows[0].reference).state.value == "unknown"
    assert rows[0].code == "outcome_unknown"


def test_children_share_a_parent_and_carry_keys_of_their_own(trader: Trader) -> None:
    trader.desk.baskets.basket(
        trader.principal, trader.account, [draft(), draft()],
        provenance=Provenance("req", client_order_id="K"),
    )
    intents = sorted(trader.intents(), key=lambda intent: intent.child_index or 0)
    assert [intent.client_order_id for intent in intents] == ["K-1", "K-2"]
    assert len({intent.parent_reference for intent in intents}) == 1
    assert {intent.origin for intent in intents} == {"basket"}
    assert {intent.request_id for intent in intents} == {"req"}


def test_an_empty_basket_is_an_empty_answer_and_a_huge_one_is_refused(trader: Trader) -> None:
    assert trader.desk.baskets.basket(trader.principal, trader.account, []) == []
    with pytest.raises(InvalidRequest, match="at most 100"):
        trader.desk.baskets.basket(trader.principal, trader.account, [draft()] * 101)
    assert trader.venue.wire == []


def test_defect_11_a_full_queue_is_waited_out_and_nothing_is_refused(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.no_slot_at_once = 30
    trader.venue.script("reserve", *[BrokerBusy("Full.", retry_after=0.5)] * 20)
    before = clock.monotonic()
    rows = basket(trader, [draft(quantity=n) for n in range(1, 31)])
    assert [status for _, _, status in rows] == [GOOD] * 30
    assert clock.monotonic() - before >= 0.5
    assert trader.venue.calls("place") == 30


def test_a_queue_that_stays_full_is_told_in_the_end(trader: Trader) -> None:
    trader.venue.no_slot_at_once = 10_000
    trader.venue.script("reserve", *[BrokerBusy("Full.", retry_after=5.0)] * 100)
    rows = trader.desk.baskets.basket(trader.principal, trader.account, [draft()])
    assert rows[0].status is BAD
    assert rows[0].code == "broker_busy"
    waits = [op for op, _, wait in trader.venue.reserved if wait and op is Operation.PLACE]
    assert len(waits) == PATIENCE / 5 + 1


def test_an_unexpected_failure_of_a_child_is_not_told_as_success_or_failure(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(trader.symbols, "require", broken)
    rows = trader.desk.baskets.basket(trader.principal, trader.account, [draft()])
    assert rows[0].status is OPEN
    assert rows[0].code == "internal_error"


def test_a_basket_that_is_taken_up_again_places_only_what_is_missing(trader: Trader) -> None:
    provenance = Provenance("r", client_order_id="K", reference="PARENT")
    trader.venue.script("place", "", "refuse", "lost")
    first = trader.desk.baskets.split(
        trader.principal, trader.account, draft(quantity=40), 10, provenance=provenance
    )
    assert [row.status for row in first] == [GOOD, BAD, OPEN, GOOD]
    again = trader.desk.baskets.split(
        trader.principal, trader.account, draft(quantity=50), 10, provenance=provenance
    )
    assert [row.status for row in again] == [GOOD, BAD, OPEN, GOOD, GOOD]
    assert [row.reference for row in again[:4]] == [row.reference for row in first]
    assert trader.venue.calls("place") == 5


def test_a_child_that_was_never_sent_goes_out_when_taken_up_again(trader: Trader) -> None:
    provenance = Provenance("r", reference="PARENT")
    trader.venue.script("place", "connect", "connect")
    first = trader.desk.baskets.basket(
        trader.principal, trader.account, [draft()], provenance=provenance
    )
    assert first[0].status is BAD
    again = trader.desk.baskets.basket(
        trader.principal, trader.account, [draft()], provenance=provenance
    )
    assert again[0].status is GOOD


def test_a_split_goes_out_in_parts_in_sequence(trader: Trader) -> None:
    rows = trader.desk.baskets.split(trader.principal, trader.account, draft(quantity=105), 50)
    assert [(row.index, row.quantity, row.status) for row in rows] == [
        (0, 50, GOOD), (1, 50, GOOD), (2, 5, GOOD),
    ]
    assert [order.quantity for _, order in trader.venue.placed] == [50, 50, 5]


@pytest.mark.parametrize(
    ("quantity", "size", "parts"),
    [(105, 50, [50, 50, 5]), (100, 50, [50, 50]), (10, 50, [10]), (100, 1, [1] * 100)],
)
def test_the_parts_of_a_split(quantity: int, size: int, parts: list[int]) -> None:
    assert split_quantity(quantity, size) == parts


@pytest.mark.parametrize(
    ("quantity", "size", "words"),
    [
        (101, 1, "Total number of orders would exceed maximum limit of 100"),
        (10, 0, "Split size must be a positive integer"),
        (0, 5, "Total quantity must be a positive number"),
    ],
)
def test_a_split_that_cannot_be(quantity: int, size: int, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        split_quantity(quantity, size)


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_a_split_keeps_the_quantity(quantity: int, size: int) -> None:
    if -(-quantity // size) > 100:
        with pytest.raises(InvalidRequest):
            split_quantity(quantity, size)
        return
    parts = split_quantity(quantity, size)
    assert sum(parts) == quantity
    assert all(0 < part <= size for part in parts)


def test_a_queue_that_names_no_time_is_not_asked_all_the_time(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.script("reserve at once", *[BrokerBusy("Cannot be counted.")] * 500)
    trader.venue.script("reserve", *[BrokerBusy("Cannot be counted.")] * 500)
    assert basket(trader, [draft()]) == [("INFY", 10, BAD)]
    assert len(trader.intents()) <= PATIENCE + 1


def test_a_child_is_cut_by_the_freeze_quantity_where_it_is_asked_for(trader: Trader) -> None:
    sliced = trader.desk.baskets.sliced
    assert [part.quantity for part in sliced(trader.account, draft(quantity=250, symbol="SBIN"))] \
        == [100, 100, 50]
    whole = draft(quantity=100, symbol="SBIN")
    assert sliced(trader.account, whole) == [whole]
    unknown = draft(symbol="NOSUCH")
    assert sliced(trader.account, unknown) == [unknown]
    lots = draft(quantity=25, symbol="CRUDEOIL26NOVFUT", exchange="MCX", product=Product.NRML)
    assert [part.quantity for part in sliced(trader.account, lots)] == [10, 10, 5]
