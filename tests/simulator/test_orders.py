"""Place, modify, cancel, fills and refusals (XTS reference §7.2, §17.2, acceptance list §17.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.testing import ThreadSimulator
from tests.simulator.conftest import Connect
from tests.support.waiting import wait_until
from tests.support.xts_client import RELIANCE, XtsClient

FAR = {"orderType": "LIMIT", "limitPrice": 1100.0}


def nifty_future(client: XtsClient) -> tuple[int, dict[str, Any]]:
    """Token and price of the nearest NIFTY future."""
    text = client.market("POST", "/instruments/master", json={"exchangeSegmentList": ["NSEFO"]})
    rows = [row.split("|") for row in text.json()["result"].split("\n")]
    token = min(
        (int(row[1]) for row in rows if row[3] == "NIFTY" and row[2] == "1"),
    )
    return token, client.sim.control("price", None, segment="NSEFO", token=token)


def test_life_of_a_resting_order(b: XtsClient) -> None:
    app_id = b.placed(**FAR)
    row = b.row(app_id)
    assert row["OrderStatus"] == "New"
    assert row["ExchangeOrderID"]
    assert (row["OrderPrice"], row["LeavesQuantity"]) == (1100, 10)
    assert b.modify(app_id, modifiedOrderQuantity=20, modifiedLimitPrice=1101).status_code == 200
    row = b.row(app_id)
    assert row["OrderStatus"] == "Replaced"
    assert (row["OrderPrice"], row["OrderQuantity"], row["LeavesQuantity"]) == (1101, 20, 20)
    answer = b.cancel(app_id).json()
    assert answer["result"] == {"AppOrderID": app_id, "ClientID": "*****"}
    row = b.row(app_id)
    assert (row["OrderStatus"], row["LeavesQuantity"]) == ("Cancelled", 0)
    history = b.history(app_id)
    assert [h["OrderStatus"] for h in history] == [
        "PendingNew",
        "New",
        "PendingReplace",
        "Replaced",
        "PendingCancel",
        "Cancelled",
    ]
    assert history[0]["ExchangeOrderID"] == ""
    numbers = [h["SequenceNumber"] for h in history]
    assert numbers == sorted(set(numbers))


def test_success_means_request_sent(b: XtsClient) -> None:
    answer = b.place().json()
    assert answer["code"] == "s-orders-0001"
    assert answer["description"] == "Request sent"
    assert answer["result"]["OrderUniqueIdentifier"] == "T-1"
    assert answer["result"]["ClientID"] == "*****"


def test_market_order_in_two_executions(
    b: XtsClient, sim: ThreadSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim.exchange, "tick", lambda: None)  # the rest waits for the price below
    before = b.available()
    b.sim.control("config", {"profile": "jainam-b", "behaviour": {"partial_probability": 1.0}})
    b.price(1250.0)
    app_id = b.placed()
    row = b.row(app_id)
    assert (row["OrderStatus"], row["CumulativeQuantity"]) == ("PartiallyFilled", 5)
    b.price(1260.0)
    row = b.row(app_id)
    assert (row["OrderStatus"], row["LeavesQuantity"]) == ("Filled", 0)
    trades = b.call("GET", "/orders/dealertradebook", clientID="*****").json()["result"]
    assert [(t["LastTradedQuantity"], t["LastTradedPrice"]) for t in trades] == [
        (5, 1250.1),
        (5, 1260.1),
    ]
    assert [t["OrderStatus"] for t in trades] == ["PartiallyFilled", "Filled"]
    assert len({t["ExecutionID"] for t in trades}) == 2
    assert row["OrderAverageTradedPrice"] == pytest.approx(1255.1)
    (position,) = b.positions()
    assert (position["Quantity"], position["BuyAveragePrice"]) == ("10", "1255.10")
    assert position["ExchangeInstrumentId"] == "2885"
    assert before - b.available() == pytest.approx(12551 * 0.2, abs=0.05)


def test_large_market_order_walks_the_depth(b: XtsClient) -> None:
    b.price(1250.0)
    app_id = b.placed(orderQuantity=9_000)
    trades = b.call("GET", "/orders/dealertradebook", clientID="*****").json()["result"]
    prices = [t["LastTradedPrice"] for t in trades if t["AppOrderID"] == app_id]
    assert len(prices) > 1
    assert prices == sorted(prices)
    assert prices[0] == 1250.1
    assert b.row(app_id)["CumulativeQuantity"] == 9_000


def test_marketable_limit_fills_at_the_opposite_price(b: XtsClient) -> None:
    b.price(1250.0)
    app_id = b.placed(orderType="LIMIT", limitPrice=1260.0)
    assert b.row(app_id)["OrderAverageTradedPrice"] == 1250.1


def test_resting_limit_fills_at_its_own_price(b: XtsClient) -> None:
    b.price(1250.0)
    buy = b.placed(orderType="LIMIT", limitPrice=1245.0)
    sell = b.placed(orderType="LIMIT", limitPrice=1255.0, orderSide="SELL")
    b.price(1245.0)
    assert b.row(buy)["OrderAverageTradedPrice"] == 1245
    assert b.row(sell)["OrderStatus"] == "New"
    b.price(1255.0)
    assert b.row(sell)["OrderAverageTradedPrice"] == 1255


def test_moving_price_fills_without_anyone_touching_it(b: XtsClient) -> None:
    b.sim.control("price", {"segment": "NSECM", "token": RELIANCE, "ltp": 1250, "freeze": False})
    quote = b.sim.control("price", None, segment="NSECM", token=RELIANCE)
    app_id = b.placed(orderType="LIMIT", limitPrice=quote["ltp"])
    wait_until(lambda: b.row(app_id)["OrderStatus"] == "Filled")


def test_ioc_remainder_is_cancelled(b: XtsClient) -> None:
    b.price(1250.0)
    resting = b.placed(timeInForce="IOC", orderType="LIMIT", limitPrice=1240.0)
    assert b.row(resting)["OrderStatus"] == "Cancelled"
    b.sim.control("config", {"profile": "jainam-b", "behaviour": {"partial_probability": 1.0}})
    part = b.placed(timeInForce="IOC", orderType="LIMIT", limitPrice=1260.0)
    row = b.row(part)
    assert (row["OrderStatus"], row["CumulativeQuantity"]) == ("Cancelled", 5)


@pytest.mark.parametrize(
    ("side", "stop", "limit", "kind", "trigger", "price"),
    [
        ("BUY", 1260.0, 1262.0, "STOPLIMIT", 1260.0, 1260.1),
        ("SELL", 1240.0, 1238.0, "STOPLIMIT", 1240.0, 1239.9),
        ("BUY", 1260.0, 0, "STOPMARKET", 1261.0, 1261.1),
        ("SELL", 1240.0, 0, "StopMarket", 1239.0, 1238.9),
    ],
)
def test_stops_wait_for_their_trigger(
    b: XtsClient, side: str, stop: float, limit: float, kind: str, trigger: float, price: float
) -> None:
    b.price(1250.0)
    app_id = b.placed(orderType=kind, orderSide=side, stopPrice=stop, limitPrice=limit)
    assert b.row(app_id)["OrderStatus"] == "New"
    b.price(trigger)
    row = b.row(app_id)
    assert (row["OrderStatus"], row["OrderAverageTradedPrice"]) == ("Filled", price)


def test_order_type_labels(b: XtsClient) -> None:
    b.price(1250.0)
    placed = b.placed(orderType="StopLimit", stopPrice=1260, limitPrice=1262)
    assert b.row(placed)["OrderType"] == "StopLimit"


# -- refused at once: 400, no row ------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"orderSide": "buy"}, "e-property-validation-failed", "orderSide"),
        ({"orderType": "limit"}, "e-property-validation-failed", "orderType"),
        ({"orderType": None}, "e-property-validation-failed", "orderType"),
        ({"productType": "INTRADAY"}, "e-property-validation-failed", "productType"),
        ({"timeInForce": "FOK"}, "e-property-validation-failed", "timeInForce"),
        ({"exchangeSegment": 1}, "e-property-validation-failed", "exchangeSegment"),
        ({"orderQuantity": 0}, "e-property-validation-failed", "orderQuantity"),
        ({"orderQuantity": -5}, "e-property-validation-failed", "orderQuantity"),
        ({"orderQuantity": 1.5}, "e-property-validation-failed", "orderQuantity"),
        ({"orderQuantity": "ten"}, "e-property-validation-failed", "orderQuantity"),
        ({"orderQuantity": True}, "e-property-validation-failed", "orderQuantity"),
        ({"orderQuantity": 10**400}, "e-property-validation-failed", "orderQuantity"),
        ({"limitPrice": None}, "e-property-validation-failed", "limitPrice"),
        ({"limitPrice": "NaN"}, "e-property-validation-failed", "limitPrice"),
        ({"orderUniqueIdentifier": "x" * 21}, "e-property-validation-failed", "20"),
        ({"orderUniqueIdentifier": ["x"]}, "e-property-validation-failed", "string"),
        ({"exchangeInstrumentID": 999_999}, "e-instrument-0001", "not found"),
        ({"exchangeInstrumentID": 26_000}, "e-instrument-0001", "not found"),
        ({"clientID": None}, "e-property-validation-failed", "clientID"),
        ({"clientID": "OTHER"}, "e-trade-00002", "not mapped"),
    ],
)
def test_refused_at_once(b: XtsClient, change: dict[str, Any], code: str, word: str) -> None:
    answer = b.place(**change)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert word in answer.text
    assert b.book() == []
    (record,) = b.sim.orders("jainam-b")
    assert (record["accepted"], record["app_order_id"]) == (False, None)
    assert record["refusal"].startswith(code)


def test_lot_multiple_is_checked_at_once(b: XtsClient) -> None:
    token, _ = nifty_future(b)
    answer = b.place(
        exchangeSegment="NSEFO", exchangeInstrumentID=token, orderQuantity=10, productType="NRML"
    )
    assert answer.status_code == 400
    assert answer.json()["description"] == "Order quantity is not a multiple of lot size"


def test_numbers_may_be_text(b: XtsClient) -> None:
    app_id = b.placed(orderQuantity="10", limitPrice="0", exchangeInstrumentID="2885")
    assert b.row(app_id)["OrderQuantity"] == 10


@pytest.mark.parametrize("body", [b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_malformed_bodies(b: XtsClient, body: bytes) -> None:
    headers = {"Authorization": b.token, "Content-Type": "application/json"}
    answer = b.http.post("/interactive/orders", content=body, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "error")
    assert b.sim.orders("jainam-b")[0]["accepted"] is False


# -- refused later: success, then a Rejected row ---------------------------------------------


def rejected(client: XtsClient, **changes: Any) -> str:
    """The reason of an order that was accepted and then rejected."""
    row = client.row(client.placed(**changes))
    assert (row["OrderStatus"], row["LeavesQuantity"]) == ("Rejected", 0)
    return str(row["CancelRejectReason"])


def test_margin_shortfall(b: XtsClient) -> None:
    b.sim.control("balance", {"profile": "jainam-b", "client": "*****", "cash": 100})
    b.price(1250.0)
    reason = rejected(b)
    assert reason.startswith(
        "OEMS:RMS : Margin Exceeds :  - Set Limit:[100] Total Required Margin:[2500] "
        "Available Margin[100] Margin Shortfall[2400] for entity [Client]-[*****]"
    )
    assert reason.endswith("across [ALL|ALL|ALL]")
    assert b.available() == 100


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"productType": "MTF"}, "Product [MTF] is not allowed"),
        ({"orderType": "LIMIT", "limitPrice": 9_999}, "Price Band"),
        ({"orderType": "LIMIT", "limitPrice": 0}, "Price Band"),
        ({"orderType": "LIMIT", "limitPrice": 1250.01}, "16283"),
        ({"orderQuantity": 15_943}, "Freeze Quantity: Required Limit[15943]"),
        ({"orderType": "STOPMARKET", "stopPrice": 0}, "Trigger price is missing"),
        ({"orderType": "STOPMARKET", "stopPrice": 1260.01}, "16283"),
        ({"orderType": "STOPMARKET", "stopPrice": 1240}, "wrong side of the last price"),
        (
            {"orderType": "STOPLIMIT", "stopPrice": 1262, "limitPrice": 1260},
            "Trigger price is beyond the limit price",
        ),
        (
            {"orderSide": "SELL", "productType": "CNC", "orderQuantity": 500},
            "Holding Quantity Exceeds",
        ),
    ],
)
def test_refused_later(b: XtsClient, change: dict[str, Any], text: str) -> None:
    b.price(1250.0)
    assert text in rejected(b, **change)


def test_freeze_quantity_on_nsefo_is_the_master_value_less_one(b: XtsClient) -> None:
    token, quote = nifty_future(b)
    assert quote["freeze_limit"] == 1800
    common = {
        "exchangeSegment": "NSEFO",
        "exchangeInstrumentID": token,
        "productType": "NRML",
        "orderType": "LIMIT",
        "limitPrice": quote["low"],
    }
    assert b.row(b.placed(orderQuantity=1755, **common))["OrderStatus"] == "New"
    reason = rejected(b, orderQuantity=1820, **common)
    assert reason == "Gateway:Freeze Quantity: Required Limit[1820] Freeze Quantity Limit[1800]"


def test_stop_market_can_be_withdrawn_in_derivatives(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "behaviour": {"stop_market_in_fo": False}})
    token, quote = nifty_future(b)
    reason = rejected(
        b,
        exchangeSegment="NSEFO",
        exchangeInstrumentID=token,
        productType="NRML",
        orderQuantity=65,
        orderType="STOPMARKET",
        stopPrice=round(quote["ltp"] + 100, 1),
    )
    assert reason == "16388"


def test_market_hours(b: XtsClient) -> None:
    b.sim.control("clock", {"always_open": False, "set": "2026-11-20T08:00:00"})
    assert "Market is closed" in rejected(b)
    status = b.call("GET", "/status/exchange", userID="x").json()["result"]["marketStatus"]
    assert {s["exchangeTradingSession"] for s in status} == {"Closed"}
    b.sim.control("clock", {"set": "2026-11-20T10:00:00"})
    app_id = b.placed(**FAR)
    assert b.row(app_id)["OrderStatus"] == "New"
    b.sim.control("clock", {"set": "2026-11-20T15:30:01"})
    assert b.row(app_id)["OrderStatus"] == "Cancelled"
    b.sim.control("clock", {"set": "2026-11-21T10:00:00"})
    assert "Market is closed" in rejected(b)  # a Saturday


# -- modify and cancel -----------------------------------------------------------------------


def test_modify_errors(b: XtsClient) -> None:
    app_id = b.placed(**FAR)
    assert b.modify(1).json()["code"] == "e-orders-0001"
    assert b.modify(app_id, clientID="OTHER").json()["code"] == "e-trade-00002"
    assert b.modify(app_id, modifiedOrderQuantity=0).status_code == 400
    missing = b.modify(app_id, modifiedTimeInForce=None)
    assert "modifiedTimeInForce" in missing.text
    b.sim.control(f"orders/{app_id}/fill", {"quantity": 4})
    below = b.modify(app_id, modifiedOrderQuantity=3)
    assert "less than the traded quantity" in below.text
    assert b.cancel(app_id).status_code == 200
    assert "not in a modifiable state" in b.modify(app_id).text


def test_refused_modification_keeps_the_order(b: XtsClient) -> None:
    app_id = b.placed(**FAR)
    free = b.available()
    assert b.modify(app_id, modifiedLimitPrice=9_999).status_code == 200
    row = b.row(app_id)
    assert (row["OrderStatus"], row["OrderPrice"]) == ("New", 1100)
    assert "Price Band" in row["CancelRejectReason"]
    assert b.available() == free


def test_modify_to_the_filled_quantity_completes_the_order(b: XtsClient) -> None:
    app_id = b.placed(**FAR)
    b.sim.control(f"orders/{app_id}/fill", {"quantity": 4, "price": 1100})
    assert b.modify(app_id, modifiedOrderQuantity=4).status_code == 200
    row = b.row(app_id)
    assert (row["OrderStatus"], row["CumulativeQuantity"], row["OrderQuantity"]) == (
        "Filled",
        4,
        4,
    )


def test_modify_into_the_market_fills(b: XtsClient) -> None:
    b.price(1250.0)
    app_id = b.placed(**FAR)
    b.modify(app_id, modifiedOrderType="MARKET", modifiedLimitPrice=0)
    assert b.row(app_id)["OrderStatus"] == "Filled"


def test_cancel_errors(b: XtsClient) -> None:
    app_id = b.placed(**FAR)
    assert b.call("DELETE", "/orders", clientID="*****").status_code == 400
    assert b.cancel(2).json()["code"] == "e-orders-0001"
    assert b.cancel(app_id, clientID="OTHER").json()["code"] == "e-trade-00002"
    assert b.cancel(f" {app_id}", clientID=" *****").status_code == 200  # type: ignore[arg-type]
    assert "already Cancelled" in b.cancel(app_id).text


def test_cancelled_keeps_what_was_filled(b: XtsClient) -> None:
    app_id = b.placed(**FAR)
    b.sim.control(f"orders/{app_id}/fill", {"quantity": 4, "price": 1100})
    b.cancel(app_id)
    row = b.row(app_id)
    assert (row["OrderStatus"], row["CumulativeQuantity"], row["LeavesQuantity"]) == (
        "Cancelled",
        4,
        0,
    )
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"cancelled_keeps_leaves": True}})
    assert b.row(app_id)["LeavesQuantity"] == 6


def test_cancel_all(b: XtsClient) -> None:
    orders = [b.placed(**FAR) for _ in range(3)]
    other = b.placed(exchangeInstrumentID=1594, orderType="LIMIT", limitPrice=1300.0)
    body = {"exchangeSegment": "NSECM", "exchangeInstrumentID": RELIANCE, "clientID": "*****"}
    assert b.call("POST", "/orders/cancelall", json=body).json()["code"] == "s-cancelall-0001"
    assert {b.row(app_id)["OrderStatus"] for app_id in orders} == {"Cancelled"}
    assert b.row(other)["OrderStatus"] == "New"
    b.call("POST", "/orders/cancelall", json={**body, "exchangeInstrumentID": 0})
    assert b.row(other)["OrderStatus"] == "Cancelled"
    for wrong in ({"exchangeSegment": "X"}, {"exchangeInstrumentID": "abc"}):
        assert b.call("POST", "/orders/cancelall", json={**body, **wrong}).status_code == 400


def test_latency_shows_the_states_between(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "behaviour": {"latency": "realistic"}})
    app_id = b.placed(**FAR)
    assert b.row(app_id)["OrderStatus"] in ("PendingNew", "New")
    wait_until(lambda: b.row(app_id)["OrderStatus"] == "New")
    b.modify(app_id)
    wait_until(lambda: b.row(app_id)["OrderStatus"] == "Replaced")
    b.cancel(app_id)
    wait_until(lambda: b.row(app_id)["OrderStatus"] == "Cancelled")


def test_a_fill_wins_the_race_against_cancel_and_modify(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "behaviour": {"latency": "realistic"}})
    for race in (b.cancel, b.modify):
        app_id = b.placed(**FAR)
        wait_until(lambda app_id=app_id: b.row(app_id)["OrderStatus"] == "New")
        race(app_id)
        b.sim.control(f"orders/{app_id}/fill", {"price": 1100})
        settled: Callable[[], bool] = lambda app_id=app_id: len(b.history(app_id)) >= 4  # noqa: E731
        wait_until(settled)
        assert b.row(app_id)["OrderStatus"] == "Filled"


def test_manual_fills(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "behaviour": {"fill": "manual"}})
    app_id = b.placed()
    assert b.row(app_id)["OrderStatus"] == "New"
    shown = b.sim.control(f"orders/{app_id}/fill", {"quantity": 4, "price": 1200})
    assert (shown["status"], shown["filled"]) == ("PartiallyFilled", 4)
    shown = b.sim.control(f"orders/{app_id}/reject", {"reason": "16388"})
    assert shown["status"] == "Rejected"
    assert b.row(app_id)["CancelRejectReason"] == "16388"
    other = b.placed(orderUniqueIdentifier="T-2")
    b.sim.control(f"orders/{other}/cancel", {"reason": "Order cancelled: self trade"})
    assert "self trade" in b.row(other)["CancelRejectReason"]


def test_identifier_is_not_unique(b: XtsClient) -> None:
    assert b.placed() != b.placed()
    assert len(b.sim.orders("jainam-b", "T-1")) == 2


def test_order_ids_differ_between_venues_and_grow(connect: Connect) -> None:
    ids = [connect(name).placed() for name in ("jainam-a", "jainam-b", "generic-json")]
    assert len({i // 100_000_000 for i in ids}) == 3
    before = ids[1]
    b = connect("jainam-b")
    b.sim.reset()
    assert b.placed() > before


def test_withdrawn_order_kinds(b: XtsClient) -> None:
    for path in ("/orders/cover", "/orders/bracket", "/orders/gttorder"):
        answer = b.call("POST", path, json={})
        assert (answer.status_code, answer.json()["code"]) == (400, "e-orders-0001")
