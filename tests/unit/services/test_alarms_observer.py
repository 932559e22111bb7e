"""Alarms and what adapters see: rows, metrics, logs, and no flood."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import REGISTRY

from database.errors import DatabaseUnavailable
from services.observer import BrokerObserver
from tests.support.clocks import ManualClock
from tests.support.stacks import Stack


def open_alarms(rule: str) -> float | None:
    return REGISTRY.get_sample_value("openalgo_alarms_open", {"rule": rule})


def test_an_alarm_is_a_row_a_metric_and_an_error_in_the_log(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    assert stack.alarms.open("fire", "prop", "It burns.")
    assert not stack.alarms.open("fire", "prop", "It burns more.")
    assert stack.alarms.open("fire", "other", "It burns too.")
    assert [r.levelname for r in caplog.records if "fire" in r.message] == ["ERROR", "ERROR"]
    assert open_alarms("fire") == 2
    assert [(a.subject, a.message) for a in stack.alarms.list()] == [
        ("prop", "It burns more."), ("other", "It burns too.")
    ]
    assert stack.alarms.close("fire", "prop")
    assert not stack.alarms.close("fire", "prop")
    assert open_alarms("fire") == 1
    assert stack.alarms.close("fire", "other")
    assert open_alarms("fire") == 0
    assert [a.closed_at is None for a in stack.alarms.history()] == [False, False]


def test_the_metric_counts_what_another_process_opened(
    stack: Stack, other_process: Stack
) -> None:
    other_process.alarms.open("flood", "a", "Water.")
    other_process.alarms.open("flood", "b", "Water.")
    stack.alarms.export()
    assert open_alarms("flood") == 2


def test_an_alarm_that_cannot_be_stored_is_still_logged(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def down() -> None:
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(stack.database, "write", down)
    monkeypatch.setattr(stack.database, "read", down)
    assert not stack.alarms.open("fire", "prop", "It burns.")
    assert not stack.alarms.close("fire", "prop")
    stack.alarms.export()
    assert "alarm fire of prop (not stored): It burns." in caplog.text


def test_calls_become_metrics_and_failures_log_lines(
    stack: Stack, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    observer = BrokerObserver(stack.alarms, clock)
    caplog.set_level(logging.DEBUG)
    observer.call("seen-1", "place", "ok", 0.05)
    observer.call("seen-1", "place", "outcome_unknown", 7.0)
    observer.waited("seen-1", "place", 0.2)
    labels = {"account": "seen-1", "operation": "place"}
    for outcome, seconds in [("ok", 0.05), ("outcome_unknown", 7.0)]:
        name = "openalgo_broker_call_seconds_sum"
        assert REGISTRY.get_sample_value(name, {**labels, "outcome": outcome}) == seconds
    assert REGISTRY.get_sample_value("openalgo_broker_wait_seconds_sum", labels) == 0.2
    [line] = [r for r in caplog.records if r.levelname == "WARNING"]
    assert line.message == "place of seen-1 ended as outcome_unknown after 7000.0 ms"


def test_an_anomaly_opens_one_alarm_and_is_told_once_a_minute(
    stack: Stack, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Field defect 7 and house rule 7: a state never seen is loud."""
    observer = BrokerObserver(stack.alarms, clock)
    for _ in range(50):
        observer.anomaly("prop", "order_state", "The state 'Exotic' is not known.")
    assert len([r for r in caplog.records if "Exotic" in r.message]) == 2
    [alarm] = stack.alarms.list()
    assert alarm.subject == "prop: order_state"
    clock.advance(61)
    observer.anomaly("prop", "order_state", "The state 'Exotic' is not known.")
    assert len([r for r in caplog.records if "anomaly" in r.message]) == 3
    name = "openalgo_broker_anomalies_total"
    assert REGISTRY.get_sample_value(name, {"account": "prop", "what": "order_state"}) == 51


def test_the_alarm_of_an_anomaly_ends_when_it_is_seen_no_more(
    stack: Stack, clock: ManualClock
) -> None:
    observer = BrokerObserver(stack.alarms, clock)
    observer.anomaly("prop", "order_state", "The state 'Exotic' is not known.")
    clock.advance(3000)
    observer.anomaly("prop", "order_state", "The state 'Exotic' is not known.")
    stack.alarms.open("other", "prop", "Something else.")
    clock.advance(3000)
    assert observer.forget_quiet() == 0
    clock.advance(700)
    assert observer.forget_quiet() == 1
    assert [alarm.rule for alarm in stack.alarms.list()] == ["other"]
