"""Positions, holdings, balance, margin, conversion, square-off, the next day (§7.6-7.9, §17.3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.conftest import Connect
from tests.support.xts_client import RELIANCE, STARS, XtsClient

FAR = {"orderType": "LIMIT", "limitPrice": 1100.0}


def option(client: XtsClient, kind: str = "CE") -> tuple[int, dict[str, Any]]:
    """Token and price of an at-the-money NIFTY option."""
    expiries = client.market(
        "GET", "/instruments/instrument/expiryDate", exchangeSegment=2, series="OPTIDX",
        symbol="NIFTY",
    ).json()["result"]  # fmt: skip
    day = sorted(expiries)[0][:10].split("-")
    months = "JanFebMarAprMayJunJulAugSepOctNovDec"
    text = f"{day[2]}{months[int(day[1]) * 3 - 3 : int(day[1]) * 3]}{day[0]}"
    found = client.market(
        "GET", "/instruments/instrument/optionsymbol", exchangeSegment=2, series="OPTIDX",
        symbol="NIFTY", expiryDate=text, optionType=kind,
    ).json()["result"]  # fmt: skip
    middle = sorted(found, key=lambda item: item["StrikePrice"])[len(found) // 2]
    token = middle["ExchangeInstrumentID"]
    return token, client.sim.control("price", None, segment="NSEFO", token=token)


def test_position_row_is_text(b: XtsClient) -> None:
    b.price(1250.0)
    b.placed()
    (row,) = b.positions()
    texts = {
        "Quantity", "OpenBuyQuantity", "OpenSellQuantity", "BuyAveragePrice", "SellAveragePrice",
        "BuyAmount", "SellAmount", "NetAmount", "Marketlot", "Multiplier", "ExchangeInstrumentId",
        "MTM", "RealizedMTM", "UnrealizedMTM", "isInterOpPosition", "ActualBuyAmount",
        "SumOfTradedQuantityAndPriceBuy",
    }  # fmt: skip
    assert all(isinstance(row[name], str) for name in texts)
    assert (row["ProductType"], row["NetAmount"], row["BEP"]) == ("MIS", "-12501.00", "1250.10")


def test_offsetting_trades_leave_a_row_at_zero(b: XtsClient) -> None:
    free = b.available()
    b.price(1250.0)
    b.placed()
    b.price(1260.0)
    b.placed(orderSide="SELL")
    (row,) = b.positions()
    assert (row["Quantity"], row["OpenBuyQuantity"], row["OpenSellQuantity"]) == ("0", "10", "10")
    assert row["RealizedMTM"] == "0.00"
    assert b.available() - free == pytest.approx(10 * (1259.9 - 1250.1))
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"mtm": "computed"}})
    assert b.positions()[0]["RealizedMTM"] == "98.00"


def test_reversing_a_position(b: XtsClient) -> None:
    b.price(1250.0)
    b.placed()
    b.placed(orderSide="SELL", orderQuantity=25)
    (row,) = b.positions()
    assert row["Quantity"] == "-15"
    (account,) = [a for a in b.sim.truth("jainam-b")["accounts"] if a["login"] == "SIMBPRO1A01"]
    (position,) = account["positions"]
    assert (position["net"], position["average"]) == (-15, 1249.9)


def test_day_and_net_wise(b: XtsClient) -> None:
    b.sim.control(
        "positions",
        {"profile": "jainam-b", "client": STARS, "segment": "NSECM", "token": RELIANCE,
         "quantity": 100, "price": 1200, "carried": True},
    )  # fmt: skip
    assert b.positions("DayWise") == []
    (net,) = b.positions("NetWise")
    assert (net["Quantity"], net["BuyAveragePrice"]) == ("100", "1200.00")
    b.price(1250.0)
    b.placed(orderSide="SELL", orderQuantity=40, productType="NRML")
    assert [p["Quantity"] for p in b.positions("DayWise")] == ["-40"]
    assert [p["Quantity"] for p in b.positions("NetWise")] == ["60"]


@pytest.mark.parametrize("value", ["netwise", "NET", None])
def test_day_or_net_is_checked(b: XtsClient, value: str | None) -> None:
    query = {"clientID": STARS} if value is None else {"clientID": STARS, "dayOrNet": value}
    answer = b.call("GET", "/portfolio/dealerpositions", **query)
    assert (answer.status_code, "dayOrNet" in answer.text) == (400, True)


# -- margin ------------------------------------------------------------------------------------


def test_an_open_order_blocks_margin_until_it_is_cancelled(b: XtsClient) -> None:
    free = b.available()
    app_id = b.placed(**FAR)
    assert free - b.available() == pytest.approx(11_000 * 0.2)
    b.modify(app_id, modifiedOrderQuantity=20)
    assert free - b.available() == pytest.approx(22_000 * 0.2)
    b.sim.control(f"orders/{app_id}/fill", {"quantity": 5, "price": 1100})
    assert free - b.available() == pytest.approx(22_000 * 0.2)
    b.cancel(app_id)
    assert free - b.available() == pytest.approx(5_500 * 0.2)


def test_reducing_a_position_needs_no_margin(b: XtsClient) -> None:
    b.price(1250.0)
    b.placed()
    free = b.available()
    b.placed(orderSide="SELL", orderType="LIMIT", limitPrice=1400)
    assert b.available() == free


def test_option_premium_and_short_option_margin(b: XtsClient) -> None:
    token, quote = option(b)
    common = {"exchangeSegment": "NSEFO", "exchangeInstrumentID": token, "productType": "NRML"}
    b.price(quote["ltp"], token, "NSEFO")
    free = b.available()
    b.placed(orderQuantity=65, **common)
    paid = 65 * (quote["ltp"] + 0.05)
    assert free - b.available() == pytest.approx(paid, abs=0.02)
    limits = b.call("GET", "/user/balance", clientID=STARS).json()["result"]["BalanceList"][1]
    assert float(limits["limitObject"]["marginAvailable"]["BuyOptionsPremium"]) == pytest.approx(
        paid, abs=0.02
    )
    b.placed(orderQuantity=130, orderSide="SELL", **common)
    (row,) = b.positions()
    assert row["Quantity"] == "-65"
    assert free - b.available() > 65 * 20_000 * 0.1


def test_margin_details(b: XtsClient) -> None:
    row = {
        "exchange": 1,
        "exchangeInstrumentId": RELIANCE,
        "productType": "MIS",
        "orderType": "LIMIT",
        "orderSide": "BUY",
        "quantity": 10,
        "price": 1250,
        "stopPrice": 0,
        "orderSessionType": 1,
    }

    def ask(portfolio: Any) -> Any:
        body = {"clientID": STARS, "portfolio": portfolio}
        return b.call("POST", "/orders/margindetails", json=body)

    details = ask([row, row]).json()["result"]["brokerageDeatils"]
    assert details["MarginRequired"] == 5_000
    assert details["MarginShortfall"] == 0
    for wrong in (
        [],
        ["x"],
        [{**row, "exchange": 99}],
        [{**row, "orderSide": "b"}],
        [{**row, "quantity": "many"}],
    ):
        assert ask(wrong).status_code == 400


def test_brokerage(b: XtsClient) -> None:
    row = {"exchangeSegment": 1, "exchangeInstrumentID": RELIANCE, "productType": "MIS",
           "orderSide": "BUY", "orderQty": 10, "orderPrice": 1250}  # fmt: skip
    body: dict[str, object] = {"clientID": STARS, "brokerageOrderInformation": [row]}
    result = b.call("POST", "/user/calculatebrokerage", json=body).json()["result"]
    assert result["Total"] > result["Brokerage"] > 0
    wrongs: tuple[list[object], ...] = ([], [{}])
    for wrong in wrongs:
        body["brokerageOrderInformation"] = wrong
        assert b.call("POST", "/user/calculatebrokerage", json=body).status_code == 400


def test_balance_list(b: XtsClient) -> None:
    entries = b.call("GET", "/user/balance", clientID=STARS).json()["result"]["BalanceList"]
    assert [e["limitHeader"] for e in entries].index("ALL|ALL|ALL") > 0
    available = entries[1]["limitObject"]["marginAvailable"]
    assert {"NotinalCash", "CNCSellBenifit"} <= set(available)
    assert available["AdhocFOMargin"] == "NaN"
    b.sim.control("balance", {"profile": "jainam-b", "client": STARS, "entries": []})
    answer = b.call("GET", "/user/balance", clientID=STARS)
    assert (answer.status_code, answer.json()["code"]) == (400, "e-user-0001")


# -- holdings ----------------------------------------------------------------------------------


def test_holdings_have_two_shapes(b: XtsClient) -> None:
    ask = {"clientID": STARS}
    live = b.call("GET", "/portfolio/holdings", **ask).json()["result"]
    held = live["RMSHoldings"]["Holdings"]["INE002A01018"]
    assert (held["HoldingQuantity"], held["ExchangeNSEInstrumentId"]) == (120, 2885)
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"holdings_shape": "list"}})
    other = b.call("GET", "/portfolio/holdings", **ask).json()["result"]
    assert other["RMSHoldingList"][0]["Holdings"]["INE002A01018"]["HoldingQuantity"] == 120
    assert other["CollateralHoldingList"] == []


def test_selling_holdings_uses_them_up(b: XtsClient) -> None:
    b.price(1250.0)
    b.placed(orderSide="SELL", productType="CNC", orderQuantity=100)
    held = b.call("GET", "/portfolio/holdings", clientID=STARS).json()["result"]
    assert held["RMSHoldings"]["Holdings"]["INE002A01018"]["UsedQuantity"] == 100
    row = b.row(b.placed(orderSide="SELL", productType="CNC", orderQuantity=30))
    assert row["OrderStatus"] == "Rejected"
    assert [p["Quantity"] for p in b.positions()] == ["-100"]


# -- conversion and square-off -----------------------------------------------------------------


def convert_body(**changes: Any) -> dict[str, Any]:
    body = {
        "exchangeSegment": "NSECM",
        "exchangeInstrumentID": RELIANCE,
        "oldProductType": "MIS",
        "newProductType": "CNC",
        "isDayWise": True,
        "targetQty": "4",
        "statisticsLevel": "ParentLevel",
        "isInterOpPosition": True,
        "clientID": STARS,
    }
    return {**body, **changes}


def test_convert(b: XtsClient) -> None:
    b.price(1250.0)
    b.placed()
    answer = b.call("PUT", "/portfolio/positions/convert", json=convert_body()).json()
    assert (answer["code"], answer["result"]) == ("s-portfolio-0005", {"CovertedQty": 4})
    rows = {p["ProductType"]: p for p in b.positions()}
    assert (rows["MIS"]["Quantity"], rows["CNC"]["Quantity"]) == ("6", "4")
    assert rows["CNC"]["BuyAveragePrice"] == rows["MIS"]["BuyAveragePrice"] == "1250.10"
    for wrong in ({"targetQty": 100}, {"newProductType": "MIS"}, {"oldProductType": "NRML"}):
        body = convert_body(**wrong)
        assert b.call("PUT", "/portfolio/positions/convert", json=body).status_code == 400


def test_convert_a_carried_short(b: XtsClient) -> None:
    b.sim.control(
        "positions",
        {"profile": "jainam-b", "client": STARS, "segment": "NSECM", "token": RELIANCE,
         "quantity": -10, "price": 1200, "carried": True, "product": "MIS"},
    )  # fmt: skip
    b.price(1250.0)
    b.placed(orderSide="SELL", orderQuantity=2)
    body = convert_body(newProductType="NRML", targetQty=12)
    assert b.call("PUT", "/portfolio/positions/convert", json=body).status_code == 200
    rows = {p["ProductType"]: p["Quantity"] for p in b.positions()}
    assert rows == {"NRML": "-12"}


def square_body(**changes: Any) -> dict[str, Any]:
    body = {
        "exchangeSegment": "NSECM",
        "exchangeInstrumentID": RELIANCE,
        "productType": "MIS",
        "squareoffMode": "NetWise",
        "positionSquareOffQuantityType": "Percentage",
        "squareOffQtyValue": 100,
        "blockOrderSending": False,
        "cancelOrders": True,
        "clientID": STARS,
    }
    return {**body, **changes}


def test_square_off(b: XtsClient) -> None:
    b.price(1250.0)
    b.placed()
    resting = b.placed(**FAR)
    assert b.call("PUT", "/portfolio/squareoff", json=square_body()).status_code == 200
    assert b.positions()[0]["Quantity"] == "0"
    assert b.row(resting)["OrderStatus"] == "Cancelled"
    again = b.call("PUT", "/portfolio/squareoff", json=square_body())
    assert again.json()["code"] == "e-portfolio-0005"


def test_square_off_a_part(b: XtsClient) -> None:
    b.placed()
    ask = {"positionSquareOffQuantityType": "ExactQty", "squareOffQtyValue": 3}
    b.call("PUT", "/portfolio/squareoff", json=square_body(**ask))
    assert b.positions()[0]["Quantity"] == "7"
    for wrong in ({"squareOffQtyValue": 101}, {**ask, "squareOffQtyValue": 0}):
        answer = b.call("PUT", "/portfolio/squareoff", json=square_body(**wrong))
        assert answer.status_code == 400


def test_square_off_all(b: XtsClient) -> None:
    b.placed()
    b.placed(exchangeInstrumentID=1594, orderSide="SELL")
    body = {"squareoffMode": "DayWise", "clientID": STARS}
    assert b.call("PUT", "/portfolio/squareoffall", json=body).status_code == 200
    assert {p["Quantity"] for p in b.positions()} == {"0"}
    assert b.call("PUT", "/portfolio/squareoffall", json=body).status_code == 400


def test_dropped_dealer_id_cannot_convert(connect: Connect) -> None:
    c = connect("jainam-c")
    body = convert_body(clientID=c.credential["user_id"])
    answer = c.call("PUT", "/portfolio/positions/convert", json=body)
    assert answer.json()["code"] == "e-trade-00002"


# -- quantity in lots --------------------------------------------------------------------------


def test_currency_counts_in_lots_at_the_generic_broker(connect: Connect) -> None:
    investor, b = connect("generic-json"), connect("jainam-b")
    found = investor.market("GET", "/search/instruments", searchString="USDINR FUTCUR").json()
    token = next(i for i in found["result"] if i["InstrumentType"] == 1)["ExchangeInstrumentID"]
    common = {"exchangeSegment": "NSECD", "exchangeInstrumentID": token, "productType": "NRML"}
    row = investor.row(investor.placed(orderQuantity=3, **common))
    assert row["OrderStatus"] == "Filled"
    (position,) = investor.positions()
    assert (position["Quantity"], position["Marketlot"]) == ("3", "1000")
    body = {"squareoffMode": "NetWise", "clientID": investor.client}
    assert investor.call("PUT", "/portfolio/squareoffall", json=body).status_code == 200
    assert investor.positions()[0]["Quantity"] == "0"
    assert b.place(orderQuantity=3, **common).status_code == 400
    b.placed(orderQuantity=3_000, **common)
    assert b.positions()[0]["Quantity"] == "3000"


# -- the next day --------------------------------------------------------------------------------


def test_next_day(b: XtsClient) -> None:
    b.sim.control("clock", {"set": "2026-11-19T11:00:00"})
    b.price(1250.0)
    b.placed(productType="CNC")
    b.placed(productType="CNC", exchangeInstrumentID=3045)
    b.placed(productType="NRML", orderQuantity=5)
    b.placed(productType="MIS")
    b.placed(productType="CNC", exchangeInstrumentID=1594, orderSide="SELL", orderQuantity=60)
    open_order = b.placed(**FAR)
    b.sim.control("clock", {"set": "2026-11-20T09:30:00"})
    assert b.book() == []
    assert b.call("GET", "/orders", appOrderID=open_order, clientID=STARS).status_code == 400
    assert b.positions("DayWise") == []
    assert [(p["ProductType"], p["Quantity"]) for p in b.positions("NetWise")] == [("NRML", "5")]
    held = b.call("GET", "/portfolio/holdings", clientID=STARS).json()["result"]
    quantities = {
        isin: row["HoldingQuantity"] for isin, row in held["RMSHoldings"]["Holdings"].items()
    }
    assert quantities == {"INE002A01018": 130, "INE467B01029": 15, "INE062A01020": 10}
