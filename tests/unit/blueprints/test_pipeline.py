"""What every request passes: limit, JSON, fields, key, right, account, and how it is answered."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import blueprints
from broker.errors import ALL_ERRORS, InvalidOrder, OutcomeUnknown
from database.errors import DatabaseUnavailable
from services.errors import ALL_SERVICE_ERRORS, DuplicateInFlight, InvalidRequest
from services.order_models import Placed

from .conftest import ADMIN, READ, TRADE, FakeGateway

ORDER: dict[str, Any] = {
    "apikey": TRADE, "strategy": "test", "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY",
    "quantity": "1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def accepted(gateway: FakeGateway) -> None:
    gateway.orders.answers["place"] = Placed("REF1", "1001")


def test_an_order_comes_through_with_its_answer(client: FlaskClient, gateway: FakeGateway) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER)
    assert answer.status_code == 200
    assert answer.json == {
        "orderid": "1001", "reference": "REF1", "sandbox": True, "status": "success",
    }  # fmt: skip
    ((_, args, kwargs),) = gateway.orders.calls
    assert args[2].symbol == "RELIANCE"
    assert args[2].quantity == 1
    assert kwargs["provenance"].request_id == answer.headers["X-Request-ID"]


def test_out_of_the_sandbox_no_answer_says_sandbox() -> None:
    gateway = FakeGateway(sandbox=False)
    gateway.orders.answers["place"] = Placed("REF1", "1001")
    app = Flask("live")
    blueprints.register(app, gateway)  # type: ignore[arg-type]
    body = app.test_client().post("/api/v1/placeorder", json=ORDER).text
    assert "sandbox" not in body


@pytest.mark.parametrize("path", ["/api/v1/placeorder", "/api/v1/placeorder/"])
def test_both_forms_of_a_path_answer_directly(client: FlaskClient, path: str) -> None:
    assert client.post(path, json=ORDER).status_code == 200


def test_keys_of_answers_come_sorted(client: FlaskClient) -> None:
    text = client.post("/api/v1/placeorder", json=ORDER).get_data(as_text=True)
    keys = list(json.loads(text))
    assert keys == sorted(keys)


# Keys, rights and accounts ---------------------------------------------------------------------


def test_the_key_may_come_in_the_header(client: FlaskClient) -> None:
    body = {name: value for name, value in ORDER.items() if name != "apikey"}
    answer = client.post("/api/v1/placeorder", json=body, headers={"X-API-KEY": TRADE})
    assert answer.status_code == 200


@pytest.mark.parametrize("key", ["x" * 64, "é", "' OR 1=1 --", "0"])
def test_a_wrong_key_is_403(client: FlaskClient, gateway: FakeGateway, key: str) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER | {"apikey": key})
    assert (answer.status_code, answer.json["message"]) == (403, "Invalid openalgo apikey")
    assert gateway.everything_called() == []


def test_no_key_is_400_and_names_the_field(client: FlaskClient) -> None:
    body = {name: value for name, value in ORDER.items() if name != "apikey"}
    answer = client.post("/api/v1/placeorder", json=body)
    assert answer.status_code == 400
    assert answer.json["errors"] == {"apikey": ["Missing data for required field."]}


def test_a_bad_field_comes_before_a_bad_key(client: FlaskClient) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER | {"apikey": "x", "quantity": "-1"})
    assert answer.status_code == 400


def test_a_read_key_may_not_trade(client: FlaskClient, gateway: FakeGateway) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER | {"apikey": READ})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert gateway.everything_called() == []


def test_a_trade_key_may_not_administer(client: FlaskClient, gateway: FakeGateway) -> None:
    answer = client.post("/api/v1/master_contract/jainam_prop", json={"apikey": TRADE})
    assert answer.status_code == 403
    assert gateway.everything_called() == []


def test_somebody_elses_account_is_403(client: FlaskClient, gateway: FakeGateway) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER | {"account": "theirs"})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert gateway.everything_called() == []


def test_an_unknown_account_is_404(client: FlaskClient) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER | {"account": "none"})
    assert answer.status_code == 404


# Limits ----------------------------------------------------------------------------------------


def limited_client(**limits: str) -> tuple[FlaskClient, FakeGateway]:
    gateway = FakeGateway(**limits)
    gateway.orders.answers["place"] = Placed("REF1", "1001")
    app = Flask("limited")
    blueprints.register(app, gateway)  # type: ignore[arg-type]
    return app.test_client(), gateway


def test_above_the_limit_a_429_says_when_to_come_back() -> None:
    """Field defect 36: OpenAlgo's 429 has no `status` and no `Retry-After`."""
    client, gateway = limited_client(order_rate_limit="2 per minute")
    codes = [client.post("/api/v1/placeorder", json=ORDER).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    answer = client.post("/api/v1/placeorder", json=ORDER)
    assert answer.json["status"] == "error"
    assert answer.json["code"] == "rate_limit"
    assert answer.json["message"].startswith("Rate limit exceeded: 2 per minute.")
    assert 1 <= int(answer.headers["Retry-After"]) <= 120
    assert len(gateway.orders.calls) == 2


def test_limits_are_counted_by_verified_key_not_by_address() -> None:
    client, _ = limited_client(order_rate_limit="1 per minute")
    assert client.post("/api/v1/placeorder", json=ORDER).status_code == 200
    assert client.post("/api/v1/placeorder", json=ORDER | {"apikey": ADMIN}).status_code == 200
    assert client.post("/api/v1/placeorder", json=ORDER).status_code == 429


def test_wrong_keys_share_the_limit_of_their_address() -> None:
    client, _ = limited_client(order_rate_limit="2 per minute")
    codes = [
        client.post("/api/v1/placeorder", json=ORDER | {"apikey": f"guess{n}"}).status_code
        for n in range(3)
    ]
    assert codes == [403, 403, 429]


def test_the_limit_comes_before_what_is_wrong_with_the_request() -> None:
    client, _ = limited_client(order_rate_limit="1 per minute")
    assert client.post("/api/v1/placeorder", json=ORDER | {"quantity": "x"}).status_code == 400
    assert client.post("/api/v1/placeorder", json=ORDER | {"quantity": "x"}).status_code == 429


# Request ids and timing ------------------------------------------------------------------------


def test_a_request_id_is_taken_over(client: FlaskClient, gateway: FakeGateway) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER, headers={"X-Request-ID": "abc-123"})
    assert answer.headers["X-Request-ID"] == "abc-123"
    assert gateway.orders.calls[0][2]["provenance"].request_id == "abc-123"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 65, "<script>", "é"])
