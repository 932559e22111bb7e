"""Health and metrics: what is open, what wants a key or a token, what decides a 503."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

import blueprints
from services.health import Check, Health
from utils.version import VERSION

from .conftest import READ, FakeGateway

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
UP = Check("database", True, True, {"status": "up"})
DOWN = Check("database", False, True, {"status": "down"})
BROKER_DOWN = Check("broker:jainam_prop", False, False, {"accounts": 1, "connected": 0})
ELSEWHERE = {"REMOTE_ADDR": "203.0.113.9"}


def served(gateway: FakeGateway, *checks: Check) -> FlaskClient:
    gateway.health.answers["check"] = Health(NOW, checks)
    gateway.health.answers["check_storage"] = Health(NOW, checks)
    gateway.live_figures.answers["exposition"] = b"# HELP one"
    app = Flask("test")
    blueprints.register(app, gateway, with_operations=True)  # type: ignore[arg-type]
    return app.test_client()


def test_live_is_open_and_asks_nobody(gateway: FakeGateway) -> None:
    client = served(gateway, DOWN)
    assert client.get("/health/live", environ_base=ELSEWHERE).json == {"status": "ok"}
    assert gateway.everything_called() == []


@pytest.mark.parametrize(
    ("checks", "code"), [((UP,), 200), ((UP, BROKER_DOWN), 200), ((DOWN,), 503)]
)
def test_ready_is_decided_by_the_storage_and_tells_no_detail(
    gateway: FakeGateway, checks: tuple[Check, ...], code: int
) -> None:
    answer = served(gateway, *checks).get("/health/ready", environ_base=ELSEWHERE)
    assert answer.status_code == code
    assert list(answer.get_json()) == ["status"]


@pytest.mark.parametrize(
    ("checks", "code", "status"),
    [((UP,), 200, "ok"), ((UP, BROKER_DOWN), 200, "degraded"), ((DOWN,), 503, "unavailable")],
)
def test_health_tells_everything_on_this_machine(
    gateway: FakeGateway, checks: tuple[Check, ...], code: int, status: str
) -> None:
    answer = served(gateway, *checks).get("/health")
    assert answer.status_code == code
    body = answer.json
    assert (body["status"], body["version"]) == (status, VERSION)
    assert body["timestamp"] == "2026-11-20T04:00:00.000+00:00"
    assert body["sandbox"] is True
    assert body["checks"] == {check.name: check.detail for check in checks}


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [("", {}, 403), ("?apikey=wrong", {}, 403), (f"?apikey={READ}", {}, 200),
     ("", {"X-API-KEY": READ}, 200)],
)  # fmt: skip
def test_from_elsewhere_health_wants_a_key(
    gateway: FakeGateway, query: str, headers: dict[str, str], code: int
) -> None:
    client = served(gateway, UP)
    answer = client.get(f"/health{query}", headers=headers, environ_base=ELSEWHERE)
    assert answer.status_code == code


def test_guessing_keys_at_health_is_limited() -> None:
    client = served(FakeGateway(api_rate_limit="2 per minute"), UP)
    codes = [client.get("/health?apikey=x", environ_base=ELSEWHERE).status_code for _ in range(3)]
    assert codes == [403, 403, 429]


@pytest.mark.parametrize(
    ("token", "address", "header", "code"),
    [
        (None, "127.0.0.1", "", 200),
        (None, "203.0.113.9", "", 403),
        (None, "203.0.113.9", "Bearer ", 403),
        ("t0ken", "203.0.113.9", "Bearer wrong", 403),
        ("t0ken", "203.0.113.9", "Bearer t0ken", 200),
        ("t0ken", "203.0.113.9", "", 403),
        ("t0ken", "127.0.0.1", "", 200),
    ],
)
def test_who_reads_the_metrics(token: str | None, address: str, header: str, code: int) -> None:
    changes: dict[str, Any] = {"metrics_token": SecretStr(token) if token else None}
    client = served(FakeGateway(**changes), UP)
    answer = client.get(
        "/metrics", headers={"Authorization": header}, environ_base={"REMOTE_ADDR": address}
    )
    assert answer.status_code == code
    if code == 200:
        assert b"# HELP" in answer.data


def test_the_token_of_before_reads_them_while_it_is_rotated() -> None:
    client = served(
        FakeGateway(metrics_token=SecretStr("n3w"), metrics_token_previous=SecretStr("0ld")), UP
    )
    for token, code in (("n3w", 200), ("0ld", 200), ("", 403), ("other", 403)):
        answer = client.get(
            "/metrics", headers={"Authorization": f"Bearer {token}"},
            environ_base={"REMOTE_ADDR": "203.0.113.9"},
        )
        assert answer.status_code == code


def test_metrics_can_be_switched_off() -> None:
    client = served(FakeGateway(enable_metrics=False), UP)
    assert client.get("/metrics").status_code == 404


def test_without_operations_their_paths_stay_free(gateway: FakeGateway) -> None:
    app = Flask("test")
    blueprints.register(app, gateway)  # type: ignore[arg-type]
    assert app.test_client().get("/health/live").status_code == 404
