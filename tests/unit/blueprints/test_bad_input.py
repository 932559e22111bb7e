"""Bad input gets a 4xx that says what to change, and reaches no service. Never a 500."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueprints.api_v1 import all_routes

from .conftest import ADMIN, TRADE, FakeGateway

TERMS: dict[str, Any] = {
    "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "quantity": "1",
}  # fmt: skip
BASE: dict[str, Any] = {"apikey": TRADE, "strategy": "test"}
GOOD: dict[str, dict[str, Any]] = {
    "/placeorder": BASE | TERMS,
    "/placesmartorder": BASE | TERMS | {"position_size": "5"},
    "/splitorder": BASE | TERMS | {"splitsize": "1"},
    "/basketorder": BASE | {"orders": [TERMS]},
    "/modifyorder": BASE | TERMS | {
        "orderid": "1", "product": "MIS", "pricetype": "LIMIT", "price": "1",
        "disclosed_quantity": "0", "trigger_price": "0",
    },
    "/cancelorder": BASE | {"orderid": "1"},
    "/cancelallorder": BASE,
    "/closeposition": BASE,
    "/orderstatus": BASE | {"orderid": "1"},
    "/openposition": BASE | {"symbol": "SBIN", "exchange": "NSE", "product": "MIS"},
    "/orderbook": {"apikey": TRADE},
    "/tradebook": {"apikey": TRADE},
    "/positionbook": {"apikey": TRADE},
    "/holdings": {"apikey": TRADE},
    "/funds": {"apikey": TRADE},
    "/quotes": {"apikey": TRADE, "symbol": "SBIN", "exchange": "NSE"},
    "/multiquotes": {"apikey": TRADE, "symbols": [{"symbol": "SBIN", "exchange": "NSE"}]},
    "/depth": {"apikey": TRADE, "symbol": "SBIN", "exchange": "NSE"},
    "/history": {
        "apikey": TRADE, "symbol": "SBIN", "exchange": "NSE", "interval": "5m",
        "start_date": "2026-11-02", "end_date": "2026-11-03",
    },
    "/intervals": {"apikey": TRADE},
    "/symbol": {"apikey": TRADE, "symbol": "SBIN", "exchange": "NSE"},
    "/search": {"apikey": TRADE, "query": "NIFTY"},
    "/expiry": {
        "apikey": TRADE, "symbol": "NIFTY", "exchange": "NFO", "instrumenttype": "options",
    },
    "/ping": {"apikey": TRADE},
    "/master_contract/jainam_prop": {"apikey": ADMIN},
    "/killswitch": {"apikey": ADMIN, "state": "on"},
    "/strategyparameters": BASE | {"parameters": {"lots": "2"}},
}  # fmt: skip
ORDERS = ["/placeorder", "/placesmartorder", "/splitorder", "/modifyorder"]

INF, NAN = math.inf, math.nan
BAD_NUMBERS: list[Any] = [
    "abc", "", " ", "1e3", "0x10", "1,000", "१०", "NaN", "inf", "-Infinity", "1;DROP TABLE", "--1",
    "1.2.3", "9" * 40, True, False, None, [], {}, [1], {"a": 1}, NAN, INF, -INF, 10**13, -(10**13),
    1e300, 10**400, "½", "1 0", "1_0", "+1", "٣",
]  # fmt: skip
BAD_TEXTS: list[Any] = [
    1, 1.5, True, None, [], {}, ["RELIANCE"], "", "x" * 10_000, "a\x00b", "a\nb", "a\x7f",
    "\u202eX", "\u2028",
]  # fmt: skip


def test_every_post_route_has_a_good_request_here() -> None:
    paths = {route.path.replace("<broker>", "jainam_prop") for route in all_routes()
             if route.method == "POST"}  # fmt: skip
    assert paths == set(GOOD)


def refused(client: FlaskClient, gateway: FakeGateway, path: str, **request: Any) -> Any:
    """Send it; check that it was refused well; return the answer's body."""
    answer = client.post(f"/api/v1{path}", **request)
    assert 400 <= answer.status_code < 500, answer.get_data(as_text=True)
    body = answer.json
    assert body["status"] == "error"
    assert body["code"]
    assert body["message"].endswith(".") or body["code"] == "invalid_key"
    assert "Traceback" not in answer.get_data(as_text=True)
    assert gateway.everything_called() == []
    return body