def test_a_bad_request_id_is_replaced(client: FlaskClient, bad: str) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER, headers={"X-Request-ID": bad})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_server_timing_tells_queue_broker_and_ours(client: FlaskClient) -> None:
    header = client.post("/api/v1/placeorder", json=ORDER).headers["Server-Timing"]
    names = [part.split(";")[0].strip() for part in header.split(",")]
    assert names == ["queue", "broker", "ours", "total"]


# Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_every_broker_error_has_its_status(
    client: FlaskClient, gateway: FakeGateway, kind: type
) -> None:
    gateway.orders.answers["place"] = kind("The broker's words.")
    answer = client.post("/api/v1/placeorder", json=ORDER)
    assert answer.status_code == kind.http_status  # type: ignore[attr-defined]
    assert answer.json["status"] == "error"
    assert answer.json["code"] == kind.kind  # type: ignore[attr-defined]
    assert answer.json["message"] == "The broker's words."
    assert answer.json["sandbox"] is True


@pytest.mark.parametrize("kind", ALL_SERVICE_ERRORS, ids=lambda kind: kind.__name__)
def test_every_service_error_has_its_status(
    client: FlaskClient, gateway: FakeGateway, kind: type
) -> None:
    gateway.orders.answers["place"] = kind("Words that stand alone.")
    answer = client.post("/api/v1/placeorder", json=ORDER)
    assert answer.status_code == kind.http_status  # type: ignore[attr-defined]
    assert answer.json["message"] == "Words that stand alone."


