"""Bad input against the whole gateway: a 4xx, and the simulator sees no request for it.

The table of what is bad stands in tests/unit/blueprints/test_bad_input.py; here is what only the
whole path can know: symbols, lots, ticks, accounts, brokers, and what a real server does to bytes.
"""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from .conftest import Api

ORDER: dict[str, Any] = {
    "strategy": "bad input", "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY",
    "quantity": "1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_broker_call(api: Api) -> Any:
    """Whatever a test here does, nothing reaches the broker."""
    before = api.counts()
    yield
    seen = {route: count for route, count in api.counts().items() if count != before.get(route)}
    background = {route for route in seen if route.startswith("GET")}  # the reconciler reads
    assert set(seen) <= background, seen


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"symbol": "NOSUCH"}, "symbol", "Token not found for symbol 'NOSUCH' on 'NSE'."),
        ({"symbol": "reliance"}, "symbol", "Token not found for symbol 'reliance' on 'NSE'."),
        ({"symbol": " RELIANCE"}, "symbol", "Token not found"),
        ({"symbol": "RELIANCE", "exchange": "NFO"}, "symbol", "Token not found"),
        ({"symbol": "'; DROP TABLE symbol_token; --"}, "symbol", "Token not found"),
        ({"symbol": "../../etc/passwd"}, "symbol", "Token not found"),
        ({"symbol": "रिलायंस"}, "symbol", "Token not found"),
        ({"symbol": "NIFTY", "exchange": "NSE_INDEX"}, None, "index"),
        ({"pricetype": "LIMIT"}, "price", ""),
        ({"pricetype": "LIMIT", "price": "0"}, "price", ""),
        ({"pricetype": "SL", "price": "1200"}, "trigger_price", ""),
        ({"pricetype": "SL-M"}, "trigger_price", ""),
        ({"pricetype": "LIMIT", "price": "1200.03"}, "price", "tick"),
        ({"product": "NRML"}, "product", ""),
        ({"quantity": "999999999"}, "quantity", ""),
        ({"disclosed_quantity": "2"}, "disclosed_quantity", ""),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be(
    api: Api, changes: dict[str, Any], field: str | None, words: str
) -> None:
    answer = api.post("placeorder", **(ORDER | changes))
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert words.lower() in body["message"].lower()
    if field:
        assert field in body["errors"], body


def test_a_derivative_comes_in_lots(api: Api) -> None:
    found = api.post("search", query="NIFTY", exchange="NFO").json()["data"]
    future = next(row for row in found if row["instrumenttype"] == "FUT" and row["lotsize"] > 1)
    body = ORDER | {"symbol": future["symbol"], "exchange": "NFO", "product": "NRML"}
    answer = api.post("placeorder", **(body | {"quantity": future["lotsize"] + 1}))
    assert answer.status_code == 400
    assert str(future["lotsize"]) in answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("modifyorder", {**ORDER, "orderid": "1&clientID=OTHER", "product": "MIS",
                         "pricetype": "LIMIT", "price": "1", "disclosed_quantity": "0",
                         "trigger_price": "0"}, 404),
        ("cancelorder", {"strategy": "s", "orderid": "999999999999"}, 404),
        ("cancelorder", {"strategy": "s", "orderid": "../../user/session"}, 404),
        ("orderstatus", {"strategy": "s", "orderid": "nope"}, 404),
        ("openposition", {"strategy": "s", "symbol": "NOSUCH", "exchange": "NSE",
                          "product": "MIS"}, 400),
        ("quotes", {"symbol": "NOSUCH", "exchange": "NSE"}, 400),
        ("depth", {"symbol": "NOSUCH", "exchange": "NSE"}, 400),
        ("history", {"symbol": "NOSUCH", "exchange": "NSE", "interval": "5m",
                     "start_date": "2026-11-02", "end_date": "2026-11-03"}, 400),
        ("history", {"symbol": "SBIN", "exchange": "NSE", "interval": "2h",
                     "start_date": "2026-11-02", "end_date": "2026-11-03"}, 400),
        ("history", {"symbol": "SBIN", "exchange": "NSE", "interval": "5m",
                     "start_date": "2026-11-03", "end_date": "2026-11-02"}, 400),
        ("multiquotes", {"symbols": [{"symbol": "NOSUCH", "exchange": "NSE"}]}, 400),
        ("symbol", {"symbol": "NOSUCH", "exchange": "NSE"}, 404),
        ("splitorder", {**ORDER, "quantity": 1000, "splitsize": 1}, 400),
        ("placeorder", {**ORDER, "account": "no-such-account"}, 404),
        ("master_contract/no_such_broker", {}, 404),
    ],
)  # fmt: skip
def test_what_does_not_exist(api: Api, path: str, body: dict[str, Any], status: int) -> None:
    """Field defect 13: order ids went into URLs unescaped."""
    answer = api.post(path, **body)
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == "error"


def test_a_journal_entry_that_does_not_exist(api: Api) -> None:
    for key in ("NOPE", "%00", "a'b", "x" * 500):
        answer = api.http.get(f"/api/v1/orders/{key}", headers={"X-API-KEY": api.key})
        assert answer.status_code in (400, 404), answer.text


# What a real server does to bytes ----------------------------------------------------------------


def exchange(api: Api, raw: bytes) -> bytes:
    """Send bytes on a connection of their own; everything that comes back."""
    parts = urlsplit(api.served.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [
        f"POST /api/v1/{path} HTTP/1.1", "Host: x", "Connection: close",
        "Content-Type: application/json", *headers,
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_half_a_body_is_refused(api: Api) -> None:
    body = json.dumps(ORDER | {"apikey": api.key}).encode()
    answer = exchange(api, post("placeorder", body[:-5], f"Content-Length: {len(body)}"))
    assert answer.startswith(b"HTTP/1.1 4") or answer == b""


def test_a_lying_length_is_refused(api: Api) -> None:
    for length in ("-1", "abc", "99999999999999999999"):
        answer = exchange(api, post("placeorder", b"{}", f"Content-Length: {length}"))
        assert b" 500 " not in answer.split(b"\r\n", 1)[0]


def test_a_chunked_body_that_is_too_large_is_refused(api: Api) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    raw = post("placeorder", chunk + b"1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    assert b" 413 " in exchange(api, raw).split(b"\r\n", 1)[0]


def test_no_length_and_no_chunks_is_an_empty_body(api: Api) -> None:
    assert b" 400 " in exchange(api, post("placeorder", b"")).split(b"\r\n", 1)[0]


def test_the_key_is_in_no_log(api: Api) -> None:
    canary = "canary" + "c" * 58
    api.http.post("/api/v1/ping", json={"apikey": canary})
    api.http.get(f"/api/v1/instruments?apikey={canary}")
    api.http.post(f"/api/v1/ping?apikey={canary}", json={"apikey": api.key})
    api.http.get(f"/api/v1/nowhere/{'n' * 30}?apikey={canary}", headers={"X-API-KEY": canary})
    logs = "".join(path.read_text() for path in (api.served.folder / "log").iterdir())
    assert "/api/v1/ping" in logs
    assert canary not in logs
    assert api.key not in logs