RAW: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("null", b"null"),
    ("list", b"[]"),
    ("list of orders", b'[{"apikey":"x"}]'),
    ("text", b'"order"'),
    ("number", b"42"),
    ("bool", b"true"),
    ("half", b'{"apikey":"x","quantity":'),
    ("form", b"apikey=x&quantity=1"),
    ("html", b"<html></html>"),
    ("not utf-8", b'{"apikey":"\xff\xfe"}'),
    ("utf-16", '{"apikey":"x"}'.encode("utf-16")),
    ("lone surrogate", b'{"apikey":"\\ud800"}'),
    ("deep list", b"[" * 50_000),
    ("deep objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    ("deep inside a field", b'{"symbol":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
    ("huge integer", b'{"quantity":' + b"9" * 50_000 + b"}"),
    ("comment", b'{"apikey":"x" /* no */}'),
    ("single quotes", b"{'apikey':'x'}"),
    ("two objects", b"{}{}"),
    ("null byte", b"\x00"),
]


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("raw", [raw for _, raw in RAW], ids=[name for name, _ in RAW])
def test_a_body_that_is_no_json_object(
    client: FlaskClient, gateway: FakeGateway, path: str, raw: bytes
) -> None:
    """Field defect 38: null, list, string, number, form body and deep nesting gave a 500."""
    refused(client, gateway, path, data=raw, content_type="application/json")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/xml", "application/octet-stream", "json", "text/json;application/json"],
)  # fmt: skip
def test_another_content_type_is_415(
    client: FlaskClient, gateway: FakeGateway, content_type: str
) -> None:
    data = json.dumps(GOOD["/placeorder"])
    answer = client.post("/api/v1/placeorder", data=data, content_type=content_type)
    assert answer.status_code == 415
    assert "application/json" in answer.json["message"]
    assert gateway.everything_called() == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_forms_of_the_right_content_type(
    client: FlaskClient, gateway: FakeGateway, content_type: str
) -> None:
    from services.order_models import Placed

    gateway.orders.answers["place"] = Placed("R", "1")
    data = json.dumps(GOOD["/placeorder"])
    answer = client.post("/api/v1/placeorder", data=data, content_type=content_type)
    assert answer.status_code == 200


def test_a_compressed_body_is_415(client: FlaskClient, gateway: FakeGateway) -> None:
    refused(client, gateway, "/placeorder", data=b"\x1f\x8b", content_type="application/json",
            headers={"Content-Encoding": "gzip"})  # fmt: skip


@pytest.mark.parametrize(("path", "limit"), [("/placeorder", 64), ("/basketorder", 1024)])
def test_an_oversized_body_is_413(
    client: FlaskClient, gateway: FakeGateway, path: str, limit: int
) -> None:
    body = GOOD[path] | {"strategy": "x" * (limit * 1024)}
    answer = client.post(f"/api/v1{path}", json=body)
    assert answer.status_code == 413
    assert f"{limit} KiB" in answer.json["message"]
    assert gateway.everything_called() == []


@pytest.mark.parametrize("path", GOOD)
def test_an_unknown_field_is_named(client: FlaskClient, gateway: FakeGateway, path: str) -> None:
    body = refused(client, gateway, path, json=GOOD[path] | {"target": "1"})
    assert body["errors"]["target"] == ["Unknown field."]


@pytest.mark.parametrize(
    ("path", "field"),
    [(path, field) for path, good in GOOD.items() for field in good if field != "apikey"],
)
def test_a_missing_field_is_named(
    client: FlaskClient, gateway: FakeGateway, path: str, field: str
) -> None:
    body = {name: value for name, value in GOOD[path].items() if name != field}
    errors = refused(client, gateway, path, json=body)["errors"]
    assert errors == {field: ["Missing data for required field."]}


@pytest.mark.parametrize(
    ("path", "field"),
    [(path, field) for path, good in GOOD.items() for field in good],
)
def test_null_is_no_value(client: FlaskClient, gateway: FakeGateway, path: str, field: str) -> None:
    if field == "apikey":
        headers = {"X-API-KEY": "wrong"}
        assert client.post(
            f"/api/v1{path}", json=GOOD[path] | {field: None}, headers=headers
        ).status_code in (400, 403)
        return
    errors = refused(client, gateway, path, json=GOOD[path] | {field: None})["errors"]
    assert errors == {field: ["Field may not be null."]}


NUMBERS = ["quantity", "price", "trigger_price", "disclosed_quantity"]


