"""The engine without HTTP: events in order, and margin that is conserved whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.envelope import XtsError
from simulator.exchange import Exchange, Options
from simulator.oms import desk
from simulator.oms.engine import Engine
from simulator.oms.orders import TERMINAL, Order

RELIANCE = 2885
PRO = "SIMBPRO1A01"


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return Exchange(Options(profiles=("jainam-b",), size="small", limits=False))


@pytest.fixture
def engine(exchange: Exchange) -> Engine:
    exchange.reset()
    engine = exchange.engines["jainam-b"]
    engine.listeners.clear()
    return engine


def body(**changes: Any) -> dict[str, Any]:
    base = {
        "exchangeSegment": "NSECM",
        "exchangeInstrumentID": RELIANCE,
        "productType": "MIS",
        "orderType": "MARKET",
        "orderSide": "BUY",
        "timeInForce": "DAY",
        "disclosedQuantity": 0,
        "orderQuantity": 10,
        "limitPrice": 0,
        "stopPrice": 0,
        "orderUniqueIdentifier": "T",
        "clientID": "*****",
    }
    return {**base, **changes}


def place(engine: Engine, exchange: Exchange, **changes: Any) -> Order:
    credential = exchange.credentials[("interactive", "SIMJAINAMBINTERACTIVE01")]
    record = desk.record(engine, body(**changes), PRO, 0)
    app_id, _, _ = desk.place(engine, credential, body(**changes), record, False)
    return engine.orders[app_id]


def test_events_of_a_fill_come_trade_first(engine: Engine, exchange: Exchange) -> None:
    seen: list[str] = []
    engine.listeners.append(
        lambda kind, _engine, payload: seen.append(
            f"{kind}:{payload.status}" if isinstance(payload, Order) else kind
        )
    )
    order = place(engine, exchange)
    assert seen == ["order:PendingNew", "order:New", "trade", "order:Filled", "position"]
    assert order.status == "Filled"
    assert [report.sequence for report in order.reports] == sorted(
        {report.sequence for report in order.reports}
    )


def test_actions_that_come_too_late_change_nothing(engine: Engine, exchange: Exchange) -> None:
    waiting: list[Any] = []
    engine._defer = lambda _delay, action: waiting.append(action)
    engine.behaviour.latency = "realistic"
    try:
        order = place(engine, exchange, orderType="LIMIT", limitPrice=1100)
        engine.reject(order, "16388")
        waiting.pop()()
        assert order.status == "Rejected"
    finally:
        engine._defer = lambda _delay, action: action()


def test_a_partial_fill_during_a_modification(engine: Engine, exchange: Exchange) -> None:
    order = place(engine, exchange, orderType="LIMIT", limitPrice=1100)
    waiting: list[Any] = []
    engine._defer = lambda _delay, action: waiting.append(action)
    engine.behaviour.latency = "realistic"
    try:
        engine.replace(order, order.terms())
        engine.execute(order, 4, 1100)
        waiting.pop()()
        assert (order.status, order.filled) == ("Replaced", 4)
        smaller = order.terms().__class__("LIMIT", "MIS", "DAY", 5, 0, 1100.0, 0.0, "")
        engine.replace(order, smaller)
        engine.execute(order, 3, 1100)
        waiting.pop()()
        assert (order.status, order.quantity, order.reason) == ("PartiallyFilled", 10, "16420")
    finally:
        engine._defer = lambda _delay, action: action()


step = st.one_of(
    st.tuples(
        st.just("place"),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 40),
        st.sampled_from([0, 1100, 1250, 1400]),
        st.sampled_from(["MIS", "NRML"]),
    ),
    st.tuples(st.just("modify"), st.integers(0, 9), st.integers(1, 60), st.integers(1050, 1450)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("fill"), st.integers(0, 9), st.integers(1, 30)),
    st.tuples(st.just("price"), st.sampled_from([1150, 1250, 1350])),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(step, max_size=25))
def test_margin_and_quantities_are_conserved(
    engine: Engine, exchange: Exchange, steps: list[tuple[Any, ...]]
) -> None:
    exchange.reset()
    credential = exchange.credentials[("interactive", "SIMJAINAMBINTERACTIVE01")]
    account = engine.clients.of(credential)[0]
    reliance = exchange.catalog.find("NSECM", RELIANCE)
    assert reliance is not None
    exchange.prices.set(reliance, 1250.0, True)
    orders: list[Order] = []

    def chosen(number: int) -> Order | None:
        alive = [order for order in orders if order.status not in TERMINAL]
        return alive[number % len(alive)] if alive else None

    for kind, *rest in steps:
        if kind == "place":
            side, quantity, price, product = rest
            orders.append(
                place(
                    engine,
                    exchange,
                    orderSide=side,
                    orderQuantity=quantity,
                    orderType="LIMIT" if price else "MARKET",
                    limitPrice=price,
                    productType=product,
                )
            )
        elif kind == "price":
            exchange.prices.set(reliance, float(rest[0]), True)
            engine.matching.touch(reliance)
        else:
            order = chosen(rest[0])
            if order is None:
                continue
            try:
                if kind == "modify":
                    terms = {
                        "appOrderID": order.app_id,
                        "modifiedProductType": order.product,
                        "modifiedOrderType": "LIMIT",
                        "modifiedTimeInForce": "DAY",
                        "modifiedOrderQuantity": rest[1],
                        "modifiedDisclosedQuantity": 0,
                        "modifiedLimitPrice": rest[2],
                        "modifiedStopPrice": 0,
                        "clientID": "*****",
                    }
                    desk.modify(engine, credential, terms)
                elif kind == "cancel":
                    desk.cancel(engine, credential, order.app_id, "*****")
                else:
                    engine.execute(order, min(rest[1], order.leaves), order.price or 1250.0)
            except XtsError:
                continue
    alive = [order for order in orders if order.status not in TERMINAL]
    assert account.blocked == pytest.approx(sum(order.blocked for order in alive), abs=1e-6)
    assert all(order.blocked == 0 for order in orders if order not in alive)
    margins = sum(position.margin for position in account.positions.values())
    assert account.used == pytest.approx(margins, abs=1e-6)
    traded = sum(order.filled * order.sign for order in orders)
    assert sum(position.net for position in account.positions.values()) == traded
    assert engine.matching.waiting == len(alive)
    for order in orders:
        assert order.filled == sum(trade.quantity for trade in order.trades) <= order.quantity
        if order.filled:
            value = sum(trade.quantity * trade.price for trade in order.trades)
            assert order.average == pytest.approx(value / order.filled)
