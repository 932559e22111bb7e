"""The blueprints on somebody else's Flask application: theirs stays as it is, ours works."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from flask_wtf import CSRFProtect

import blueprints
from services.order_models import Placed

from .conftest import TRADE, FakeGateway

ORDER = {
    "apikey": TRADE, "strategy": "test", "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY",
    "quantity": "1",
}  # fmt: skip


JSON: dict[str, Any] = {"data": json.dumps(ORDER), "content_type": "application/json"}


class TheirJson(DefaultJSONProvider):
    """A provider that our answers must not go through."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return super().dumps({"theirs": obj}, **kwargs)


@pytest.fixture
def theirs() -> Flask:
    """An application with CSRF, a log-in, error pages, a JSON provider, health and metrics."""
    app = Flask("theirs")
    app.config.update(SECRET_KEY="theirs" * 8, JSON_SORT_KEYS=False)
    app.json = TheirJson(app)
    CSRFProtect(app)

    @app.before_request
    def login() -> tuple[str, int] | None:
        open_paths = request.path.startswith(("/api/v1", "/public", "/nowhere"))
        return None if open_paths else ("log in first", 401)

    @app.errorhandler(404)
    def not_found(error: Exception) -> tuple[str, int]:
        return "their 404", 404

    @app.errorhandler(Exception)
    def failed(error: Exception) -> tuple[str, int]:
        return "their 500", 500

    @app.get("/health")
    def health() -> str:
        return "their health"

    @app.get("/public/data")
    def data() -> Response:
        return jsonify(b=1, a=2)

    @app.post("/public/form")
    def form() -> str:
        return "posted"

    return app


@pytest.fixture
def gateway() -> FakeGateway:
    gateway = FakeGateway()
    gateway.orders.answers["place"] = Placed("REF1", "1001")
    return gateway


def everything_of(app: Flask) -> dict[str, Any]:
    """What an application has that a plug-in could disturb."""
    return {
        "json": app.json,
        "config": dict(app.config),
        "before": {k: list(v) for k, v in app.before_request_funcs.items() if k is None},
        "after": {k: list(v) for k, v in app.after_request_funcs.items() if k is None},
        "teardown": {k: list(v) for k, v in app.teardown_request_funcs.items() if k is None},
        "errors": {code: dict(v) for code, v in app.error_handler_spec[None].items()},
        "wsgi": app.wsgi_app,
        "jinja": app.jinja_env.globals.keys(),
        "template": list(app.template_context_processors[None]),
        "extensions": {k: v for k, v in app.extensions.items() if k != "openalgo_brokers"},
    }


def test_mounting_changes_nothing_of_theirs(theirs: Flask, gateway: FakeGateway) -> None:
    before = everything_of(theirs)
    blueprints.register(theirs, gateway)  # type: ignore[arg-type]
    assert everything_of(theirs) == before


def test_the_api_works_beside_their_csrf_and_login(theirs: Flask, gateway: FakeGateway) -> None:
    blueprints.register(theirs, gateway)  # type: ignore[arg-type]
    answer = theirs.test_client().post("/api/v1/placeorder", **JSON)
    assert answer.status_code == 200
    assert answer.json["orderid"] == "1001"


def test_the_api_answers_its_own_errors(theirs: Flask, gateway: FakeGateway) -> None:
    gateway.orders.answers["place"] = RuntimeError("boom")
    blueprints.register(theirs, gateway)  # type: ignore[arg-type]
    client = theirs.test_client()
    assert client.post("/api/v1/placeorder", **JSON).json["code"] == "internal_error"
    assert client.post("/api/v1/nowhere", **JSON).json["code"] == "not_found"
    assert client.post("/api/v1/placeorder", data="x").json["status"] == "error"


def test_their_pages_stay_theirs(theirs: Flask, gateway: FakeGateway) -> None:
    blueprints.register(theirs, gateway)  # type: ignore[arg-type]
    client = theirs.test_client()
    assert client.get("/nowhere").get_data() == b"their 404"
    assert client.get("/health").status_code == 401
    assert client.get("/public/data").json == {"theirs": {"a": 2, "b": 1}}
    assert client.post("/public/form").get_data() == b"their 500"  # CSRF refuses, they handle it


def test_another_prefix(theirs: Flask, gateway: FakeGateway) -> None:
    theirs.before_request_funcs.clear()
    blueprints.register(theirs, gateway, prefix="/plugins/trading/")  # type: ignore[arg-type]
    client = theirs.test_client()
    assert client.post("/plugins/trading/placeorder/", **JSON).status_code == 200
    assert client.post("/api/v1/placeorder", **JSON).get_data() == b"their 404"
    document = client.get("/plugins/trading/openapi.json").json
    assert "/plugins/trading/placeorder" in document["paths"]


def test_two_applications_have_their_own_services() -> None:
    answers = []
    for name in ("one", "two"):
        gateway = FakeGateway()
        gateway.orders.answers["place"] = Placed("R", name)
        app = Flask(name)
        blueprints.register(app, gateway)  # type: ignore[arg-type]
        answers.append(app.test_client().post("/api/v1/placeorder", **JSON).json["orderid"])
    assert answers == ["one", "two"]
