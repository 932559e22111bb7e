"""Client-id rules, empty books, foreign rows and quirks of rows (XTS reference §4.3, §6, §7.2)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.simulator.conftest import Connect
from tests.support.xts_client import RELIANCE, STARS, XtsClient

FAR = {"orderType": "LIMIT", "limitPrice": 1100.0}
ORDER_COLUMNS = {
    "LoginID", "ClientID", "AppOrderID", "OrderReferenceID", "GeneratedBy", "ExchangeOrderID",
    "OrderCategoryType", "ExchangeSegment", "ExchangeInstrumentID", "OrderSide", "OrderType",
    "ProductType", "TimeInForce", "OrderPrice", "OrderQuantity", "OrderStopPrice", "OrderStatus",
    "OrderAverageTradedPrice", "LeavesQuantity", "CumulativeQuantity", "OrderDisclosedQuantity",
    "OrderGeneratedDateTime", "ExchangeTransactTime", "LastUpdateDateTime", "OrderExpiryDate",
    "CancelRejectReason", "OrderUniqueIdentifier", "OrderLegStatus", "BoLegDetails", "IsSpread",
    "BoEntryOrderId", "MessageCode", "MessageVersion", "TokenID", "ApplicationType",
    "SequenceNumber",
}  # fmt: skip


def quirk(client: XtsClient, **quirks: Any) -> None:
    client.sim.control("config", {"profile": client.profile, "quirks": quirks})


# -- empty is an error -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/orders", {}, "e-orders-0005"),
        ("/orders/dealerorderbook", {}, "e-orders-0005"),
        ("/orders/trades", {}, "e-tradeBook-0005"),
        ("/portfolio/positions", {"dayOrNet": "NetWise"}, "e-portfolio-0005"),
    ],
)
def test_empty_is_an_error(b: XtsClient, path: str, query: dict[str, str], code: str) -> None:
    answer = b.call("GET", path, clientID=STARS, **query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["description"] == "Data Not Available"


def test_empty_dealer_trade_book_and_positions_are_successes(b: XtsClient) -> None:
    trades = b.call("GET", "/orders/dealertradebook", clientID=STARS)
    assert (trades.status_code, trades.json()["code"], trades.json()["result"]) == (
        200,
        "s-dealertrade-0001",
        [],
    )
    positions = b.call("GET", "/portfolio/dealerpositions", clientID=STARS, dayOrNet="DayWise")
    assert positions.json()["result"] == {"positionList": []}


def test_empty_dealer_books_can_be_switched(b: XtsClient) -> None:
    quirk(b, empty_dealer_orders="success", empty_dealer_positions="error")
    orders = b.call("GET", "/orders/dealerorderbook", clientID=STARS)
    assert (orders.status_code, orders.json()["result"]) == (200, [])
    positions = b.call("GET", "/portfolio/dealerpositions", clientID=STARS, dayOrNet="DayWise")
    assert positions.json()["code"] == "e-portfolio-0005"


def test_empty_holdings(investor: XtsClient) -> None:
    investor.sim.control("holdings", {"profile": "generic-json", "holdings": []})
    answer = investor.call("GET", "/portfolio/holdings")
    assert (answer.status_code, answer.json()["code"]) == (400, "e-holdings-0005")


# -- who may ask for what --------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["jainam-a", "jainam-b"])
def test_pro_dealers_trade_as_five_asterisks(connect: Connect, profile: str) -> None:
    client = connect(profile)
    app_id = client.placed()
    row = client.row(app_id)
    assert row["ClientID"] == "Pro"
    assert row["LoginID"] == client.credential["user_id"]
    for wrong in (client.credential["user_id"], client.credential["client_codes"][0], "PRO"):
        answer = client.place(clientID=wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, "e-trade-00002")
    assert len(client.book()) == 1


def test_cluster_c_trades_as_the_sub_client_and_drops_the_dealer(connect: Connect) -> None:
    c = connect("jainam-c")
    code = c.credential["client_codes"][0]
    assert code != c.credential["user_id"]
    assert c.row(c.placed())["ClientID"] == code
    lost = c.place(clientID=c.credential["user_id"], orderUniqueIdentifier="LOST")
    assert lost.status_code == 200
    assert lost.json()["result"]["AppOrderID"] > 0
    assert [row["OrderUniqueIdentifier"] for row in c.book()] == ["T-1"]
    assert c.truth("LOST")["dropped"] is True
    assert c.place(clientID=STARS).json()["code"] == "e-trade-00002"


def test_dealer_books_want_the_cluster_s_client_id(connect: Connect) -> None:
    b, c = connect("jainam-b"), connect("jainam-c")
    for path in ("/orders/dealerorderbook", "/orders/dealertradebook"):
        missing = b.call("GET", path)
        assert missing.json()["code"] == "e-property-validation-failed"
        assert b.call("GET", path, clientID="SIMBPRO1A01").json()["code"] == "e-trade-00002"
        assert c.call("GET", path, clientID="SIMCPRO1A01").json()["code"] == "e-trade-00002"
    c.placed()
    assert c.call("GET", "/orders/dealerorderbook").status_code == 200
    assert c.call("GET", "/orders/dealerorderbook", clientID=c.client).status_code == 200


def test_investors_need_no_client_id(investor: XtsClient) -> None:
    body = investor.order_body()
    del body["clientID"]
    answer = investor.call("POST", "/orders", json=body)
    assert answer.status_code == 200
    assert "ClientID" not in answer.json()["result"]
    assert investor.place(clientID="SOMEONE").json()["code"] == "e-trade-00002"
    assert investor.call("GET", "/orders/dealerorderbook").json()["code"] == "e-trade-00002"
    assert len(investor.call("GET", "/orders").json()["result"]) == 1


def test_normal_dealers_trade_for_mapped_clients(connect: Connect) -> None:
    dealer = connect("jainam-b", "normal1")
    first, second = dealer.credential["client_codes"]
    dealer.placed(clientID=first)
    dealer.placed(clientID=second)
    assert dealer.place(clientID=STARS).json()["code"] == "e-trade-00002"
    rows = dealer.call("GET", "/orders/dealerorderbook", clientID=first).json()["result"]
    assert [row["ClientID"] for row in rows] == [first, second]  # books mix clients
    own = dealer.call("GET", "/orders", clientID=second).json()["result"]
    assert [row["ClientID"] for row in own] == [second]


def test_two_pro_accounts_of_one_cluster_are_apart(connect: Connect) -> None:
    one, two = connect("jainam-b", "pro1"), connect("jainam-b", "pro2")
    app_id = one.placed()
    assert two.book() == []
    assert two.cancel(app_id).json()["code"] == "e-trade-00002"
    assert two.positions() == []
    assert one.positions()[0]["AccountID"] == STARS


def test_plain_books_without_client_id_show_dealers_nothing(b: XtsClient) -> None:
    b.placed()
    assert b.call("GET", "/orders/trades").json()["code"] == "e-tradeBook-0005"
    assert len(b.call("GET", "/orders/trades", clientID=STARS).json()["result"]) == 1
    assert b.call("GET", "/orders", clientID="OTHER").json()["code"] == "e-trade-00002"


def test_holdings_without_client_id_is_an_html_500_on_b(connect: Connect) -> None:
    answer = connect("jainam-b").call("GET", "/portfolio/holdings")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "text/html"
    a = connect("jainam-a").call("GET", "/portfolio/holdings")
    assert (a.status_code, a.json()["code"]) == (400, "e-property-validation-failed")


def test_balance_by_login_id_on_a_only(connect: Connect) -> None:
    for profile, status in (("jainam-a", 200), ("jainam-b", 400)):
        client = connect(profile)
        answer = client.call("GET", "/user/balance", clientID=client.credential["user_id"])
        assert answer.status_code == status
        assert client.call("GET", "/user/profile", clientID=client.client).status_code == 200


# -- rows ------------------------------------------------------------------------------------


def test_order_row_columns(b: XtsClient) -> None:
    row = b.row(b.placed(apiOrderSource="tests"))
    assert set(row) >= ORDER_COLUMNS
    assert row["TradingSymbol"] == "RELIANCE"
    assert row["ApiOrderSource"] == "tests"
    assert re.fullmatch(r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d", row["OrderGeneratedDateTime"])
    assert row["OrderExpiryDate"] == "01-01-1980 00:00:00"
    quirk(b, new_columns=False)
    assert "TradingSymbol" not in b.book()[0]


def test_trade_row_columns(b: XtsClient) -> None:
    b.placed()
    (row,) = b.call("GET", "/orders/dealertradebook", clientID=STARS).json()["result"]
    extra = {
        "LastTradedPrice", "LastTradedQuantity", "LastExecutionTransactTime", "ExecutionID",
        "ExecutionReportIndex",
    }  # fmt: skip
    assert set(row) >= ORDER_COLUMNS | extra
    assert row["MessageCode"] == 9005


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("iso", r"2026-\d\d-\d\dT\d\d:\d\d:\d\d"),
        ("iso7", r"2026-\d\d-\d\dT\d\d:\d\d:\d\d\.0000000"),
        ("iso-zone", r"2026-\d\d-\d\dT\d\d:\d\d:\d\d\+05:30"),
        ("mdy", r"[A-Z][a-z][a-z] \d\d 2026 \d\d:\d\d:\d\d"),
    ],
)
def test_date_formats(b: XtsClient, form: str, pattern: str) -> None:
    app_id = b.placed()
    b.book()
    quirk(b, date_format=form)
    b.sim.control("clock", {"set": "2026-08-03T10:15:00"})
    other = b.placed(orderUniqueIdentifier="T-2")
    assert b.book()[-1]["AppOrderID"] == other != app_id
    assert re.fullmatch(pattern, b.row(other)["LastUpdateDateTime"])


def test_loose_numbers_and_text_ids(b: XtsClient) -> None:
    quirk(b, loose_numbers=True, order_ids_as_text=True, order_type_upper=True)
    b.price(1250.0)
    answer = b.place(orderQuantity=10)
    filled = answer.json()["result"]["AppOrderID"]
    assert isinstance(filled, str)
    resting = b.placed(**FAR)
    assert b.row(int(filled))["OrderAverageTradedPrice"] == "1,250.10"
    assert b.row(resting)["OrderAverageTradedPrice"] == ""
    assert b.row(resting)["OrderType"] == "LIMIT"
    (position,) = b.positions()
    assert position["BuyAmount"] == "12,501.00"
    assert (position["SellAveragePrice"], position["MTM"]) == ("", "NaN")
    balance = b.call("GET", "/user/balance", clientID=STARS).json()["result"]["BalanceList"][1]
    assert balance["limitObject"]["RMSSubLimits"]["cashAvailable"] == "100,000,000.00"


def test_small_quirks_of_answers(b: XtsClient) -> None:
    quirk(b, place_omits_identifier=True, cancel_as_list=True, positions_bare=True)
    placed = b.place(**FAR).json()["result"]
    assert "OrderUniqueIdentifier" not in placed
    cancelled = b.cancel(placed["AppOrderID"]).json()["result"]
    assert isinstance(cancelled, list)
    b.placed()
    answer = b.call("GET", "/portfolio/dealerpositions", clientID=STARS, dayOrNet="NetWise")
    assert isinstance(answer.json()["result"], list)


def test_shuffled_books_have_the_same_rows(b: XtsClient) -> None:
    ids = [b.placed(**FAR) for _ in range(12)]
    assert [row["AppOrderID"] for row in b.book()] == ids
    quirk(b, shuffle_books=True)
    seen = [[row["AppOrderID"] for row in b.book()] for _ in range(4)]
    assert all(sorted(order) == ids for order in seen)
    assert any(order != ids for order in seen)
    b.modify(ids[0])
    assert len(b.history(ids[0])) == 4


def test_history_of_unknown_and_foreign_orders(connect: Connect) -> None:
    one, two = connect("jainam-b", "pro1"), connect("jainam-b", "pro2")
    app_id = one.placed()
    for query in ({"appOrderID": app_id}, {"appOrderID": 5}, {"appOrderID": "x"}):
        answer = two.call("GET", "/orders", clientID=STARS, **query)
        assert (answer.status_code, answer.json()["code"]) == (400, "e-orders-0001")


# -- rows of others --------------------------------------------------------------------------


def test_foreign_rows_show_up_in_dealer_books_only(b: XtsClient) -> None:
    place = {"profile": "jainam-b", "segment": "NSECM", "token": RELIANCE}
    made = b.sim.control(
        "order", {**place, "client": "OTHER9", "status": "PartiallyFilled", "filled": 3,
                  "quantity": 9, "tag": "X"}
    )  # fmt: skip
    row = b.row(made["app_order_id"])
    assert (row["ClientID"], row["LoginID"], row["OrderStatus"]) == (
        "OTHER9",
        "TERMINAL1",
        "PartiallyFilled",
    )
    assert b.call("GET", "/orders", clientID=STARS).status_code == 400
    assert b.cancel(made["app_order_id"]).json()["code"] == "e-trade-00002"
    b.sim.control("positions", {**place, "client": "OTHER9", "quantity": -50, "price": 1200})
    (position,) = b.positions()
    assert (position["AccountID"], position["Quantity"]) == ("OTHER9", "-50")


def test_orders_of_the_own_terminal(b: XtsClient) -> None:
    place = {"profile": "jainam-b", "segment": "NSECM", "token": RELIANCE, "client": STARS}
    made = b.sim.control(
        "order", {**place, "live": True, "order_type": "LIMIT", "price": 1100, "quantity": 2,
                  "product": "MIS"}
    )  # fmt: skip
    row = b.row(made["app_order_id"])
    assert (row["ClientID"], row["LoginID"], row["GeneratedBy"]) == ("Pro", "TERMINAL1", "TWS")
    assert b.cancel(made["app_order_id"]).status_code == 200


def test_a_status_never_seen(b: XtsClient) -> None:
    app_id = b.placed(**FAR)
    b.sim.control(f"orders/{app_id}/status", {"status": "TriggerPending"})
    assert b.row(app_id)["OrderStatus"] == "TriggerPending"
    assert b.cancel(app_id).status_code == 200
