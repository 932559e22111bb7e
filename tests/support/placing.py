"""How the tests of single orders place one."""

from __future__ import annotations

from services.order_models import Placed, Provenance
from tests.support.trading import Trader, draft


def place(trader: Trader, **values: object) -> Placed:
    options = {"provenance": Provenance("req-1")} | values
    return trader.desk.orders.place(
        trader.principal, trader.account, draft(), **options,  # type: ignore[arg-type]
    )
