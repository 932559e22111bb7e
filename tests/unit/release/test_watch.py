"""The watch over a fresh release: what takes it back, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.release.watch import BY_HAND, Watch, connected, open_alarms


class Gateway:
    """Answers of a gateway, and the time that passes between looks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ready = 200
        self.calls: dict[str, float] = {"200": 0.0}
        self.alarms: dict[str, float] = {}
        self.connected = 1
        self.url = "http://127.0.0.1:1"
        self.each_look = lambda: None

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/health/ready":
            if self.ready == 0:
                raise OSError("refused")
            return self.ready, {}
        return 200, {"checks": {"broker:wisdom": {"connected": self.connected}, "database": {}}}

    def text(self, method: str, path: str) -> tuple[int, str]:
        lines = [
            f'openalgo_api_request_seconds_count{{route="x",status="{status}"}} {count}'
            for status, count in self.calls.items()
        ]
        lines += [f'openalgo_alarms_open{{rule="{rule}"}} {n}' for rule, n in self.alarms.items()]
        return 200, "\n".join(lines) + "\n"

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.each_look()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def watch(gateway: Gateway, tmp_path: Path) -> Watch:
    return Watch(
        gateway, tmp_path, tmp_path / "error.log", {"wisdom"}, {"backup_failed"},  # type: ignore[arg-type]
        monotonic=lambda: gateway.now, sleep=gateway.sleep,
    )


def run(watch: Watch, seconds: float = 1800.0) -> str:
    return watch.run(seconds, 10.0, lambda text: None)


def test_a_quiet_half_hour_is_no_reason(watch: Watch, gateway: Gateway) -> None:
    def traffic() -> None:
        gateway.calls["200"] += 50
        gateway.calls["503"] = gateway.calls.get("503", 0.0) + 2  # 4 %

    gateway.each_look = traffic
    began = gateway.now
    assert run(watch) == ""
    assert gateway.now - began == 1800.0


def test_more_than_five_per_cent_for_five_minutes(watch: Watch, gateway: Gateway) -> None:
    def traffic() -> None:
        gateway.calls["200"] += 50
        gateway.calls["500"] = gateway.calls.get("500", 0.0) + 4

    gateway.each_look = traffic
    began = gateway.now
    assert "7.4% of 1620 calls failed within 300 s" in run(watch)
    assert gateway.now - began == 300.0


def test_a_short_burst_and_a_handful_of_calls_are_not_enough(
    watch: Watch, gateway: Gateway
) -> None:
    looks = [0]

    def traffic() -> None:
        looks[0] += 1
        gateway.calls["200"] += 100
        if looks[0] == 3:
            gateway.calls["500"] = 100.0

    gateway.each_look = traffic
    assert run(watch) == ""
    gateway.calls = {"500": 5.0}  # and a worker that counts anew
    gateway.each_look = lambda: None
    assert run(watch, 700.0) == ""


def test_three_times_not_ready_in_a_row(watch: Watch, gateway: Gateway) -> None:
    answers = iter([503, 503, 200, 0, 0, 0])

    def next_answer() -> None:
        gateway.ready = next(answers)

    gateway.each_look = next_answer
    assert run(watch) == "the gateway was not ready 3 times in a row"
    assert list(answers) == []


def test_an_alarm_about_orders_unless_it_was_open_before(watch: Watch, gateway: Gateway) -> None:
    gateway.alarms = {"backup_failed": 1.0, "order_twice": 0.0}
    assert watch.look() == ""
    gateway.alarms["order_twice"] = 1.0
    assert watch.look() == "the alarm order_twice is open"
    watch.before.add("order_twice")
    assert watch.look() == ""
    assert open_alarms(gateway) == {"backup_failed", "order_twice"}  # type: ignore[arg-type]


def test_a_broker_that_was_connected_is_away_for_a_minute(watch: Watch, gateway: Gateway) -> None:
    assert connected(gateway) == {"wisdom"}  # type: ignore[arg-type]
    gateway.connected = 0
    began = gateway.now
    assert run(watch) == "wisdom is disconnected"
    assert gateway.now - began == 60.0


def test_a_damaged_database_in_the_log_of_now(watch: Watch, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    log.write_text("yesterday: database disk image is malformed\n", encoding="utf-8")
    assert watch.look() == ""
    with log.open("a", encoding="utf-8") as stream:
        stream.write("now: database disk image is malformed\n")
    assert "the database is damaged: 'malformed'" in watch.look()


def test_a_person_says_so(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / BY_HAND).touch()
    assert "was made by hand" in run(watch)
