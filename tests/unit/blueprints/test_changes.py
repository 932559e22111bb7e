"""Modify and cancel: every term is passed on, and the account is found by the order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import blueprints
from blueprints.limits import login_limit
from broker.models import OrderType, Product, Side
from services.order_models import Placed

from .conftest import TRADE, Accounts, FakeGateway

MODIFY: dict[str, Any] = {
    "apikey": TRADE, "strategy": "s", "symbol": "SBIN", "exchange": "NSE", "orderid": "1001",
    "action": "SELL", "product": "CNC", "pricetype": "SL", "price": "99.5", "quantity": "7",
    "disclosed_quantity": "1", "trigger_price": "100",
}  # fmt: skip


def test_a_modification_carries_every_term(client: FlaskClient, gateway: FakeGateway) -> None:
    gateway.orders.answers["modify"] = Placed("REF", "1001", warnings=("Mind the gap.",))
    answer = client.post("/api/v1/modifyorder", json=MODIFY)
    assert answer.json == {
        "orderid": "1001", "reference": "REF", "sandbox": True, "status": "success",
        "warnings": ["Mind the gap."],
    }  # fmt: skip
    ((_, args, _),) = gateway.orders.calls
    _, account, order_id, draft = args
    assert (account, order_id) == (None, "1001")
    assert (draft.symbol, draft.exchange, draft.side) == ("SBIN", "NSE", Side.SELL)
    assert (draft.order_type, draft.product) == (OrderType.STOP_LIMIT, Product.CNC)
    assert (draft.price, draft.trigger_price) == (Decimal("99.5"), Decimal(100))
    assert (draft.quantity, draft.disclosed_quantity, draft.strategy) == (7, 1, "s")


@pytest.mark.parametrize("named", [False, True])
def test_a_cancellation_names_an_account_or_leaves_it_to_the_order(
    client: FlaskClient, gateway: FakeGateway, named: bool
) -> None:
    gateway.orders.answers["cancel"] = Placed("REF", "1001")
    body = {"apikey": TRADE, "strategy": "s", "orderid": "1001"}
    extra = {"account": "jainam_prop"} if named else {}
    assert client.post("/api/v1/cancelorder", json=body | extra).status_code == 200
    ((_, args, kwargs),) = gateway.orders.calls
    assert args[1] is (Accounts.mine if named else None)
    assert kwargs["strategy"] == "s"


def test_without_services_they_are_built_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway
) -> None:
    monkeypatch.setattr("services.gateway.Gateway", lambda settings: gateway)
    monkeypatch.setattr("utils.config.load_settings", lambda: "settings")
    assert blueprints.register(Flask("bare")) is gateway


def test_logins_are_limited_by_address_and_only_when_posted() -> None:
    app = Flask("login")
    blueprints.register(app, FakeGateway(login_rate_limit="2 per minute"))  # type: ignore[arg-type]

    @app.route("/login", methods=["GET", "POST"])
    @login_limit
    def login() -> str:
        return "form"

    client = app.test_client()
    assert [client.get("/login").status_code for _ in range(5)] == [200] * 5
    codes = [client.post("/login") for _ in range(3)]
    assert [answer.status_code for answer in codes] == [200, 200, 429]
    assert int(codes[-1].headers["Retry-After"]) >= 1
    elsewhere = {"REMOTE_ADDR": "203.0.113.9"}
    assert client.post("/login", environ_base=elsewhere).status_code == 200
