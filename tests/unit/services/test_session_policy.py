"""When an account may log in by itself (XTS reference §3.5; field defects 30 and 31)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.errors import ConnectFailed, LoginFailed, OutcomeUnknown, SessionExpired
from services.session_policy import (
    CREDENTIALS_REFUSED,
    DISPLACED,
    LoginPolicy,
    LoginState,
)

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)  # Friday, 12:00 in India
POLICY = LoginPolicy()


def half() -> float:
    return 0.5


def test_a_fresh_account_may_log_in() -> None:
    POLICY.check(LoginState(), "prop", NOON)


def test_the_record_survives_the_database() -> None:
    state = POLICY.attempted(LoginState(), NOON, "mark")
    state = POLICY.failed(state, OutcomeUnknown("No answer."), NOON, half)
    assert LoginState.from_json(state.to_json()) == state
    assert LoginState.from_json(None) == LoginState()
    assert state.attempts == 1
    assert state.not_before == NOON + timedelta(seconds=2)


def test_a_disconnected_account_stays_out_until_a_person_connects_it() -> None:
    with pytest.raises(SessionExpired, match=r"'prop' is disconnected\. Connect it"):
        POLICY.check(LoginState(wanted=False), "prop", NOON)
    assert POLICY.forgiven(LoginState(wanted=False)).wanted


def test_a_wrong_secret_is_permanent() -> None:
    refused = LoginFailed("Authentication failed: Invalid credentials")
    state = POLICY.failed(POLICY.attempted(LoginState(), NOON, "m"), refused, NOON, half)
    assert state.rule == CREDENTIALS_REFUSED
    for later in (timedelta(minutes=5), timedelta(days=3)):
        with pytest.raises(LoginFailed, match=r"^Authentication failed: Invalid credentials\. Acc"):
            POLICY.check(state, "prop", NOON + later)
    assert POLICY.next_login(state, None, NOON) is None


def test_other_failures_wait_longer_each_time_up_to_a_bound() -> None:
    state = LoginState()
    waits = []
    for _ in range(12):
        state = POLICY.failed(
            POLICY.attempted(state, NOON, "m"), ConnectFailed("No route."), NOON, half
        )
        assert state.not_before is not None
        waits.append((state.not_before - NOON).total_seconds())
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == 300
    with pytest.raises(SessionExpired) as caught:
        POLICY.check(state, "prop", NOON)
    assert caught.value.retry_after == 300
    assert "No route." in caught.value.message
    POLICY.check(state, "prop", NOON + timedelta(seconds=300))


def test_jitter_spreads_the_waits() -> None:
    error = ConnectFailed("No route.")
    waits = {
        POLICY.failed(LoginState(), error, NOON, lambda chance=chance: chance).not_before
        for chance in (0.0, 0.5, 0.999)
    }
    assert len(waits) == 3


def test_the_venues_retry_after_wins_when_longer() -> None:
    error = OutcomeUnknown("Slow down.", retry_after=90)
    state = POLICY.failed(POLICY.attempted(LoginState(), NOON, "m"), error, NOON, half)
    assert state.not_before == NOON + timedelta(seconds=90)


def test_a_login_that_never_left_does_not_count_for_the_day() -> None:
    state = POLICY.attempted(LoginState(), NOON, "m")
    assert POLICY.failed(state, ConnectFailed("No route."), NOON, half).attempts == 0
    assert POLICY.failed(state, OutcomeUnknown("No answer."), NOON, half).attempts == 1


def test_the_daily_cap_holds_until_the_next_day_in_india() -> None:
    state = LoginState()
    for _ in range(POLICY.daily_cap):
        POLICY.check(state, "prop", NOON)
        state = POLICY.succeeded(POLICY.attempted(state, NOON, "m"))
    with pytest.raises(LoginFailed, match="logged in 20 times today"):
        POLICY.check(state, "prop", NOON)
    before_midnight = datetime(2026, 11, 20, 18, 29, tzinfo=UTC)
    after_midnight = datetime(2026, 11, 20, 18, 31, tzinfo=UTC)
    with pytest.raises(LoginFailed):
        POLICY.check(state, "prop", before_midnight)
    POLICY.check(state, "prop", after_midnight)
    assert POLICY.attempted(state, after_midnight, "m").attempts == 1


def test_sessions_that_die_young_in_a_row_end_the_fight() -> None:
    state = LoginState()
    opened, now = NOON, NOON + timedelta(seconds=5)
    state = POLICY.died(state, opened, now, half)
    POLICY.check(state, "prop", now)
    state = POLICY.died(POLICY.succeeded(state), opened, now, half)
    with pytest.raises(SessionExpired, match="died right after its login"):
        POLICY.check(state, "prop", now)
    state = POLICY.died(POLICY.succeeded(state), opened, now, half)
    state = POLICY.died(POLICY.succeeded(state), opened, now, half)
    assert state.rule == DISPLACED
    with pytest.raises(LoginFailed, match="another program uses the same app key"):
        POLICY.check(state, "prop", now + timedelta(days=1))


def test_a_session_that_lasted_forgets_the_fight() -> None:
    state = LoginState(short_lives=3)
    assert POLICY.died(state, NOON, NOON + timedelta(hours=1), half).short_lives == 0


@pytest.mark.parametrize(
    ("now", "expires", "expected"),
    [
        ("2026-11-20T12:00", None, "2026-11-20T12:00"),  # no session, within hours: now
        ("2026-11-20T12:00", "2026-11-21T05:00", "2026-11-23T08:00"),  # Friday's: Monday
        ("2026-11-19T12:00", "2026-11-20T05:00", "2026-11-20T08:00"),  # Thursday's: Friday
        ("2026-11-20T03:00", None, "2026-11-20T08:00"),
        ("2026-11-20T23:57", None, "2026-11-23T08:00"),
        ("2026-11-21T12:00", None, "2026-11-23T08:00"),
        ("2026-11-20T12:00", "2026-11-20T15:00", "2026-11-20T15:00"),
    ],
)
def test_the_next_login_falls_into_the_brokers_hours(
    now: str, expires: str | None, expected: str
) -> None:
    def india(text: str) -> datetime:
        return datetime.fromisoformat(f"{text}+05:30")

    due = POLICY.next_login(LoginState(), india(expires) if expires else None, india(now))
    assert due == india(expected)
    assert POLICY.next_login(LoginState(wanted=False), None, india(now)) is None


def test_after_the_cap_the_next_login_is_tomorrow() -> None:
    state = LoginState(day=NOON.date(), attempts=POLICY.daily_cap)
    due = POLICY.next_login(state, None, NOON - timedelta(days=0))
    assert due == datetime.fromisoformat("2026-11-23T08:00+05:30")


def test_dead_market_data_alone_costs_few_logins() -> None:
    fresh = LoginState()
    POLICY.check_partial(fresh, "prop", NOON)
    state = POLICY.succeeded(POLICY.attempted(fresh, NOON, "m"))
    with pytest.raises(LoginFailed, match="Trading works") as caught:
        POLICY.check_partial(state, "prop", NOON + timedelta(seconds=100))
    assert caught.value.retry_after == 200
    POLICY.check_partial(state, "prop", NOON + timedelta(seconds=300))
    used = LoginState(day=NOON.date(), attempts=10)
    with pytest.raises(LoginFailed):
        POLICY.check_partial(used, "prop", NOON)
    POLICY.check(used, "prop", NOON)
