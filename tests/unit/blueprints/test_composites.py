"""Several orders in one call: a row a child in request order, and an honest verdict."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from services.order_models import CancelAllResult, ChildResult, ChildStatus

from .conftest import TRADE, FakeGateway

BASE = {"apikey": TRADE, "strategy": "test"}
TERMS = {"symbol": "SBIN", "exchange": "NSE", "action": "BUY", "quantity": "1"}
GOOD, BAD, LOST = ChildStatus.SUCCESS, ChildStatus.ERROR, ChildStatus.UNKNOWN


def child(index: int, status: ChildStatus, code: str = "") -> ChildResult:
    done = status is GOOD
    return ChildResult(
        index=index, symbol="SBIN", exchange="NSE", product="MIS", quantity=10, status=status,
        order_id=f"10{index}" if done else "", reference=f"REF{index}",
        message="" if done else "The broker's words.", code=code,
    )  # fmt: skip


def basket(client: FlaskClient, gateway: FakeGateway, *children: ChildResult) -> Any:
    gateway.baskets.answers["basket"] = list(children)
    orders = [TERMS] * len(children)
    return client.post("/api/v1/basketorder", json=BASE | {"orders": orders})


def test_all_accepted_is_success(client: FlaskClient, gateway: FakeGateway) -> None:
    answer = basket(client, gateway, child(0, GOOD), child(1, GOOD))
    assert answer.status_code == 200
    assert answer.json["status"] == "success"
    assert answer.json["results"][0] == {
        "exchange": "NSE", "orderid": "100", "product": "MIS", "quantity": 10,
        "reference": "REF0", "status": "success", "symbol": "SBIN",
    }  # fmt: skip
    ((_, args, _),) = gateway.baskets.calls
    assert [draft.strategy for draft in args[2]] == ["test", "test"]


def test_some_failed_is_partial(client: FlaskClient, gateway: FakeGateway) -> None:
    answer = basket(client, gateway, child(0, GOOD), child(1, BAD, "refused"), child(2, LOST))
    assert answer.status_code == 200
    assert answer.json["status"] == "partial"
    assert [row["status"] for row in answer.json["results"]] == ["success", "error", "unknown"]
    assert answer.json["results"][2]["reference"] == "REF2"
    assert answer.json["message"] == (
        "1 of 3 orders were accepted. The outcome of 1 is unknown: ask with their references. "
        "First failure: The broker's words."
    )


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        (["refused", "refused"], 400),
        (["refused", "connect_failed"], 503),
        (["broker_disabled"], 409),
        (["something new"], 400),
        ([""], 400),
    ],
)
def test_all_failed_is_an_error_with_the_status_of_a_single_order(
    client: FlaskClient, gateway: FakeGateway, codes: list[str], status: int
) -> None:
    """Field defect 6: close-all said "squared off" when the broker had refused every order."""
    children = [child(index, BAD, code) for index, code in enumerate(codes)]
    answer = basket(client, gateway, *children)
    assert (answer.status_code, answer.json["status"]) == (status, "error")
    assert len(answer.json["results"]) == len(codes)


def test_none_accepted_and_one_unknown_is_unknown(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    answer = basket(client, gateway, child(0, LOST), child(1, BAD, "refused"))
    assert (answer.status_code, answer.json["code"]) == (504, "outcome_unknown")


def test_an_empty_basket_is_a_success(client: FlaskClient, gateway: FakeGateway) -> None:
    assert basket(client, gateway).json["results"] == []


def test_a_split_numbers_its_children(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.baskets.answers["split"] = [child(0, GOOD), child(1, BAD, "refused")]
    body = BASE | TERMS | {"quantity": "15", "splitsize": "10"}
    answer = client.post("/api/v1/splitorder", json=body).json
    assert (answer["status"], answer["total_quantity"], answer["split_size"]) == ("partial", 15, 10)
    assert answer["results"][1] == {
        "code": "refused", "message": "The broker's words.", "order_num": 2, "quantity": 10,
        "reference": "REF1", "status": "error",
    }  # fmt: skip


def test_cancel_all_lists_what_was_cancelled_and_what_not(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    """Field defect 7: open orders stayed open and success was reported."""
    failed = ChildResult(
        1, "SBIN", "NSE", "MIS", 10, BAD, order_id="101", message="No.", code="refused"
    )
    gateway.baskets.answers["cancel_all"] = CancelAllResult([child(0, GOOD), failed])
    answer = client.post("/api/v1/cancelallorder", json=BASE).json
    assert answer["status"] == "partial"
    assert (answer["canceled_orders"], answer["failed_cancellations"]) == (["100"], ["101"])
    assert answer["message"] == "Canceled 1 orders. Failed to cancel 1 orders."
    assert len(answer["results"]) == 2


def test_nothing_to_cancel(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.baskets.answers["cancel_all"] = CancelAllResult([])
    answer = client.post("/api/v1/cancelallorder", json=BASE)
    assert answer.status_code == 200
    assert answer.json["message"] == "Canceled 0 orders. Failed to cancel 0 orders."


def test_close_all_says_squared_off_only_when_it_is(
    client: FlaskClient, gateway: FakeGateway
) -> None:
    gateway.baskets.answers["close_positions"] = [child(0, GOOD)]
    good = client.post("/api/v1/closeposition", json=BASE)
    assert good.json["message"] == "All Open Positions Squared Off"
    gateway.baskets.answers["close_positions"] = [child(0, GOOD), child(1, BAD, "refused")]
    some = client.post("/api/v1/closeposition", json=BASE)
    assert (some.json["status"], "Squared Off" in some.json["message"]) == ("partial", False)
    gateway.baskets.answers["close_positions"] = [child(0, BAD, "refused")]
    none = client.post("/api/v1/closeposition", json=BASE)
    assert none.status_code == 400


@pytest.mark.parametrize("auto_slice", [True, "true", "True"])
def test_auto_slice_splits_what_exceeds_the_freeze_quantity(
    client: FlaskClient, gateway: FakeGateway, auto_slice: object
) -> None:
    gateway.orders.answers["largest"] = 1755
    gateway.baskets.answers["split"] = [child(0, GOOD), child(1, GOOD)]
    body = BASE | TERMS | {"exchange": "NFO", "quantity": 3250, "auto_slice": auto_slice}
    answer = client.post("/api/v1/placeorder", json=body).json
    assert (answer["split_size"], answer["total_quantity"]) == (1755, 3250)


def test_auto_slice_leaves_a_small_order_whole(client: FlaskClient, gateway: FakeGateway) -> None:
    from services.order_models import Placed

    gateway.orders.answers["largest"] = 1755
    gateway.orders.answers["place"] = Placed("REF", "1")
    body = BASE | TERMS | {"exchange": "NFO", "quantity": 65, "auto_slice": True}
    assert client.post("/api/v1/placeorder", json=body).json["orderid"] == "1"
