"""`smoke_test.sh`: does everything that a client reads work? Safe on a live account: it only reads.

Without an API key: that it lives, is ready, serves the version that is expected, refuses a call
without a key, and documents itself. With one: the brokers, and per connected account funds, books,
positions and holdings, and a quote where there are symbols. No route that it calls can place,
change or cancel an order.
"""

from __future__ import annotations

import time
from typing import Any

from scripts.probes.report import Report
from scripts.rescue.http import Client

READS = ("funds", "orderbook", "tradebook", "positionbook", "holdings")
_SYMBOL = {"symbol": "RELIANCE", "exchange": "NSE"}


def run(
    client: Client, *, version: str = "", account: str = "", brokers: tuple[str, ...] = ()
) -> Report:
    """Everything. `version`: the one that has to be served; `account`: only this one is read;
    `brokers`: the ones that have to be offered and connected.
    """
    report = Report()
    try:
        _open_to_all(client, report, version)
        if client.key:
            _with_key(client, report, account, brokers)
        else:
            report.add("warn", "no API key (--api-key-file): brokers and books were not read")
    except OSError as error:
        report.add("fail", f"{client.url} does not answer: {error}")
    return report


def _open_to_all(client: Client, report: Report, version: str) -> None:
    for path in ("/health/live", "/health/ready"):
        status, _ = client.get(path)
        report.check(status == 200, f"{path} answers 200", f"{path} answers {status}")
    status, answer = client.get("/health")
    if version and status == 200:
        served = answer.get("version")
        report.check(served == version, f"version {version} is served", f"{served} is served, "
                     f"not {version}")
    status, answer = Client(client.url).post("/api/v1/funds", {})
    report.check(
        status in (400, 401, 403), f"a call without a key is refused with {status}",
        f"a call without a key is answered with {status}",
    )
    status, answer = client.get("/api/v1/openapi.json")
    report.check(status == 200 and "paths" in answer, "the API describes itself",
                 f"openapi.json answers {status}")


def _with_key(client: Client, report: Report, account: str, brokers: tuple[str, ...]) -> None:
    status, answer = client.get("/api/v1/brokers")
    if not report.check(status == 200, "the brokers are listed",
                        f"the brokers are not listed: {status} {_words(answer)}"):
        return
    offered = {row["name"]: row for row in answer["data"]}
    for name in brokers:
        row = offered.get(name)
        if report.check(row is not None, f"{name} is offered", f"{name} is not offered"):
            connected = bool(row and row["connected"])
            report.check(connected, f"{name} is connected", f"{name} is not connected")
    accounts = [
        (one["account"], row["master_contract"]["rows"])
        for row in answer["data"] for one in row["accounts"]
        if one["connected"] and account in ("", one["account"])
    ]
    if account and not accounts:
        report.add("fail", f"the account {account} is not connected, or not this key's")
    for label, symbols in accounts:
        _account(client, report, label, has_symbols=bool(symbols))


def _account(client: Client, report: Report, label: str, *, has_symbols: bool) -> None:
    for route in READS:
        began = time.monotonic()
        status, answer = client.post(f"/api/v1/{route}", {"account": label})
        spent = (time.monotonic() - began) * 1000
        good = status == 200 and answer.get("status") == "success"
        report.check(good, f"{label}: {route} ({spent:.0f} ms)",
                     f"{label}: {route} answers {status}: {_words(answer)}")
    if not has_symbols:
        report.add("warn", f"{label}: no symbols, so no quote was asked for")
        return
    status, answer = client.post("/api/v1/quotes", {"account": label, **_SYMBOL})
    report.check(status == 200, f"{label}: a quote of {_SYMBOL['symbol']}",
                 f"{label}: quotes answers {status}: {_words(answer)}", warn=status == 501)


def _words(answer: Any) -> str:
    return str(answer.get("message", "")) if isinstance(answer, dict) else ""
