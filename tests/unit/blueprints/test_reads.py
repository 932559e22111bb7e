"""Shapes of the reads: books, market data, symbols, brokers, contracts, the journal."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from blueprints.api_v1 import translate
from broker.errors import NotSupported
from broker.models import (
    Candle,
    Depth,
    Exchange,
    Funds,
    InstrumentRef,
    Level,
    OrderState,
    OrderType,
    Product,
    Quote,
    Side,
    Validity,
)
from services.errors import BrokerDisabled, NotFoundHere
from services.order_models import JournalView, Placed, SmartResult
from services.portfolio_views import HoldingView, OrderView, PnlSource, PositionView, TradeView

from .conftest import ADMIN, READ, TRADE, FakeGateway

REF = InstrumentRef(Exchange.NSE, "2885")
OPEN = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)  # 09:15 in India
AT = datetime(2026, 11, 20, 4, 45, tzinfo=UTC)
D = Decimal


def order(**changes: Any) -> OrderView:
    view = OrderView(
        order_id="1001", symbol="RELIANCE", exchange="NSE", known=True, side=Side.BUY,
        order_type=OrderType.STOP_LIMIT, product=Product.MIS, validity=Validity.DAY, quantity=10,
        filled_quantity=4, pending_quantity=6, price=D("100.05"), trigger_price=D("100"),
        average_price=D("100.0125"), state=OrderState.OPEN, state_text="PartiallyFilled",
        reason="", placed_at=AT, updated_at=AT, ours=True, reference="REF", strategy="s",
    )  # fmt: skip
    return view._replace(**changes)


QUOTE = Quote(
    instrument=REF, last_price=D("101.5"), open=D(100), high=D(102), low=D(99),
    previous_close=D("100.5"), bid=D("101.45"), ask=D("101.55"), volume=1000, oi=None,
    last_quantity=7,
)  # fmt: skip


def read(client: FlaskClient, path: str, **body: Any) -> Any:
    answer = client.post(f"/api/v1/{path}", json={"apikey": READ, **body})
    assert answer.status_code == 200, answer.json
    assert answer.json["status"] == "success"
    return answer.json


def test_every_word_of_the_models_has_a_word_of_openalgo() -> None:
    assert set(translate.STATUS_WORDS) == set(OrderState)
    assert set(translate.PRICETYPE_WORDS) == set(OrderType)
    assert set(translate.PRODUCT_WORDS) == set(Product)
    assert set(translate.ACTION_WORDS) == set(Side)
    assert set(translate.EXCHANGES.values()) == set(Exchange)
    for word, kind in translate.ORDER_TYPES.items():
        assert translate.PRICETYPE_WORDS[kind] == word
    assert set(translate.STATUS_WORDS.values()) == {
        "open", "complete", "rejected", "cancelled", "trigger pending",
    }  # fmt: skip


def test_an_order_book(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.portfolio.answers["orders"] = [
        order(),
        order(order_id="1002", state=OrderState.FILLED, side=Side.SELL),
        order(order_id="1003", state=OrderState.REJECTED, reason="RMS: no funds"),
        order(order_id="1004", state=OrderState.TRIGGER_PENDING),
        order(order_id="1005", state=OrderState.UNRECOGNISED),
        order(order_id="1006", state=OrderState.CANCELLED, placed_at=None),
    ]
    data = read(client, "orderbook")["data"]
    assert data["orders"][0] == {
        "action": "BUY", "average_price": 100.0125, "exchange": "NSE", "filled_quantity": 4,
        "order_status": "open", "orderid": "1001", "ours": True, "pending_quantity": 6,
        "price": 100.05, "pricetype": "SL", "product": "MIS", "quantity": 10,
        "rejection_reason": "", "strategy": "s", "symbol": "RELIANCE",
        "timestamp": "20-Nov-2026 10:15:00", "trigger_price": 100.0,
    }  # fmt: skip
    assert data["orders"][2]["rejection_reason"] == "RMS: no funds"
    assert data["orders"][5]["timestamp"] == ""
    assert data["statistics"] == {
        "total_buy_orders": 5, "total_completed_orders": 1, "total_open_orders": 2,
        "total_rejected_orders": 1, "total_sell_orders": 1, "total_trigger_pending_orders": 1,
    }  # fmt: skip


def test_rows_come_with_sorted_keys(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.portfolio.answers["orders"] = [order()]
    (row,) = read(client, "orderbook")["data"]["orders"]
    assert list(row) == sorted(row)


def test_the_other_books(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.portfolio.answers.update(
        trades=[TradeView("T1", "1001", "SBIN", "NSE", True, Side.SELL, Product.CNC, 3,
                          D("500.5"), AT, False, "")],
        positions=[PositionView("SBIN", "NSE", True, Product.MIS, -3, 0, 3, D("500.50"), D(499),
                                D("4.5"), PnlSource.BROKER)],
        holdings=[HoldingView("SBIN", "NSE", True, "INE0", 10, 10, D(400), D(500), D(1000), D(25))],
        funds=Funds(available=D("150000.255"), collateral=D(0), utilised=D("-1"), realised=D(1),
                    unrealised=D(2)),
    )  # fmt: skip
    (trade,) = read(client, "tradebook")["data"]
    assert (trade["trade_value"], trade["action"], trade["tradeid"]) == (1501.5, "SELL", "T1")
    (position,) = read(client, "positionbook")["data"]
    assert (position["quantity"], position["pnl"], position["pnl_source"]) == (-3, 4.5, "broker")
    held = read(client, "holdings")["data"]
    assert held["statistics"] == {
        "totalholdingvalue": 5000.0, "totalinvvalue": 4000.0, "totalpnlpercentage": 25.0,
        "totalprofitandloss": 1000.0,
    }  # fmt: skip
    assert held["holdings"][0]["pnlpercent"] == 25.0
    assert read(client, "funds")["data"] == {
        "availablecash": "150000.26", "collateral": "0.00", "m2mrealized": "1.00",
        "m2munrealized": "2.00", "utiliseddebits": "-1.00",
    }  # fmt: skip


def test_no_holdings_divide_by_nothing(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.portfolio.answers["holdings"] = []
    assert read(client, "holdings")["data"]["statistics"]["totalpnlpercentage"] == 0.0


def test_order_status_finds_the_account_by_the_order(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    gateway.orders.answers["account_of"] = "the account"
    gateway.portfolio.answers["order"] = order(state=OrderState.FILLED)
    data = read(client, "orderstatus", strategy="s", orderid="1001")["data"]
    assert data["order_status"] == "complete"
    assert gateway.orders.calls[0][1][1] is None
    assert gateway.portfolio.calls[0][1] == ("the account", "1001")


def test_an_order_that_is_not_there_is_404(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.orders.answers["account_of"] = NotFoundHere("Order 7 not found.")
    body = {"apikey": READ, "strategy": "s", "orderid": "7"}
    answer = client.post("/api/v1/orderstatus", json=body)
    assert (answer.status_code, answer.json["message"]) == (404, "Order 7 not found.")


def test_open_position(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.portfolio.answers["open_position"] = -50
    body = {"strategy": "s", "symbol": "SBIN", "exchange": "NSE", "product": "MIS"}
    assert read(client, "openposition", **body)["quantity"] == -50


def test_a_smart_order_with_nothing_to_do_has_no_order_id(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    words = "Positions Already Matched. No Action needed."
    gateway.smart_orders.answers["place"] = SmartResult(None, words)
    body = {
        "apikey": "t" * 64, "strategy": "s", "symbol": "SBIN", "exchange": "NSE", "action": "BUY",
        "quantity": "0", "position_size": "-5",
    }  # fmt: skip
    answer = client.post("/api/v1/placesmartorder", json=body)
    assert answer.json == {"message": words, "sandbox": True, "status": "success"}
    gateway.smart_orders.answers["place"] = SmartResult(Placed("R", "9"))
    assert client.post("/api/v1/placesmartorder", json=body).json["orderid"] == "9"


# Market data -----------------------------------------------------------------------------------


def test_a_quote(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.market_data.answers["quote"] = SimpleNamespace(quote=QUOTE)
    assert read(client, "quotes", symbol="SBIN", exchange="NSE")["data"] == {
        "ask": 101.55, "bid": 101.45, "high": 102.0, "low": 99.0, "ltp": 101.5, "oi": 0,
        "open": 100.0, "prev_close": 100.5, "volume": 1000,
    }  # fmt: skip


def test_several_quotes(client: FlaskClient, gateway: FakeGateway) -> None:
    known = SimpleNamespace(symbol="SBIN", exchange="NSE", record=1, quote=QUOTE, error="")
    unknown = SimpleNamespace(
        symbol="X", exchange="NSE", record=None, quote=None, error="Token not found."
    )
    pairs = [{"symbol": "SBIN", "exchange": "NSE"}, {"symbol": "X", "exchange": "NSE"}]
    gateway.market_data.answers["quotes"] = [known, unknown]
    rows = read(client, "multiquotes", symbols=pairs)["results"]
    assert rows[0]["data"]["ltp"] == 101.5
    assert rows[1] == {"error": "Token not found.", "exchange": "NSE", "symbol": "X"}

    gateway.market_data.answers["quotes"] = [unknown]
    body = {"apikey": READ, "symbols": pairs[1:]}
    answer = client.post("/api/v1/multiquotes", json=body)
    assert answer.status_code == 400
    assert answer.json["invalid_symbols"] == [{"exchange": "NSE", "symbol": "X"}]


def test_a_depth_has_five_levels_on_both_sides(client: FlaskClient, gateway: FakeGateway) -> None:
    depth = Depth(
        QUOTE, (Level(D("101.45"), 5),), tuple(Level(D(102), n) for n in range(7)), 50, 60
    )
    gateway.market_data.answers["depth"] = SimpleNamespace(depth=depth)
    data = read(client, "depth", symbol="SBIN", exchange="NSE")["data"]
    assert data["bids"] == [{"price": 101.45, "quantity": 5}, *[{"price": 0, "quantity": 0}] * 4]
    assert len(data["asks"]) == 5
    assert (data["ltq"], data["totalbuyqty"], data["totalsellqty"]) == (7, 50, 60)


@pytest.mark.parametrize(
    ("interval", "opened_at", "stamp"),
    [
        (
            "5m",
            datetime(2026, 11, 20, 3, 45, tzinfo=UTC),
            datetime(2026, 11, 20, 3, 45, tzinfo=UTC),
        ),
        ("D", datetime(2026, 11, 19, 18, 30, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)),
        ("D", OPEN, datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_history_has_the_times_that_the_client_expects(
    client: FlaskClient, gateway: FakeGateway, interval: str, opened_at: datetime, stamp: datetime
) -> None:
    gateway.market_data.answers["history"] = [Candle(opened_at, D(1), D(2), D(0), D(1), 9, 0)]
    body = {"interval": interval, "start_date": "2026-11-20", "end_date": "2026-11-20"}
    (row,) = read(client, "history", symbol="SBIN", exchange="NSE", **body)["data"]
    assert row["timestamp"] == int(stamp.timestamp())
    assert gateway.market_data.calls[0][1][4:] == (date(2026, 11, 20), date(2026, 11, 20))


def test_a_missing_capability_is_501(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.market_data.answers["quote"] = NotSupported("This broker serves no quotes.")
    body = {"apikey": READ, "symbol": "SBIN", "exchange": "NSE"}
    assert client.post("/api/v1/quotes", json=body).status_code == 501


def test_intervals_by_unit(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.market_data.answers["intervals"] = ("1s", "1m", "5m", "1h", "D", "W", "M")
    assert read(client, "intervals")["data"] == {
        "days": ["D"], "hours": ["1h"], "minutes": ["1m", "5m"], "months": ["M"],
        "seconds": ["1s"], "weeks": ["W"],
    }  # fmt: skip


# Symbols ---------------------------------------------------------------------------------------

RECORD = SimpleNamespace(
    symbol="SBIN", brsymbol="SBIN-EQ", name="SBIN", exchange="NSE", brexchange="NSECM",
    token="3045", expiry="", strike=0.0, lotsize=1, instrumenttype="EQ", tick_size=D("0.05"),
    freeze_qty=None, id=7,
)  # fmt: skip


def test_a_symbol(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.symbols.answers["lookup"] = RECORD
    data = read(client, "symbol", symbol="SBIN", exchange="NSE")["data"]
    assert (data["id"], data["freeze_qty"], data["token"]) == (7, 1, "3045")
    assert list(data) == sorted(data)
    gateway.symbols.answers["lookup"] = None
    body = {"apikey": READ, "symbol": "X", "exchange": "NSE"}
    answer = client.post("/api/v1/symbol", json=body)
    assert (answer.status_code, answer.json["message"]) == (
        404, "Symbol X not found in exchange NSE",
    )  # fmt: skip


def test_search_and_expiry(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.symbols.answers.update(search=[RECORD], expiries=["26-NOV-26"])
    found = read(client, "search", query=" sbi ")
    assert found["message"] == "Found 1 matching symbols"
    assert "id" not in found["data"][0]
    gateway.symbols.answers["search"] = []
    assert read(client, "search", query="zz")["message"] == "No matching symbols found"
    body = {"symbol": "NIFTY", "exchange": "NFO", "instrumenttype": "options"}
    dates = read(client, "expiry", **body)
    assert dates["data"] == ["26-NOV-26"]
    assert dates["message"] == "Found 1 expiry dates for NIFTY options in NFO"


@pytest.mark.parametrize("rows", [0, 1, 499, 500, 501, 1200])
def test_instruments_are_streamed(client: FlaskClient, gateway: FakeGateway, rows: int) -> None:
    gateway.symbols.answers["instruments"] = lambda *_: iter([RECORD] * rows)
    answer = client.get(f"/api/v1/instruments?apikey={READ}&exchange=NSE")
    assert len(answer.json["data"]) == rows
    assert (answer.json["status"], answer.json["sandbox"]) == ("success", True)
    assert answer.headers["X-Request-ID"]

    text = client.get(f"/api/v1/instruments?apikey={READ}&format=csv")
    assert text.mimetype == "text/csv"
    assert 'filename="all_instruments.csv"' in text.headers["Content-Disposition"]
    lines = text.get_data(as_text=True).splitlines()
    assert len(lines) == rows + 1
    assert lines[0].split(",")[8] == "symbol"


# Brokers and contracts -------------------------------------------------------------------------

JOB = SimpleNamespace(
    id=3, state="running", progress={"rows": 5}, report={}, started_at=AT, finished_at=None
)


@pytest.fixture
def brokers(gateway: FakeGateway) -> None:
    capabilities = SimpleNamespace(
        depth=True, history_intervals=("1m",), margin=False, order_types={OrderType.LIMIT},
        products={Product.MIS}, quotes=True, stream=False, exchanges={Exchange.NSE},
    )  # fmt: skip
    gateway.registry.answers.update(
        names=["jainam_prop", "off"],
        info=SimpleNamespace(title="A title"),
        get=SimpleNamespace(capabilities=capabilities),
    )
    gateway.accounts.answers.update(
        list=[SimpleNamespace(label="jainam_prop", broker="jainam_prop")],
        is_broker_enabled=lambda name: (name != "off", "" if name != "off" else "It is off."),
    )
    gateway.sessions.answers["circuits"] = {"interactive": "open"}
    gateway.sessions.answers["status"] = SimpleNamespace(connected=True, expires_at=AT)
    status = SimpleNamespace(rows=9, state="ready", updated_at=AT)
    gateway.master_contract.answers.update(
        status=status, start=JOB, history=[JOB], wait=JOB,
    )  # fmt: skip


@pytest.mark.usefixtures("brokers")
def test_brokers(client: FlaskClient) -> None:
    (one,) = client.get(f"/api/v1/brokers?apikey={READ}").json["data"]
    assert one["accounts"] == [
        {"account": "jainam_prop", "connected": True,
         "session_expires_at": "2026-11-20T10:15:00.000+05:30"}
    ]  # fmt: skip
    assert (one["name"], one["connected"], one["enabled"], one["sandbox"]) == (
        "jainam_prop", True, True, True,
    )  # fmt: skip
    assert one["master_contract"]["rows"] == 9
    assert one["circuits"] == {"interactive": "open"}
    both = client.get("/api/v1/brokers?all=true", headers={"X-API-KEY": READ}).json["data"]
    assert [each["name"] for each in both] == ["jainam_prop", "off"]
    assert (both[1]["enabled"], both[1]["reason"], both[1]["accounts"]) == (False, "It is off.", [])


@pytest.mark.usefixtures("brokers")
def test_a_download_is_a_job(client: FlaskClient, gateway: FakeGateway) -> None:
    path = "/api/v1/master_contract/jainam_prop"
    begun = client.post(path, json={"apikey": ADMIN})
    assert begun.status_code == 202
    assert begun.json["data"] == {"job": 3, "state": "running"}

    still = client.post(path, json={"apikey": ADMIN, "wait": True})
    assert (still.status_code, still.json["data"]["progress"]) == (202, {"rows": 5})

    done = SimpleNamespace(**vars(JOB) | {"state": "done", "finished_at": AT + timedelta(1)})
    gateway.master_contract.answers["wait"] = done
    finished = client.post(path, json={"apikey": ADMIN, "wait": "true", "force": True})
    assert (finished.status_code, finished.json["data"]["state"]) == (200, "done")
    assert gateway.master_contract.calls[-2][2] == {"force": True}

    failed = SimpleNamespace(
        **vars(JOB) | {"state": "failed", "report": {"error": "Too few rows."}}
    )
    gateway.master_contract.answers["wait"] = failed
    answer = client.post(path, json={"apikey": ADMIN, "wait": True})
    assert answer.status_code == 502
    assert "Too few rows." in answer.json["message"]


@pytest.mark.usefixtures("brokers")
def test_contracts_of_unknown_and_disabled_brokers(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    body = {"apikey": ADMIN}
    assert client.post("/api/v1/master_contract/none", json=body).status_code == 404
    off = client.post("/api/v1/master_contract/off", json=body)
    assert (off.status_code, "It is off." in off.json["message"]) == (409, True)
    assert gateway.master_contract.calls == []
    gateway.master_contract.answers["start"] = BrokerDisabled("Off.")
    assert client.post("/api/v1/master_contract/jainam_prop", json=body).status_code == 409


@pytest.mark.usefixtures("brokers")
def test_progress_and_history_of_contracts(client: FlaskClient) -> None:
    path = "/api/v1/master_contract/jainam_prop"
    status = client.get(f"{path}?apikey={READ}").json["data"]
    assert (status["rows"], status["state"], status["history"][0]["job"]) == (9, "ready", 3)
    assert client.get(f"{path}/3?apikey={READ}").json["data"]["state"] == "running"
    for wrong in ("4", "x", "3%20OR%201=1"):
        assert client.get(f"{path}/{wrong}?apikey={READ}").status_code == 404


def test_ping_names_the_broker(client: FlaskClient) -> None:
    assert read(client, "ping") == {
        "data": {"broker": "jainam_prop", "message": "pong"}, "sandbox": True, "status": "success",
    }  # fmt: skip


def test_parameters_of_a_strategy(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.strategies.answers["parameters"] = {"lots": "2"}
    told = client.get(f"/api/v1/strategyparameters?apikey={READ}&strategy=orb").json
    assert told["data"] == {"lots": "2"}
    gateway.strategies.answers["change"] = {"lots": "3"}
    body = {"apikey": TRADE, "strategy": "orb", "parameters": {"lots": "3"}, "remove": ["x"]}
    told = client.post("/api/v1/strategyparameters", json=body).json
    assert told["data"] == {"lots": "3"}
    read_only = client.post("/api/v1/strategyparameters", json=body | {"apikey": READ})
    assert read_only.status_code == 403
    for wrong in ({"a b": "1"}, {"lots": 3}, {"lots": "1\n"}):
        answer = client.post("/api/v1/strategyparameters", json=body | {"parameters": wrong})
        assert answer.status_code == 400, wrong


def test_the_journal_of_an_order(client: FlaskClient, gateway: FakeGateway) -> None:
    intent = SimpleNamespace(
        client_order_id="mine", created_at=AT, exchange="NSE", kind="place", message="",
        broker_order_id="1001", parent_reference=None, price=D("1.5"), product="MIS", quantity=5,
        reference="REF", request_id="req", side="BUY", state="accepted", strategy="s",
        symbol="SBIN", tag="TAG", trigger_price=D(0), updated_at=AT,
    )  # fmt: skip
    event = SimpleNamespace(at=AT, cause="request", message="", state="received")
    gateway.orders.answers["journal"] = JournalView(
        "jainam_prop", intent, (event,)  # type: ignore[arg-type]
    )
    data = client.get(f"/api/v1/orders/REF?apikey={READ}").json["data"]
    assert data["order"]["state"] == "accepted"
    assert data["order"]["account"] == "jainam_prop"
    assert data["events"][0]["at"] == "2026-11-20T10:15:00.000+05:30"
    assert data["children"] == []
    gateway.orders.answers["journal"] = JournalView(
        "jainam_prop", None, (), (intent,)  # type: ignore[arg-type]
    )
    data = client.get(f"/api/v1/orders/PARENT?apikey={READ}").json["data"]
    assert data["order"] is None
    assert [child["reference"] for child in data["children"]] == ["REF"]
    gateway.orders.answers["journal"] = NotFoundHere("Order X not found.")
    assert client.get(f"/api/v1/orders/X?apikey={READ}").status_code == 404
