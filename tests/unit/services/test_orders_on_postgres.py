"""The order's life on PostgreSQL: the same states, the same guards, the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.errors import OutcomeUnknown
from database.journal import IntentState
from services.order_models import ChildStatus, Provenance
from tests.support.clocks import ManualClock
from tests.support.databases import postgres_database
from tests.support.trading import Trader, draft
from tests.support.venue import VENUES

pytestmark = pytest.mark.postgres


@pytest.fixture
def trader(tmp_path: Path, clock: ManualClock) -> Iterator[Trader]:
    VENUES.clear()
    with postgres_database() as database:
        yield Trader(database, tmp_path, clock)


def test_an_order_goes_through_every_state(trader: Trader, clock: ManualClock) -> None:
    placed = trader.desk.orders.place(trader.principal, trader.account, draft())
    assert trader.states(placed.reference) == ["received", "sending", "accepted"]
    trader.venue.script("place", "lost")
    with pytest.raises(OutcomeUnknown) as caught:
        trader.desk.orders.place(trader.principal, trader.account, draft())
    trader.desk.reconciler.run_until_settled(30.0)
    assert trader.intent(caught.value.reference).state is IntentState.ABSENT
    assert trader.intent(placed.reference).seen_at is not None


def test_composites_keys_and_books(trader: Trader) -> None:
    def produce(reference: str) -> tuple[int, dict[str, Any]]:
        rows = trader.desk.baskets.basket(
            trader.principal, trader.account, [draft(), draft(quantity=3)],
            provenance=Provenance(client_order_id="K", reference=reference),
        )
        assert {row.status for row in rows} == {ChildStatus.SUCCESS}
        return 200, {"ids": [row.order_id for row in rows]}

    def run() -> Any:
        return trader.desk.idempotency.run(
            trader.principal, trader.account, "K", "same", produce, lambda error: (500, {})
        )

    first = run()
    assert run().body == first.body
    assert trader.venue.calls("place") == 2
    assert all(view.ours for view in trader.desk.portfolio.orders(trader.account))
    smart = trader.desk.smart_orders.place(
        trader.principal, trader.account, draft(quantity=0), 0
    )
    assert smart.placed is not None
    assert trader.desk.portfolio.open_position(
        trader.account, "INFY", "NSE", draft().product, fresh=True
    ) == 0
    journal = trader.desk.orders.journal(trader.principal, "K-1")
    assert journal.intent is not None
