"""What HTTP adds: keys and rights, idempotency, the journal, contracts, limits, both brokers."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .conftest import Api

ORDER: dict[str, Any] = {
    "strategy": "http test", "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY",
    "quantity": "1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def begin(api: Api) -> None:
    api.begin()


def order_of(api: Api, reference: str) -> dict[str, Any]:
    answer = api.http.get(f"/api/v1/orders/{reference}", headers={"X-API-KEY": api.key})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_an_order_is_followed_by_reference_id_and_own_name(api: Api) -> None:
    name = secrets.token_hex(8)
    placed = api.post("placeorder", **ORDER, client_order_id=name)
    body = placed.json()
    for key in (body["reference"], body["orderid"], name):
        found = order_of(api, key)["order"]
        assert found["reference"] == body["reference"]
    journal = order_of(api, name)
    assert journal["order"]["request_id"] == placed.headers["X-Request-ID"]
    assert [event["state"] for event in journal["events"]][-1] == "accepted"
    (truth,) = api.truth()
    assert truth["tag"] == journal["order"]["tag"]


def test_the_request_id_runs_through(api: Api) -> None:
    answer = api.http.post(
        "/api/v1/placeorder",
        json={"apikey": api.key, **ORDER},
        headers={"X-Request-ID": "from-the-client-1"},
    )
    assert answer.headers["X-Request-ID"] == "from-the-client-1"
    order = order_of(api, answer.json()["reference"])["order"]
    assert order["request_id"] == "from-the-client-1"


def test_server_timing_counts_the_broker(api: Api) -> None:
    timing = api.post("placeorder", **ORDER).headers["Server-Timing"]
    spent = dict(part.strip().split(";dur=") for part in timing.split(","))
    assert float(spent["broker"]) > 0
    assert float(spent["total"]) >= float(spent["broker"])


# Idempotency -----------------------------------------------------------------------------------


def test_fifty_threads_with_one_key_make_one_order(api: Api) -> None:
    key = secrets.token_hex(8)
    answers: list[httpx.Response] = []

    def send() -> None:
        with httpx.Client(base_url=api.served.url, timeout=30, trust_env=False) as client:
            answers.append(
                client.post(
                    "/api/v1/placeorder",
                    json={"apikey": api.key, **ORDER},
                    headers={"Idempotency-Key": key},
                )
            )

    threads = [threading.Thread(target=send) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(api.truth()) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    ids = {answer.json()["orderid"] for answer in answers if answer.status_code == 200}
    assert len(ids) == 1


def test_a_key_answers_again_and_refuses_another_body(api: Api) -> None:
    key = secrets.token_hex(8)
    first = api.post("placeorder", **ORDER, client_order_id=key)
    again = api.post("placeorder", **(ORDER | {"quantity": 1.0}), client_order_id=key)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = api.post("placeorder", **(ORDER | {"quantity": "2"}), client_order_id=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert len(api.truth()) == 1


def test_a_refused_request_does_not_use_its_key_up(api: Api) -> None:
    key = secrets.token_hex(8)
    bad = api.post("placeorder", **(ORDER | {"symbol": "NOSUCH"}), client_order_id=key)
    assert bad.status_code == 400
    assert api.post("placeorder", **ORDER, client_order_id=key).status_code == 200


def test_a_basket_is_repeated_as_a_whole(api: Api) -> None:
    key = secrets.token_hex(8)
    rows = [{k: v for k, v in ORDER.items() if k != "strategy"}] * 2
    body = {"strategy": "s", "orders": rows, "client_order_id": key}
    first = api.post("basketorder", **body).json()
    assert api.post("basketorder", **body).json() == first
    assert len(api.truth()) == 2


# Keys and accounts -----------------------------------------------------------------------------


def test_a_read_key_reads_and_does_not_trade(api: Api) -> None:
    key = api.served.new_key("boss", "read")
    assert api.http.post("/api/v1/orderbook", json={"apikey": key}).status_code == 200
    answer = api.http.post("/api/v1/placeorder", json={"apikey": key, **ORDER})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert api.truth() == []


def test_a_revoked_key_is_wrong_within_a_second(api: Api) -> None:
    made = api.served.flask("api-key", "create", "boss", "--scope", "read", "--name", "gone")
    key = made.strip()
    assert api.http.post("/api/v1/ping", json={"apikey": key}).status_code == 200
    listed = api.served.flask("api-key", "list", "--json")
    import json

    (number,) = (row["id"] for row in json.loads(listed) if row["name"] == "gone")
    api.served.flask("api-key", "revoke", str(number))
    import time

    deadline = time.monotonic() + 1.5
    while (status := api.http.post("/api/v1/ping", json={"apikey": key}).status_code) == 200:
        assert time.monotonic() < deadline
    assert status == 403


def test_somebody_elses_account_is_403(api: Api) -> None:
    api.served.flask("users", "create", "other", "--password-stdin",
                     stdin="a long password 1\n")  # fmt: skip
    stranger = api.served.new_key("other", "trade")
    import json

    logins = api.simulator.control("credentials")["jainam-b"]
    login = next(one for one in logins if one["label"] == "pro2")
    credentials = {
        f"{api_name}_api_{part}": login[f"{api_name}_{part}"]
        for api_name in ("interactive", "market")
        for part in ("key", "secret")
    }
    api.served.flask(
        "accounts", "add", "mine", "--broker", "jainam_prop", "--user", "boss",
        "--credentials-stdin", stdin=json.dumps(credentials) + "\n",
    )  # fmt: skip
    answer = api.http.post(
        "/api/v1/placeorder", json={"apikey": stranger, **ORDER, "account": "mine"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert api.truth() == []
    own = api.post("placeorder", **ORDER, account="mine")
    assert own.status_code == 200, own.text


# Brokers and contracts -------------------------------------------------------------------------


def test_both_brokers_trade_side_by_side_and_never_mix(api: Api) -> None:
    api.served.flask("master-contract", "download", "wisdom", "--if-stale")
    before = len(api.simulator.orders("generic-json"))
    there = api.post("placeorder", **ORDER, account="wisdom")
    here = api.post("placeorder", **ORDER, account="jainam_prop")
    assert (there.status_code, here.status_code) == (200, 200), there.text + here.text
    assert len(api.truth()) == 1
    assert len(api.simulator.orders("generic-json")) == before + 1
    ids = {
        account: {row["orderid"] for row in
                  api.post("orderbook", account=account).json()["data"]["orders"]}
        for account in ("wisdom", "jainam_prop")
    }  # fmt: skip
    assert there.json()["orderid"] in ids["wisdom"]
    assert there.json()["orderid"] not in ids["jainam_prop"]


def test_cancel_finds_the_account_by_the_order(api: Api) -> None:
    api.served.flask("master-contract", "download", "wisdom", "--if-stale")
    ltp = api.post("quotes", symbol="RELIANCE", exchange="NSE").json()["data"]["ltp"]
    resting = ORDER | {"pricetype": "LIMIT", "price": round(ltp * 0.93, 1), "account": "wisdom"}
    placed = api.post("placeorder", **resting).json()
    answer = api.post("cancelorder", strategy="s", orderid=placed["orderid"])
    assert answer.status_code == 200, answer.text
    status = api.post("orderstatus", strategy="s", orderid=placed["orderid"]).json()
    assert status["data"]["order_status"] == "cancelled"


def test_a_disabled_broker_takes_no_entries_and_lets_out(api: Api) -> None:
    ltp = api.post("quotes", symbol="RELIANCE", exchange="NSE").json()["data"]["ltp"]
    resting = ORDER | {"pricetype": "LIMIT", "price": round(ltp * 0.93, 1)}
    placed = api.post("placeorder", **resting).json()
    api.served.flask("brokers", "disable", "jainam_prop")
    try:
        import time

        deadline = time.monotonic() + 2
        while (answer := api.post("placeorder", **ORDER)).status_code == 200:
            assert time.monotonic() < deadline
        assert (answer.status_code, answer.json()["code"]) == (409, "broker_disabled")
        names = [one["name"] for one in api.http.get(
            "/api/v1/brokers", headers={"X-API-KEY": api.key}).json()["data"]]  # fmt: skip
        assert "jainam_prop" not in names
        everything = api.http.get(
            "/api/v1/brokers?all=true", headers={"X-API-KEY": api.key}
        ).json()["data"]
        assert {one["name"]: one["enabled"] for one in everything}["jainam_prop"] is False
        assert api.post("master_contract/jainam_prop").status_code == 409
        assert api.post("orderbook").status_code == 200
        assert api.post("cancelorder", strategy="s", orderid=placed["orderid"]).status_code == 200
    finally:
        api.served.flask("brokers", "enable", "jainam_prop")
    deadline = time.monotonic() + 2
    while api.post("placeorder", **ORDER).status_code != 200:
        assert time.monotonic() < deadline


def test_the_kill_switch_stops_entries_and_squares_off(api: Api) -> None:
    """Over HTTP: an admin key turns it, any key asks, and everything is closed and reported."""
    assert api.post("closeposition", strategy="http").status_code == 200
    assert api.post("placeorder", **ORDER | {"quantity": "5"}).status_code == 200
    read = api.served.new_key("boss", "read")
    assert api.http.post(
        "/api/v1/killswitch", json={"apikey": read, "state": "on"}
    ).status_code == 403
    wrong = api.post("killswitch", state="off", square_off=True)
    assert (wrong.status_code, list(wrong.json()["errors"])) == (400, ["square_off"])
    try:
        turned = api.post("killswitch", state="on", square_off="true").json()
        assert (turned["status"], turned["data"]["state"]) == ("success", "on")
        (report,) = [
            row for row in turned["data"]["square_off"] if row["account"] == "jainam_prop"
        ]
        assert [(row["symbol"], row["quantity"]) for row in report["closed"]] == [("RELIANCE", 5)]
        assert report["done"] is True
        refused = api.post("placeorder", **ORDER)
        assert (refused.status_code, refused.json()["code"]) == (409, "broker_disabled")
        asked = api.http.get("/api/v1/killswitch", headers={"X-API-KEY": read}).json()["data"]
        assert (asked["state"], bool(asked["changed_by"])) == ("on", True)
    finally:
        assert api.post("killswitch", state="off").json()["data"]["state"] == "off"
    assert api.post("placeorder", **ORDER).status_code == 200


def test_a_contract_is_loaded_on_demand_and_told_about(api: Api) -> None:
    answer = api.post("master_contract/jainam_prop", wait=True)
    assert answer.status_code == 200, answer.text
    job = answer.json()["data"]
    assert job["state"] == "done"
    headers = {"X-API-KEY": api.key}
    status = api.http.get("/api/v1/master_contract/jainam_prop", headers=headers).json()["data"]
    assert status["rows"] == job["report"]["rows"] > 1000
    assert status["history"][0]["job"] == job["job"]
    one = api.http.get(f"/api/v1/master_contract/jainam_prop/{job['job']}", headers=headers)
    assert one.json()["data"]["state"] == "done"


def test_a_contract_begins_with_202(api: Api) -> None:
    first = api.post("master_contract/jainam_prop")
    assert first.status_code == 202
    second = api.post("master_contract/jainam_prop")
    assert second.status_code == 202
    api.post("master_contract/jainam_prop", wait=True)


# Limits ----------------------------------------------------------------------------------------


def test_workers_count_inbound_limits_together(serve: Callable[..., Api]) -> None:
    """Field defect 36."""
    api = serve(environ={"WEB_CONCURRENCY": "3", "API_RATE_LIMIT": "20 per minute"})
    codes = []
    for _ in range(40):
        with httpx.Client(base_url=api.served.url, trust_env=False) as client:
            codes.append(client.post("/api/v1/ping", json={"apikey": api.key}).status_code)
    assert codes.count(200) == 20
    refused = api.post("ping")
    assert refused.status_code == 429
    assert refused.json()["code"] == "rate_limit"
    assert 1 <= int(refused.headers["Retry-After"]) <= 120
    metrics = api.http.get("/metrics").text
    assert 'status="429"' in metrics


@pytest.mark.timeout(240)
def test_the_kill_switch_reaches_every_worker_within_a_second(serve: Callable[..., Api]) -> None:
    """Turned on the command line, obeyed by both workers a second later."""
    api = serve(environ={"WEB_CONCURRENCY": "2"}, contracts=("jainam_prop",))
    pids = {worker.pid for worker in api.served.gateway.workers()}
    assert len(pids) == 2
    order = {"apikey": api.key, **ORDER}

    def answer() -> int:
        with httpx.Client(base_url=api.served.url, trust_env=False) as fresh:  # a connection each
            return fresh.post("/api/v1/placeorder", json=order).status_code

    assert answer() == 200
    api.served.flask("kill", "on")
    turned = time.monotonic()
    while time.monotonic() - turned < 1.0:
        answer()  # what both workers know of the switch is as old as it can be
    before = len(api.simulator.orders(api.profile))
    assert {answer() for _ in range(12)} == {409}
    assert len(api.simulator.orders(api.profile)) == before


def test_health_and_metrics_of_a_served_gateway(api: Api) -> None:
    assert api.http.get("/health/live").json() == {"status": "ok"}
    assert api.http.get("/health/ready").status_code == 200
    health = api.http.get("/health").json()
    assert health["checks"]["database"]["status"] == "up"
    assert health["sandbox"] is True
    text = api.http.get("/metrics").text
    assert "openalgo_broker_call_seconds" in text
    assert "openalgo_alarms_open" in text
    assert 'openalgo_api_request_seconds_count{route="/placeorder",status="200"}' in text
    assert 'flask_http_request_duration_seconds_count{' in text
    assert 'route="/health"' in text
    assert 'route="/api' not in text


def test_the_document_is_open(api: Api) -> None:
    document = api.http.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
