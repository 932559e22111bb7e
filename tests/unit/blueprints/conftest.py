"""The API on services that are fakes: what HTTP does, with nothing behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import blueprints
from services.access import Principal
from services.errors import NotFoundHere

KEYS = {
    "t" * 64: Principal(1, "trader", False, "trade", key_id=1),
    "r" * 64: Principal(2, "reader", False, "read", key_id=2),
    "a" * 64: Principal(3, "boss", True, "admin", key_id=3),
}
TRADE, READ, ADMIN = KEYS


class Recorder:
    """A fake service: every method call is recorded, and answered by what the test set."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def called(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            answer = self.answers[name]
            if isinstance(answer, BaseException):
                raise answer
            return answer(*args, **kwargs) if callable(answer) else answer

        return called


class Accounts(Recorder):
    """Two accounts, one of which is somebody else's."""

    mine = SimpleNamespace(id=1, label="jainam_prop", broker="jainam_prop", sandbox=True)

    def resolve(self, principal: Principal, label: str | None = None) -> Any:
        from services.errors import Forbidden

        if label == "theirs":
            raise Forbidden("The account 'theirs' is not yours.")
        if label not in (None, "jainam_prop"):
            raise NotFoundHere(f"There is no account '{label}'.")
        return self.mine


def settings(**changes: Any) -> Any:
    """What the HTTP layer reads of the settings."""
    values: dict[str, Any] = {
        "api_rate_limit": "1000000 per second",
        "order_rate_limit": "1000000 per second",
        "smart_order_rate_limit": "1000000 per second",
        "login_rate_limit": "5 per minute",
        "redis_url": None,
        "database_name": "test",
        "web_concurrency": 1,
        "sandbox": True,
        "enable_metrics": True,
        "metrics_token": None,
        "metrics_token_previous": None,
    }
    return SimpleNamespace(**(values | changes))


class FakeGateway:
    """The services that the HTTP layer calls, each a recorder."""

    orders: Recorder
    smart_orders: Recorder
    baskets: Recorder
    portfolio: Recorder
    market_data: Recorder
    symbols: Recorder
    master_contract: Recorder
    sessions: Recorder
    registry: Recorder
    idempotency: Recorder
    health: Recorder
    alarms: Recorder
    live_figures: Recorder
    kill_switch: Recorder
    strategies: Recorder

    def __init__(self, **changes: Any) -> None:
        self.settings = settings(**changes)
        self.state_dir = Path("/nonexistent")
        self.access = SimpleNamespace(authenticate_key=KEYS.get)
        self.accounts = Accounts()
        for name in FakeGateway.__annotations__:
            setattr(self, name, Recorder())

    def forget(self) -> None:
        """As new: nothing was called, and no answer is set."""
        for service in vars(self).values():
            if isinstance(service, Recorder):
                service.calls.clear()
                service.answers.clear()

    def everything_called(self) -> list[str]:
        """Which methods of the services were called."""
        return [
            f"{name}.{call[0]}"
            for name, service in vars(self).items()
            if isinstance(service, Recorder)
            for call in service.calls
        ]


@pytest.fixture(scope="session")
def app_and_gateway() -> tuple[Flask, FakeGateway]:
    """Built once: putting the routes together takes longer than most requests."""
    gateway = FakeGateway()
    app = Flask("test")
    blueprints.register(app, gateway, with_operations=True)  # type: ignore[arg-type]
    return app, gateway


@pytest.fixture
def gateway(app_and_gateway: tuple[Flask, FakeGateway]) -> FakeGateway:
    gateway = app_and_gateway[1]
    gateway.forget()
    return gateway


@pytest.fixture
def client(
    app_and_gateway: tuple[Flask, FakeGateway], gateway: FakeGateway
) -> Iterator[FlaskClient]:
    with app_and_gateway[0].test_client() as client:
        yield client
