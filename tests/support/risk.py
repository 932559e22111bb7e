"""What the tests of the risk rules do to an account."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from broker.models import (
    Order,
    OrderType,
    Side,
)
from services.order_models import ModifyDraft, OrderDraft, Placed
from tests.support.trading import Trader, draft, request

LIMIT = OrderType.LIMIT
PRICE_100: dict[str, Any] = {"order_type": LIMIT, "price": "100"}


def limit(trader: Trader, **texts: str) -> None:
    trader.limits.change(trader.account, texts, "asha")


def place(trader: Trader, order: OrderDraft | None = None, **values: Any) -> Placed:
    return trader.desk.orders.place(
        trader.principal, trader.account, order or draft(), **values
    )


def modify(trader: Trader, order_id: str, order: OrderDraft) -> Placed:
    return trader.desk.orders.modify(
        trader.principal, trader.account, order_id,
        ModifyDraft(
            order.symbol, order.exchange, order.side, order.order_type, order.product,
            order.quantity, order.price, order.trigger_price,
        ),
    )


def resting(trader: Trader, side: Side, quantity: int, price: str = "100") -> Order:
    """An order of somebody else's terminal that rests in the market."""
    return trader.venue.add(request(side, quantity, order_type=LIMIT, price=price), "")


def both(*work: Callable[[], object]) -> list[str]:
    """Run these at the same time; "sent", or the name of what was raised."""
    outcomes: list[str] = []
    start = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> None:
        start.wait()
        try:
            one()
        except Exception as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append("sent")

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes
