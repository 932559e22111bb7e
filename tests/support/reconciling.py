"""Orders whose outcome is not known yet, and the rounds that find it out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from broker.errors import OutcomeUnknown
from broker.models import OrderType, Side
from database import journal
from database.journal import Intent, IntentKind, IntentState
from services.order_models import ModifyDraft, Placed
from services.reconciler import POLL_SECONDS
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft, request
from utils.ids import new_reference, new_tag

LIMIT = OrderType.LIMIT


def place(trader: Trader, **values: object) -> Placed:
    return trader.desk.orders.place(
        trader.principal, trader.account, draft(**values),  # type: ignore[arg-type]
    )


def lost_order(trader: Trader, fault: str = "lost") -> str:
    """An order of unknown outcome; its reference."""
    trader.venue.script("place", fault)
    with pytest.raises(OutcomeUnknown) as caught:
        place(trader)
    return caught.value.reference


def left_behind(trader: Trader, state: IntentState, *, booked: bool = False) -> Intent:
    """What a killed process leaves: an intent in this state, perhaps in the venue's book."""
    now = trader.clock.now()
    intent = Intent(
        reference=new_reference(), tag=new_tag(), kind=IntentKind.PLACE,
        account_id=trader.account.id, user_id=trader.principal.user_id, request_id="r",
        created_at=now, symbol="INFY", exchange="NSE", token="1594", side="BUY",
        order_type="MARKET", product="MIS", quantity=10, deadline_at=now + timedelta(seconds=10),
    )
    with trader.database.write() as conn:
        intent_id = journal.new_intent(conn, intent)
        if state is not IntentState.RECEIVED:
            journal.change(conn, intent_id, IntentState.SENDING, "slot granted", at=now)
    if booked:
        trader.venue.add(request(Side.BUY, 10), intent.tag)
    return replace(intent, id=intent_id)


def rounds(trader: Trader, clock: ManualClock, seconds: float) -> None:
    """Let the schedule run for so long."""
    for _ in range(int(seconds / POLL_SECONDS)):
        trader.desk.reconciler.run_once()
        clock.advance(POLL_SECONDS)


def terms(price: str) -> ModifyDraft:
    return ModifyDraft("INFY", "NSE", Side.BUY, LIMIT, draft().product, 10, Decimal(price))
