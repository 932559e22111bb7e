"""Time: aware, monotonic, and the trading day in India."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from utils.clock import IST, SystemClock, end_of_trading_day, ist, trading_day


def test_now_is_aware_and_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert before <= now <= datetime.now(UTC)


def test_monotonic_time_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_sleep_waits_and_takes_nothing_for_no_time() -> None:
    clock = SystemClock()
    started = clock.monotonic()
    clock.sleep(-5)
    clock.sleep(0)
    clock.sleep(0.01)
    assert 0.01 <= clock.monotonic() - started < 3


def test_the_trading_day_changes_at_midnight_in_india() -> None:
    before = datetime(2026, 3, 31, 18, 29, 59, tzinfo=UTC)
    after = before + timedelta(seconds=1)
    assert trading_day(before) == date(2026, 3, 31)
    assert trading_day(after) == date(2026, 4, 1)
    assert ist(after).isoformat() == "2026-04-01T00:00:00+05:30"


def test_the_end_of_the_trading_day_is_the_next_midnight() -> None:
    moment = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
    assert end_of_trading_day(moment) == datetime(2026, 3, 31, 18, 30, tzinfo=UTC)
    midnight = datetime(2026, 4, 1, tzinfo=IST)
    assert end_of_trading_day(midnight) == datetime(2026, 4, 1, 18, 30, tzinfo=UTC)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        ist(datetime(2026, 4, 1))  # noqa: DTZ001 - the point of the test