def test_an_unknown_outcome_gives_the_reference_to_ask_with(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    error = OutcomeUnknown("It is not known whether the order was taken. Reference REF9.")
    error.reference = "REF9"
    gateway.orders.answers["place"] = error
    answer = client.post("/api/v1/placeorder", json=ORDER)
    assert answer.status_code == 504
    assert answer.json["reference"] == "REF9"
    assert answer.json["order_status"] == "unknown"


def test_a_retry_time_becomes_the_header(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.orders.answers["place"] = ALL_ERRORS[2]("busy", retry_after=1.2)
    assert client.post("/api/v1/placeorder", json=ORDER).headers["Retry-After"] == "2"


def test_faults_by_field_are_passed_on(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.orders.answers["place"] = InvalidOrder("Too small.", field="quantity")
    assert client.post("/api/v1/placeorder", json=ORDER).json["errors"] == {
        "quantity": ["Too small."]
    }
    gateway.orders.answers["place"] = InvalidRequest("Too big.", field="quantity")
    assert client.post("/api/v1/placeorder", json=ORDER).json["errors"] == {
        "quantity": ["Too big."]
    }


def test_a_failing_database_is_503(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.orders.answers["place"] = DatabaseUnavailable("disk full at /var/lib")
    answer = client.post("/api/v1/placeorder", json=ORDER)
    assert (answer.status_code, answer.json["code"]) == (503, "storage_unavailable")
    assert "/var/lib" not in answer.get_data(as_text=True)


def test_a_fault_of_ours_tells_the_request_id_and_nothing_else(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    gateway.orders.answers["place"] = RuntimeError("secret detail")
    answer = client.post("/api/v1/placeorder", json=ORDER)
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] in answer.json["message"]
    text = answer.get_data(as_text=True)
    assert "secret detail" not in text
    assert "Traceback" not in text


# Elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/margin", "/api/v1/a/b/c", "/api/v1"])
def test_an_unknown_path_is_flat_json(client: FlaskClient, path: str) -> None:
    answer = client.post(path, json={})
    assert answer.status_code == 404
    assert answer.json["status"] == "error"
    assert answer.json["path"] == path or path == "/api/v1"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_is_405_and_says_which_is_right(client: FlaskClient, method: str) -> None:
    answer = client.open("/api/v1/placeorder", method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json["status"] == "error"


def test_an_idempotency_key_runs_the_call_once(client: FlaskClient, gateway: FakeGateway) -> None:
    from services.idempotency import Answer

    seen: list[Any] = []

    def run(principal: Any, account: Any, key: str, fingerprint: str, produce: Any, describe: Any,
            *, way_out: bool, repeatable: bool) -> Answer:  # fmt: skip
        assert not (way_out or repeatable)
        seen.append((key, fingerprint))
        return Answer(*produce("FIXED"), replayed=len(seen) > 1)

    gateway.idempotency.answers["run"] = run
    first = client.post("/api/v1/placeorder", json=ORDER | {"client_order_id": "mine-1"})
    assert "Idempotency-Replayed" not in first.headers
    second = client.post(
        "/api/v1/placeorder", json=ORDER | {"quantity": 1}, headers={"Idempotency-Key": "mine-1"}
    )
    assert second.headers["Idempotency-Replayed"] == "true"
    assert seen[0] == seen[1]
    assert [call[2]["provenance"].reference for call in gateway.orders.calls] == ["FIXED", "FIXED"]


def test_a_duplicate_in_flight_is_409_with_the_reference(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    gateway.idempotency.answers["run"] = DuplicateInFlight("Wait.", reference="REF2")
    answer = client.post("/api/v1/placeorder", json=ORDER | {"client_order_id": "mine-1"})
    assert (answer.status_code, answer.json["reference"]) == (409, "REF2")


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "é"])
def test_a_bad_idempotency_header_is_400(
    client: FlaskClient, gateway: FakeGateway, key: str
) -> None:
    answer = client.post("/api/v1/placeorder", json=ORDER, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert gateway.everything_called() == []
