"""Lives of a simulator with a state file, without HTTP, at times that tests choose."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simulator import inject
from simulator.clock import Clock
from simulator.exchange import Exchange, Options
from simulator.oms import desk
from simulator.oms.books import history, order_rows, trade_rows
from simulator.oms.engine import Engine
from simulator.oms.orders import Order
from simulator.oms.portfolio import balance, holdings, position_rows
from simulator.state.keeper import Keeper

RELIANCE = 2885
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC).timestamp()


class Times:
    """Wall and monotonic time that tests move."""

    def __init__(self) -> None:
        self.wall = NOON
        self.mono = 1_000.0


def exchange_at(times: Times, **options: Any) -> Exchange:
    chosen: dict[str, Any] = {"profiles": ("jainam-b", "generic-json"), "size": "small"}
    clock = Clock(lambda: times.wall, lambda: times.mono)
    return Exchange(Options(**{**chosen, **options}), clock)


class Run:
    """One life of a simulator with a state file."""

    def __init__(self, path: Path, times: Times, **options: Any) -> None:
        self.exchange = exchange_at(times, **options)
        self.keeper = Keeper(path, self.exchange)
        self.engine = self.exchange.engines["jainam-b"]

    def save(self) -> None:
        asyncio.run(self.keeper.save())

    def end(self) -> None:
        asyncio.run(self.keeper.close())

    def place(self, **changes: Any) -> Order:
        body = {
            "exchangeSegment": "NSECM", "exchangeInstrumentID": RELIANCE, "productType": "MIS",
            "orderType": "MARKET", "orderSide": "BUY", "timeInForce": "DAY",
            "disclosedQuantity": 0, "orderQuantity": 10, "limitPrice": 0, "stopPrice": 0,
            "orderUniqueIdentifier": "T", "clientID": "*****", **changes,
        }  # fmt: skip
        credential = self.exchange.credentials[("interactive", "SIMJAINAMBINTERACTIVE01")]
        record = desk.record(self.engine, body, credential.user_id, 0)
        return self.engine.orders[desk.place(self.engine, credential, body, record, False)[0]]

    def rest(self, **changes: Any) -> Order:
        """An order that stays open, far below the market."""
        low = self.instrument().low
        return self.place(**{"orderType": "LIMIT", "limitPrice": low, **changes})

    def instrument(self) -> Any:
        found = self.exchange.catalog.find("NSECM", RELIANCE)
        assert found is not None
        return found

    def books(self) -> dict[str, Any]:
        """Everything that a client can read, as text."""
        return {name: shown(engine) for name, engine in self.exchange.engines.items()}


def shown(engine: Engine) -> dict[str, Any]:
    accounts = [*engine.clients.all(), *engine.foreign_accounts]
    which = [
        position_rows(accounts, day, engine.profile, engine.quirks, engine.prices)
        for day in ("DayWise", "NetWise")
    ]
    return {
        "orders": order_rows(engine, accounts, True),
        "histories": {i: history(engine, order) for i, order in engine.orders.items()},
        "trades": trade_rows(engine, accounts, True),
        "positions": which,
        "holdings": [holdings(a, engine.quirks, NOON) for a in accounts],
        "balances": [balance(a, engine.quirks) for a in accounts],
        "figures": [inject.account_document(a) for a in accounts],
        "waiting": engine.matching.waiting,
    }
