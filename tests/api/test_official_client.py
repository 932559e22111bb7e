"""The official client, unchanged, through every method that the gateway serves.

Runs on SQLite and on PostgreSQL. What the client is told is held against the simulator's own truth.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from tests.support.waiting import wait_until

from .conftest import Api

STRATEGY = "client test"


@pytest.fixture(autouse=True)
def begin(both: Api) -> None:
    both.begin()


def placed(answer: dict[str, Any]) -> str:
    """The order id of a good answer."""
    assert answer.get("status") == "success", answer
    assert answer["sandbox"] is True
    assert isinstance(answer["orderid"], str)
    return answer["orderid"]


def far_below(both: Api, symbol: str = "RELIANCE") -> float:
    """A limit price that does not fill, on the tick, inside the price band."""
    quote = both.client.quotes(symbol=symbol, exchange="NSE")["data"]
    return round(quote["ltp"] * 0.93, 1)  # the tick of RELIANCE is 0.10


def test_empty_books_are_empty(both: Api) -> None:
    book = both.client.orderbook()
    assert book["status"] == "success", book
    assert book["data"]["orders"] == []
    assert both.client.tradebook()["data"] == []
    assert both.client.positionbook()["data"] == []


def test_a_market_order_is_filled(both: Api) -> None:
    order_id = placed(
        both.client.placeorder(
            strategy=STRATEGY, symbol="RELIANCE", action="BUY", exchange="NSE",
            price_type="MARKET", product="MIS", quantity=3,
        )
    )  # fmt: skip
    (truth,) = both.truth()
    assert str(truth["app_order_id"]) == order_id
    assert re.fullmatch(r"[0-9A-Z]{20}", truth["tag"])

    status = both.client.orderstatus(order_id=order_id, strategy=STRATEGY)
    assert status["status"] == "success"
    row = status["data"]
    assert (row["orderid"], row["order_status"], row["quantity"]) == (order_id, "complete", 3)
    assert row["average_price"] > 0
    assert (row["symbol"], row["exchange"], row["action"]) == ("RELIANCE", "NSE", "BUY")
    assert (row["pricetype"], row["product"]) == ("MARKET", "MIS")


def test_a_limit_order_rests_is_modified_and_cancelled(both: Api) -> None:
    price = far_below(both)
    order_id = placed(
        both.client.placeorder(
            strategy=STRATEGY, symbol="RELIANCE", action="BUY", exchange="NSE",
            price_type="LIMIT", product="MIS", quantity="5", price=price,
        )
    )  # fmt: skip
    assert both.client.orderstatus(order_id=order_id)["data"]["order_status"] == "open"

    changed = both.client.modifyorder(
        order_id=order_id, strategy=STRATEGY, symbol="RELIANCE", action="BUY", exchange="NSE",
        price_type="LIMIT", product="MIS", quantity=4, price=round(price - 0.1, 2),
    )  # fmt: skip
    assert placed(changed) == order_id
    row = both.client.orderstatus(order_id=order_id)["data"]
    assert (row["quantity"], row["price"]) == (4, pytest.approx(price - 0.1))

    assert placed(both.client.cancelorder(order_id=order_id, strategy=STRATEGY)) == order_id
    assert both.client.orderstatus(order_id=order_id)["data"]["order_status"] == "cancelled"


def test_a_stop_order_waits_for_its_trigger(both: Api) -> None:
    trigger = far_below(both)
    order_id = placed(
        both.client.placeorder(
            strategy=STRATEGY, symbol="RELIANCE", action="SELL", exchange="NSE",
            price_type="SL", product="MIS", quantity=1, price=round(trigger - 1, 2),
            trigger_price=trigger,
        )
    )  # fmt: skip
    row = both.client.orderstatus(order_id=order_id)["data"]
    assert row["order_status"] == "trigger pending"
    assert row["pricetype"] == "SL"


def test_a_smart_order_reverses_a_position(both: Api) -> None:
    smart: dict[str, Any] = {
        "strategy": STRATEGY, "symbol": "INFY", "action": "BUY", "exchange": "NSE",
        "price_type": "MARKET", "product": "MIS", "quantity": 1,
    }  # fmt: skip
    placed(both.client.placesmartorder(**smart, position_size=5))
    assert position(both, "INFY") == 5
    placed(both.client.placesmartorder(**smart, position_size=-5))
    assert position(both, "INFY") == -5
    assert sorted(one["quantity"] for one in both.truth()) == [5, 10]

    matched = both.client.placesmartorder(**smart, position_size=-5)
    assert matched["status"] == "success"
    assert matched["message"] == "Positions Already Matched. No Action needed."
    assert "orderid" not in matched


def position(both: Api, symbol: str) -> int:
    answer = both.client.openposition(
        strategy=STRATEGY, symbol=symbol, exchange="NSE", product="MIS"
    )
    assert answer["status"] == "success", answer
    return int(answer["quantity"])


def test_a_basket_places_buys_first_and_answers_in_request_order(both: Api) -> None:
    answer = both.client.basketorder(
        strategy=STRATEGY,
        orders=[
            {"symbol": "INFY", "exchange": "NSE", "action": "SELL", "quantity": 1,
             "pricetype": "MARKET", "product": "MIS"},
            {"symbol": "TCS", "exchange": "NSE", "action": "BUY", "quantity": 2,
             "pricetype": "MARKET", "product": "MIS"},
            {"symbol": "SBIN", "exchange": "NSE", "action": "BUY", "quantity": 3,
             "pricetype": "MARKET", "product": "MIS"},
        ],
    )  # fmt: skip
    assert answer["status"] == "success", answer
    rows = answer["results"]
    assert [row["symbol"] for row in rows] == ["INFY", "TCS", "SBIN"]
    assert all(row["status"] == "success" and row["orderid"] for row in rows)
    assert [one["side"] for one in both.truth()][-1] == "SELL"


def test_a_basket_with_a_bad_order_is_partial(both: Api) -> None:
    good = {"exchange": "NSE", "action": "BUY", "quantity": 1}
    answer = both.client.basketorder(
        strategy=STRATEGY, orders=[good | {"symbol": "TCS"}, good | {"symbol": "NOSUCH"}]
    )
    assert answer["status"] == "partial"
    assert [row["status"] for row in answer["results"]] == ["success", "error"]
    assert "NOSUCH" in answer["results"][1]["message"]


def test_a_split(both: Api) -> None:
    answer = both.client.splitorder(
        strategy=STRATEGY, symbol="YESBANK", action="BUY", exchange="NSE", quantity=105,
        splitsize=50, price_type="MARKET", product="MIS",
    )  # fmt: skip
    assert answer["status"] == "success", answer
    assert (answer["total_quantity"], answer["split_size"]) == (105, 50)
    assert [row["quantity"] for row in answer["results"]] == [50, 50, 5]
    assert [row["order_num"] for row in answer["results"]] == [1, 2, 3]
    assert [one["quantity"] for one in both.truth()] == [50, 50, 5]


def test_cancel_all_cancels_every_open_order(both: Api) -> None:
    price = far_below(both)
    ids = {
        placed(
            both.client.placeorder(
                strategy=STRATEGY, symbol="RELIANCE", action="BUY", exchange="NSE",
                price_type="LIMIT", product="MIS", quantity=1, price=price,
            )
        )
        for _ in range(3)
    }  # fmt: skip
    answer = both.client.cancelallorder(strategy=STRATEGY)
    assert answer["status"] == "success", answer
    done = answer["canceled_orders"]
    assert set(done) >= ids
    assert answer["failed_cancellations"] == []
    assert answer["message"] == f"Canceled {len(done)} orders. Failed to cancel 0 orders."
    assert not any(
        row["order_status"] in ("open", "trigger pending")
        for row in both.client.orderbook()["data"]["orders"]
    )

    again = both.client.cancelallorder(strategy=STRATEGY)
    assert again["message"] == "Canceled 0 orders. Failed to cancel 0 orders."


def test_close_position_closes_everything(both: Api) -> None:
    for symbol, action in (("INFY", "BUY"), ("TCS", "SELL")):
        placed(
            both.client.placeorder(
                strategy=STRATEGY, symbol=symbol, action=action, exchange="NSE",
                price_type="MARKET", product="MIS", quantity=2,
            )
        )  # fmt: skip
    answer = both.client.closeposition(strategy=STRATEGY)
    assert answer["status"] == "success", answer
    assert answer["message"] == "All Open Positions Squared Off"
    assert {row["symbol"] for row in answer["results"]} >= {"INFY", "TCS"}
    wait_until(lambda: all(row["quantity"] == 0 for row in both.client.positionbook()["data"]))


def test_the_books_agree_with_the_simulator(both: Api) -> None:
    order_id = placed(
        both.client.placeorder(
            strategy=STRATEGY, symbol="INFY", action="BUY", exchange="NSE",
            price_type="MARKET", product="CNC", quantity=7,
        )
    )  # fmt: skip
    book = both.client.orderbook()["data"]
    everything = both.simulator.orders(both.profile)
    assert [row["orderid"] for row in book["orders"]] == [
        str(one["app_order_id"]) for one in everything
    ]
    (row,) = (row for row in book["orders"] if row["orderid"] == order_id)
    assert row["strategy"] == STRATEGY
    assert row["ours"] is True
    counts = Counter(row["order_status"] for row in book["orders"])
    assert book["statistics"] == {
        "total_buy_orders": sum(row["action"] == "BUY" for row in book["orders"]),
        "total_sell_orders": sum(row["action"] == "SELL" for row in book["orders"]),
        "total_completed_orders": counts["complete"],
        "total_open_orders": counts["open"],
        "total_rejected_orders": counts["rejected"],
        "total_trigger_pending_orders": counts["trigger pending"],
    }

    (trade,) = (one for one in both.client.tradebook()["data"] if one["orderid"] == order_id)
    assert trade["quantity"] == 7
    assert trade["trade_value"] == pytest.approx(trade["average_price"] * 7)

    (held,) = (
        one for one in both.client.positionbook()["data"]
        if (one["symbol"], one["product"]) == ("INFY", "CNC")
    )  # fmt: skip
    assert held["quantity"] == 7
    assert float(held["average_price"]) == pytest.approx(trade["average_price"])
    assert held["pnl_source"] in ("broker", "computed")


def test_funds_are_text_with_two_decimals(both: Api) -> None:
    data = both.client.funds()["data"]
    assert set(data) == {
        "availablecash", "collateral", "m2mrealized", "m2munrealized", "utiliseddebits",
    }  # fmt: skip
    assert all(re.fullmatch(r"-?[0-9]+\.[0-9]{2}", value) for value in data.values())


def test_holdings(both: Api) -> None:
    data = both.client.holdings()
    assert data["status"] == "success", data
    assert set(data["data"]["statistics"]) == {
        "totalholdingvalue", "totalinvvalue", "totalprofitandloss", "totalpnlpercentage",
    }  # fmt: skip


def test_market_data(both: Api) -> None:
    quote = both.client.quotes(symbol="RELIANCE", exchange="NSE")["data"]
    assert set(quote) == {
        "ask", "bid", "high", "low", "ltp", "open", "prev_close", "volume", "oi",
    }  # fmt: skip
    assert quote["ltp"] > 0

    several = both.client.multiquotes(
        symbols=[{"symbol": "INFY", "exchange": "NSE"}, {"symbol": "NOSUCH", "exchange": "NSE"}]
    )
    by_symbol = {row["symbol"]: row for row in several["results"]}
    assert by_symbol["INFY"]["data"]["ltp"] > 0
    assert "NOSUCH" in by_symbol["NOSUCH"]["error"]

    depth = both.client.depth(symbol="RELIANCE", exchange="NSE")["data"]
    assert len(depth["asks"]) == len(depth["bids"]) == 5
    assert depth["asks"][0]["price"] >= depth["bids"][0]["price"]

    intervals = both.client.intervals()["data"]
    assert set(intervals) == {"seconds", "minutes", "hours", "days", "weeks", "months"}


def test_symbols(both: Api) -> None:
    row = both.client.symbol(symbol="RELIANCE", exchange="NSE")["data"]
    assert (row["symbol"], row["brexchange"], row["lotsize"]) == ("RELIANCE", "NSECM", 1)
    assert isinstance(row["token"], str)
    assert isinstance(row["id"], int)

    missing = both.client.symbol(symbol="NOSUCH", exchange="NSE")
    assert (missing["code"], missing["status"]) == (404, "error")
    assert "Symbol NOSUCH not found in exchange NSE" in missing["message"]

    found = both.client.search(query="NIFTY", exchange="NFO")
    assert found["message"] == f"Found {len(found['data'])} matching symbols"
    assert all("NIFTY" in row["symbol"] for row in found["data"])
    nothing = both.client.search(query="ZZZZZZ")
    assert (nothing["data"], nothing["message"]) == ([], "No matching symbols found")

    dates = both.client.expiry(symbol="NIFTY", exchange="NFO", instrumenttype="options")
    assert dates["data"]
    assert all(re.fullmatch(r"[0-9]{2}-[A-Z]{3}-[0-9]{2}", date) for date in dates["data"])


def test_instruments_come_as_a_data_frame(both: Api) -> None:
    frame = both.client.instruments(exchange="NSE")
    assert list(frame.columns) == [
        "brexchange", "brsymbol", "exchange", "expiry", "instrumenttype", "lotsize", "name",
        "strike", "symbol", "tick_size", "token",
    ]  # fmt: skip
    assert "RELIANCE" in set(frame["symbol"])
    everything = both.client.instruments()
    assert {"NSE", "NFO", "MCX"} <= set(everything["exchange"])


def test_history_comes_as_a_data_frame(both: Api) -> None:
    intervals = both.client.intervals()["data"]
    if not intervals["minutes"]:
        pytest.skip("the broker serves no history")
    frame = both.client.history(
        symbol="RELIANCE", exchange="NSE", interval="5m", start_date="2026-11-02",
        end_date="2026-11-06",
    )  # fmt: skip
    assert {"open", "high", "low", "close", "volume", "oi"} <= set(frame.columns)
    assert str(frame.index.tz) == "Asia/Kolkata"


def test_an_extra_keyword_names_the_account(both: Api) -> None:
    answer = both.client.placeorder(
        strategy=STRATEGY, symbol="RELIANCE", action="BUY", exchange="NSE", price_type="MARKET",
        product="MIS", quantity=1, account="jainam_prop", client_order_id="mine-1",
    )  # fmt: skip
    first = placed(answer)
    again = both.client.placeorder(
        strategy=STRATEGY, symbol="RELIANCE", action="BUY", exchange="NSE", price_type="MARKET",
        product="MIS", quantity=1, account="jainam_prop", client_order_id="mine-1",
    )  # fmt: skip
    assert placed(again) == first
    assert len(both.truth()) == 1


def test_errors_reach_the_caller_in_words(both: Api) -> None:
    unknown = both.client.placeorder(
        strategy=STRATEGY, symbol="NOSUCH", action="BUY", exchange="NSE", quantity=1
    )
    assert (unknown["status"], unknown["code"]) == ("error", 400)
    assert "Token not found for symbol 'NOSUCH' on 'NSE'." in unknown["message"]
    assert both.truth() == []