@pytest.mark.parametrize("path", ORDERS)
@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", BAD_NUMBERS, ids=lambda value: repr(value)[:20])
def test_what_is_no_number(
    client: FlaskClient, gateway: FakeGateway, path: str, field: str, value: Any
) -> None:
    data = json.dumps(GOOD[path] | {field: value})
    body = refused(client, gateway, path, data=data, content_type="application/json")
    assert body["code"] == "invalid_json" or list(body["errors"]) == [field]


@pytest.mark.parametrize(
    ("path", "field", "value", "text"),
    [
        ("/placeorder", "quantity", "0", "Quantity must be a positive number."),
        ("/placeorder", "quantity", -5, "Quantity must be a positive number."),
        ("/placeorder", "quantity", "1.5",
         "Fractional quantity (1.5) is not allowed for non-crypto exchanges."),
        ("/placesmartorder", "quantity", "-1", "Quantity must be a non-negative number."),
        ("/placesmartorder", "position_size", "1.5",
         "Fractional quantity (1.5) is not allowed for non-crypto exchanges."),
        ("/placeorder", "price", "-0.05", "Price must be a non-negative number."),
        ("/placeorder", "trigger_price", -1, "Trigger price must be a non-negative number."),
        ("/placeorder", "disclosed_quantity", "-1",
         "Disclosed quantity must be a non-negative integer."),
        ("/placeorder", "disclosed_quantity", "1.5",
         "Disclosed quantity must be a non-negative integer."),
        ("/splitorder", "quantity", "0", "Total quantity must be a positive number."),
        ("/splitorder", "splitsize", "0", "Split size must be a positive integer."),
        ("/splitorder", "splitsize", "1.5", "Not a valid integer."),
        ("/placeorder", "action", "Buy", "Must be one of: BUY, SELL, buy, sell."),
        ("/placeorder", "action", "HOLD", "Must be one of: BUY, SELL, buy, sell."),
        ("/placeorder", "pricetype", "sl", "Must be one of: MARKET, LIMIT, SL, SL-M."),
        ("/placeorder", "product", "MTF", "Must be one of: MIS, NRML, CNC."),
        ("/expiry", "exchange", "NSE", "Must be one of: NFO, BFO, MCX, CDS, NCO, BCD, NCDEX."),
        ("/expiry", "instrumenttype", "swaps", "Must be one of: futures, options."),
        ("/history", "start_date", "2026-13-01", "Not a valid date: use YYYY-MM-DD."),
        ("/history", "end_date", "20261101", "Not a valid date: use YYYY-MM-DD."),
        ("/history", "start_date", 20261101, "Not a valid string."),
        ("/cancelorder", "orderid", 1001, "Not a valid string."),
        ("/placeorder", "auto_slice", "maybe", "Not a valid boolean."),
        ("/placeorder", "auto_slice", 1, "Not a valid boolean."),
        ("/placeorder", "client_order_id", "a b", "Contains characters that are not allowed."),
        ("/basketorder", "orders", {}, "Not a valid list."),
        ("/multiquotes", "symbols", "SBIN", "Not a valid list."),
        ("/multiquotes", "symbols", [], "Shorter than minimum length 1."),
        ("/search", "query", "   ", "Query must not be blank."),
    ],
)  # fmt: skip
def test_the_text_says_what_to_change(
    client: FlaskClient, gateway: FakeGateway, path: str, field: str, value: Any, text: str
) -> None:
    body = refused(client, gateway, path, json=GOOD[path] | {field: value})
    assert body["errors"] == {field: [text]}
    assert f"{field}: {text}" in body["message"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (path, field)
        for path, good in GOOD.items()
        for field, value in good.items()
        if isinstance(value, str) and field not in (*NUMBERS, "position_size", "splitsize")
    ],
)
@pytest.mark.parametrize("value", BAD_TEXTS, ids=lambda value: repr(value)[:20])
def test_what_is_no_fit_text(
    client: FlaskClient, gateway: FakeGateway, path: str, field: str, value: Any
) -> None:
    if (field, value) == ("strategy", ""):
        return  # any text is a strategy, none as well
    headers = {"X-API-KEY": "wrong"} if field == "apikey" and value is None else {}
    body = GOOD[path] | {field: value}
    refused(client, gateway, path, json=body, headers=headers)


def test_rows_of_a_basket_are_named_by_place(client: FlaskClient, gateway: FakeGateway) -> None:
    rows = [TERMS, TERMS | {"quantity": "0", "apikey": "x"}, 7]
    errors = refused(client, gateway, "/basketorder", json=BASE | {"orders": rows})["errors"]
    assert errors == {
        "orders.1.quantity": ["Quantity must be a positive number."],
        "orders.1.apikey": ["Unknown field."],
        "orders.2": ["Not a valid object."],
    }


