"""A position book that lags behind the order book never makes anybody trade again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.models import Product
from services.errors import Conflict
from services.order_models import ChildStatus, SmartResult
from services.smart_orders import NOTHING_TO_EXIT
from simulator.testing import ThreadSimulator
from tests.support.processes import Process
from tests.support.trading import draft

MakeProcess = Callable[..., Process]
POSITIONS = "GET /portfolio/dealerpositions"


def smart(process: Process, target: int, product: Product) -> SmartResult:
    return process.desk.smart_orders.place(
        process.principal, process.account,
        draft(quantity=0, symbol="RELIANCE", product=product), target,
    )


def orders(sim: ThreadSimulator) -> int:
    return sum(row["accepted"] for row in sim.orders("jainam-b"))


@pytest.mark.parametrize("product", [Product.MIS, Product.CNC])
def test_fills_that_the_position_book_lacks_are_waited_for_or_refused(
    make_process: MakeProcess, sim: ThreadSimulator, product: Product
) -> None:
    process = make_process(JAINAM_API_TIMEOUT="6", BROKER_LIMITS="off")
    sim.control("limits", {"mode": "off"})
    stale = {"route": POSITIONS, "fault": "stale_book", "ms": 60_000}
    assert smart(process, 5, product).placed
    assert orders(sim) == 1
    sim.faults(stale)  # the book shows nothing of it
    with pytest.raises(Conflict, match="does not show the latest fills of 'RELIANCE' yet"):
        smart(process, 5, product)
    rows = process.desk.baskets.close_positions(process.principal, process.account)
    assert rows == []  # a position that is not shown cannot be closed, and nothing is sent
    assert orders(sim) == 1
    sim.faults(stale | {"count": 2})  # it catches up while we wait
    assert smart(process, 5, product).message == NOTHING_TO_EXIT
    assert orders(sim) == 1


def test_a_position_that_was_closed_is_not_closed_again(
    make_process: MakeProcess, sim: ThreadSimulator
) -> None:
    process = make_process(JAINAM_API_TIMEOUT="6", BROKER_LIMITS="off")
    sim.control("limits", {"mode": "off"})
    assert smart(process, 5, Product.MIS).placed
    sim.control("clock", {"advance_seconds": 30})
    assert smart(process, 0, Product.MIS).placed
    sim.faults({"route": POSITIONS, "fault": "stale_book", "ms": 20_000})  # still shows 5
    (row,) = process.desk.baskets.close_positions(process.principal, process.account)
    assert (row.status, row.code) == (ChildStatus.ERROR, "not_closed")
    assert "does not show the latest fills of 'RELIANCE' yet" in row.message
    assert orders(sim) == 2
