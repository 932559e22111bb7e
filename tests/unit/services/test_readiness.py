"""Ready to trade: what is looked at, when, and when it becomes an alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from database.engine import Database
from services.readiness import NOT_READY, ReadinessService
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, TradingBroker
from tests.support.venue import VENUES
from utils.clock import IST


@dataclass
class Contracts:
    """A master contract that is as old as the test says."""

    stale: bool = False
    rows: int = 9_496
    state: str = "ready"

    def status(self, broker: str) -> Contracts:
        return self

    def is_stale(self, broker: str) -> bool:
        return self.stale


@pytest.fixture
def trader(
    main_database: Database, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Trader:
    VENUES.clear()
    monkeypatch.setattr(TradingBroker, "clock_offset", lambda self: 0.4)
    return Trader(main_database, tmp_path, clock)


@pytest.fixture
def contracts() -> Contracts:
    return Contracts()


@pytest.fixture
def ready(trader: Trader, contracts: Any) -> ReadinessService:
    stack = trader.stack
    return ReadinessService(
        stack.accounts, stack.sessions, contracts, trader.desk.books, stack.alarms, stack.clock
    )


def test_an_account_is_ready_when_all_four_are_as_they_must_be(
    trader: Trader, ready: ReadinessService
) -> None:
    found = ready.check(trader.account)
    assert found.ready
    assert [(check.name, check.detail) for check in found.checks] == [
        ("session", "Connected until 22:00 on 20-Nov-2026 IST."),
        ("master contract", "9,496 instruments of today."),
        ("funds", "₹1,000.00 are available."),
        ("clock", "Our clock and the broker's agree."),
    ]


def _no_session(trader: Trader, contracts: Contracts, patch: pytest.MonkeyPatch) -> None:
    trader.stack.sessions.logout(trader.account)


def _old_contract(trader: Trader, contracts: Contracts, patch: pytest.MonkeyPatch) -> None:
    contracts.stale, contracts.state = True, "stale"


def _no_funds(trader: Trader, contracts: Contracts, patch: pytest.MonkeyPatch) -> None:
    trader.venue.script("funds", "fail")


def _fast_clock(trader: Trader, contracts: Contracts, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TradingBroker, "clock_offset", lambda self: -61.0)


def _no_clock(trader: Trader, contracts: Contracts, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TradingBroker, "clock_offset", lambda self: None)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_session, "is disconnected. Connect it to use it."),
        (_old_contract, "The master contract of 'jainam_prop' is not today's: it is stale."),
        (_no_funds, "HTML page"),
        (_fast_clock, "The broker's clock is 61 seconds behind ours: set this machine's clock"),
        (_no_clock, "has not said what time it is"),
    ],
)
def test_what_is_missing_is_said(
    trader: Trader, ready: ReadinessService, contracts: Contracts,
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[..., None], words: str,
) -> None:
    spoil(trader, contracts, monkeypatch)
    found = ready.check(trader.account)
    assert not found.ready
    assert words in found.problems


def at(clock: ManualClock, hour: int, minute: int, day: int = 23) -> None:
    moment = datetime(2026, 11, day, hour, minute, tzinfo=IST)
    clock.advance((moment - clock.now()).total_seconds())


def test_it_is_an_alarm_at_nine_that_an_account_is_not_ready(
    trader: Trader, ready: ReadinessService, contracts: Contracts, clock: ManualClock
) -> None:
    contracts.stale = True
    at(clock, 8, 54)
    assert ready.look() == []
    for minute in range(55, 60):
        at(clock, 8, minute)
        assert [one.ready for one in ready.look()] == [False]
        assert trader.alarms() == []
    at(clock, 9, 0)
    ready.look()
    (alarm,) = trader.stack.alarms.list()
    assert (alarm.rule, alarm.subject) == (NOT_READY, "jainam_prop")
    assert "not ready to trade. The master contract" in alarm.message
    contracts.stale = False
    at(clock, 9, 1)
    assert [one.ready for one in ready.look()] == [True]
    assert trader.alarms() == []
    reads = trader.venue.calls("funds")
    at(clock, 9, 2)
    assert ready.look() == []  # once a day is enough
    assert trader.venue.calls("funds") == reads
    at(clock, 8, 56, day=24)
    assert len(ready.look()) == 1  # another day, another look


def test_nobody_expects_an_account_that_a_person_disconnected_or_a_day_off(
    trader: Trader, ready: ReadinessService, clock: ManualClock
) -> None:
    at(clock, 9, 10, day=22)  # a Sunday
    assert ready.look() == []
    at(clock, 9, 10)
    trader.stack.sessions.logout(trader.account)
    assert ready.look() == []
    trader.stack.sessions.login(trader.account)
    trader.stack.accounts.set_broker_enabled("jainam_prop", False, "asha")
    assert ready.look() == []
    at(clock, 15, 31)
    assert ready.look() == []