def test_a_basket_has_at_most_a_hundred_orders(client: FlaskClient, gateway: FakeGateway) -> None:
    refused(client, gateway, "/basketorder", json=BASE | {"orders": [TERMS] * 101})


def test_a_thousand_faults_make_a_short_answer(client: FlaskClient, gateway: FakeGateway) -> None:
    body = {f"x{number}" * 50: 1 for number in range(100)}
    answer = client.post("/api/v1/placeorder", json=body)
    assert answer.status_code == 400
    assert len(answer.json["errors"]) <= 20
    assert len(answer.data) < 10_000
    assert gateway.everything_called() == []


def test_no_value_is_repeated_in_an_error(client: FlaskClient, gateway: FakeGateway) -> None:
    secret = "K" * 300
    body = refused(client, gateway, "/placeorder", json=GOOD["/placeorder"] | {"apikey": secret})
    assert secret[:50] not in json.dumps(body)


@pytest.mark.parametrize(
    "value", ["10", 10, 10.0, "10.0", "10.", " 10 ", "010"], ids=lambda value: repr(value)
)
def test_a_whole_number_in_every_form(
    client: FlaskClient, gateway: FakeGateway, value: Any
) -> None:
    from services.order_models import Placed

    gateway.orders.answers["place"] = Placed("R", "1")
    answer = client.post("/api/v1/placeorder", json=GOOD["/placeorder"] | {"quantity": value})
    assert answer.status_code == 200
    assert gateway.orders.calls[0][1][2].quantity == 10


@pytest.mark.parametrize(
    ("value", "price"),
    [("100.05", "100.05"), (100.05, "100.05"), (".05", "0.05"), (300.29999999999995, "300.3"),
     ("300.29999999999995", "300.3"), (0, "0"), ("1e", None)],
)  # fmt: skip
def test_prices_are_decimals_without_the_noise_of_floats(
    client: FlaskClient, gateway: FakeGateway, value: Any, price: str | None
) -> None:
    from decimal import Decimal

    from services.order_models import Placed

    gateway.orders.answers["place"] = Placed("R", "1")
    answer = client.post("/api/v1/placeorder", json=GOOD["/placeorder"] | {"price": value})
    if price is None:
        assert answer.status_code == 400
    else:
        assert gateway.orders.calls[0][1][2].price == Decimal(price)


# Queries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [("exchange=XYZ", "exchange"), ("format=xml", "format"), ("foo=1", "foo"),
     ("exchange=NSE&exchange=BSE", "exchange"), ("account=", "account")],
)  # fmt: skip
def test_a_bad_query_is_400(
    client: FlaskClient, gateway: FakeGateway, query: str, field: str
) -> None:
    answer = client.get(f"/api/v1/instruments?apikey={TRADE}&{query}")
    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [field]
    assert gateway.everything_called() == []


# Fuzz ------------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["BUY", "NSE", "MARKET", "1", "-1", "NaN", "../../etc/passwd", "'; --"]),
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner,
                                                               max_size=4),
    max_leaves=8,
)  # fmt: skip
FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(path=st.sampled_from(sorted(GOOD)), changes=st.dictionaries(
    st.sampled_from(sorted({field for good in GOOD.values() for field in good})) | st.text(),
    JSON, min_size=1, max_size=4))  # fmt: skip
def test_no_change_of_a_good_request_gives_a_500(
    client: FlaskClient, path: str, changes: dict[str, Any]
) -> None:
    data = json.dumps(GOOD[path] | {"apikey": "x" * 64} | changes)
    answer = client.post(f"/api/v1{path}", data=data, content_type="application/json")
    assert 400 <= answer.status_code < 500
    assert answer.json["status"] == "error"


@FUZZ
@given(path=st.sampled_from(sorted(GOOD)), raw=st.binary(max_size=200))
def test_no_bytes_give_a_500(client: FlaskClient, path: str, raw: bytes) -> None:
    answer = client.post(f"/api/v1{path}", data=raw, content_type="application/json")
    assert 400 <= answer.status_code < 500


@FUZZ
@given(path=st.text(max_size=60), method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
def test_no_path_gives_a_500(client: FlaskClient, path: str, method: str) -> None:
    answer = client.open("/api/v1/" + path.replace("\x00", ""), method=method, json={})
    assert 400 <= answer.status_code < 500 or ("/" in path and answer.status_code == 308)
