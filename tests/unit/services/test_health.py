"""What the gateway says of its own health."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from database.errors import DatabaseUnavailable
from services.health import Health, HealthService
from tests.support.clocks import ManualClock


class Database:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def ping(self) -> None:
        if self.error:
            raise self.error


def status(connected: bool, wanted: bool = True, last_error: str | None = None) -> Any:
    return SimpleNamespace(connected=connected, wanted=wanted, last_error=last_error)


def service(
    *statuses: Any, database: Any = None, alarms: Any = (), ping_redis: Any = None,
    circuits: Any = None,
) -> HealthService:
    accounts = [SimpleNamespace(broker="jainam_prop", status=one) for one in statuses]
    return HealthService(
        database or Database(),  # type: ignore[arg-type]
        ManualClock(),
        SimpleNamespace(all=lambda: accounts),  # type: ignore[arg-type]
        SimpleNamespace(  # type: ignore[arg-type]
            status=lambda account: account.status, circuits=lambda name: circuits or {}
        ),
        SimpleNamespace(list=lambda: list(alarms)),  # type: ignore[arg-type]
        ping_redis,
    )


def details(health: Health) -> dict[str, Any]:
    return {check.name: check.detail for check in health.checks}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (status(True), "ok"),
        (status(False), "ok"),  # never needed yet
        (status(False, wanted=False, last_error="gone"), "ok"),  # somebody disconnected it
        (status(False, last_error="The secret is wrong."), "degraded"),
    ],
)
def test_a_broker_that_should_be_connected_and_is_not_degrades(one: Any, expected: str) -> None:
    health = service(one).check()
    assert health.status == expected
    assert health.serves


def test_accounts_are_counted_by_broker() -> None:
    found = details(service(status(True), status(False)).check())
    assert found["broker:jainam_prop"] == {"accounts": 2, "connected": 1}


@pytest.mark.parametrize(
    ("state", "expected"), [("closed", "ok"), ("half_open", "degraded"), ("open", "degraded")]
)
def test_a_broker_that_does_not_answer_degrades(state: str, expected: str) -> None:
    states = {"interactive": state, "market_data": "closed"}
    health = service(status(True), circuits=states).check()
    assert (health.status, health.serves) == (expected, True)
    assert details(health)["circuit:jainam_prop"] == states


def test_an_open_alarm_degrades() -> None:
    health = service(status(True), alarms=["one"]).check()
    assert (health.status, details(health)["alarms"]) == ("degraded", {"open": 1})


def test_without_the_database_nothing_is_served_and_no_detail_leaks() -> None:
    health = service(database=Database(DatabaseUnavailable("at /secret/path"))).check()
    assert (health.status, health.serves) == ("unavailable", False)
    assert "/secret" not in str(details(health))


def test_redis_decides_where_it_is_configured() -> None:
    def down() -> None:
        raise ConnectionError

    assert service(ping_redis=lambda: None).check_storage().serves
    assert not service(ping_redis=down).check_storage().serves


def test_a_database_that_goes_while_it_is_looked_at() -> None:
    broken = service(status(True))

    def fail() -> list[Any]:
        raise DatabaseUnavailable("gone")

    broken._alarms = SimpleNamespace(list=fail)  # type: ignore[assignment]
    assert broken.check().status == "unavailable"
