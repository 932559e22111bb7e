"""Sessions against the simulator: what the venue sees is counted there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.base import Broker, Deadline
from broker.errors import BrokerError, LoginFailed, SessionExpired
from broker.models import Exchange, InstrumentRef, Order
from database.engine import Database
from services.session_policy import LoginPolicy
from simulator.testing import ThreadSimulator
from tests.support.simulated import variables
from tests.support.stacks import Stack
from utils.clock import SystemClock

ROOT = Path(__file__).resolve().parents[3]
LOGIN = "POST /user/session"
RELIANCE = InstrumentRef(Exchange.NSE, "2885")


def orders(broker: Broker, deadline: Deadline) -> list[Order]:
    return broker.orders(deadline=deadline)


def logins(sim: ThreadSimulator, profile: str = "jainam-b") -> int:
    return sim.counts(profile).get(LOGIN, 0)


def test_a_login_serves_both_apis(stack: Stack, sim: ThreadSimulator) -> None:
    assert stack.sessions.read(stack.account, orders) == []
    quotes = stack.sessions.read(
        stack.account, lambda broker, by: broker.quotes([RELIANCE], deadline=by)
    )
    assert quotes[RELIANCE].last_price > 0
    status = stack.sessions.status(stack.account)
    assert status.connected
    assert status.user_id == "SIMBPRO1A01"
    assert logins(sim) == 1


@pytest.mark.parametrize(
    "form", ["e-session-0007", "e-token-0001", "e-session-0005", "200", "401"]
)
def test_every_form_of_a_dead_token_is_renewed(
    stack: Stack, sim: ThreadSimulator, form: str
) -> None:
    """XTS reference §3.6; field defect 30."""
    stack.sessions.connection(stack.account)
    before = logins(sim)
    sim.control("config", {"profile": "jainam-b", "quirks": {"dead_token": form}})
    sim.control("sessions/kill", {"profile": "jainam-b", "api": "interactive"})
    assert stack.sessions.read(stack.account, orders) == []
    assert logins(sim) == before + 1


def test_two_processes_and_fifty_threads_make_one_login(
    main_database: Database, tmp_path: Path, sim: ThreadSimulator, stack: Stack
) -> None:
    """Field defect 31: two processes log in with one key and displace each other for ever."""
    sim.control("limits", {"mode": "off"})
    stack.sessions.connection(stack.account)
    before = logins(sim)
    told = json.dumps({
        "database": main_database.url.render_as_string(hide_password=False),
        "folder": str(tmp_path),
        "environment": variables(sim.url, JAINAM_RATE_LIMIT="1000", BROKER_LIMITS="off"),
        "threads": 25,
    })
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.session_worker", told],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        assert logins(sim) == before
        sim.control("sessions/kill", {"profile": "jainam-b", "api": "interactive"})
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        answers = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert answers == [["ok"] * 25] * 2
    assert logins(sim) == before + 1


def test_a_wrong_secret_is_sent_once(
    make_stack: Callable[..., Stack], sim: ThreadSimulator
) -> None:
    before = logins(sim)
    stack = make_stack(JAINAM_INTERACTIVE_API_SECRET="CANARY-wrong-secret")
    for _ in range(5):
        with pytest.raises(LoginFailed, match=r"^Authentication failed: Invalid credentials") as no:
            stack.sessions.read(stack.account, orders)
        assert "CANARY" not in no.value.message
    assert logins(sim) == before + 1
    assert stack.sessions.status(stack.account).logins_today == 1
    assert [alarm.rule for alarm in stack.alarms.list()] == ["login_refused"]


def test_the_second_login_of_another_program_stops_ours_for_good(
    stack: Stack, sim: ThreadSimulator
) -> None:
    """Another program with our key logs in whenever we do (XTS reference §3.5)."""
    stack.sessions._policy = LoginPolicy(backoff_first=0.001)
    broker = stack.sessions.connection(stack.account)
    with pytest.raises(LoginFailed, match="another program uses the same app key"):
        for _ in range(200):
            broker.login()  # displaces the session that is attached
            try:
                stack.sessions.read(stack.account, orders)
            except SessionExpired:
                stack.clock.sleep(0.002)
    status = stack.sessions.status(stack.account)
    assert status.logins_today == 4
    assert not status.connected
    assert [alarm.rule for alarm in stack.alarms.list()] == ["session_displaced"]
    assert stack.sessions.login(stack.account).connected
    assert stack.alarms.list() == []


def test_dead_market_data_leaves_trading_alone(stack: Stack, sim: ThreadSimulator) -> None:
    stack.sessions.connection(stack.account)
    sim.control("sessions/kill", {"profile": "jainam-b", "api": "market"})
    with pytest.raises(LoginFailed, match="Trading works"):
        stack.sessions.read(
            stack.account, lambda broker, by: broker.quotes([RELIANCE], deadline=by)
        )
    assert stack.sessions.read(stack.account, orders) == []
    assert stack.sessions.status(stack.account).logins_today == 1


def test_disconnecting_ends_the_session_at_the_venue(stack: Stack, sim: ThreadSimulator) -> None:
    stack.sessions.connection(stack.account)
    assert len(sim.control("sessions", None, profile="jainam-b")) == 2
    stack.sessions.logout(stack.account)
    assert sim.control("sessions", None, profile="jainam-b") == []
    with pytest.raises(SessionExpired, match="is disconnected"):
        stack.sessions.read(stack.account, orders)


def test_the_self_check_finds_nothing_wrong(stack: Stack) -> None:
    assert stack.sessions.self_check(stack.account) == []


def test_a_server_that_is_away_is_not_hammered(
    make_stack: Callable[..., Stack], sim: ThreadSimulator
) -> None:
    stack = make_stack(JAINAM_BASE_URL="http://127.0.0.1:9", JAINAM_API_TIMEOUT="2")
    errors = []
    for _ in range(5):
        with pytest.raises(BrokerError) as caught:
            stack.sessions.read(stack.account, orders)
        errors.append(type(caught.value).__name__)
    assert errors == ["ConnectFailed"] + ["SessionExpired"] * 4


def test_a_login_that_hangs_holds_nobody_longer_than_they_can_wait(
    stack: Stack, sim: ThreadSimulator
) -> None:
    sim.faults({"route": "POST /user/session", "fault": "hang_before_accept", "seconds": 20})
    began = time.monotonic()
    with pytest.raises(BrokerError):
        stack.sessions.connection(stack.account, Deadline(SystemClock(), 2.0))
    assert time.monotonic() - began < 6.0  # the account's own time-out is 10 s


def test_the_venues_clock_is_held_against_ours(stack: Stack, sim: ThreadSimulator) -> None:
    stack.sessions.connection(stack.account)
    offset = stack.sessions.clock_offset(stack.account)
    assert offset is not None
    assert abs(offset) < 3.0
    sim.control("clock", {"advance_seconds": 100})
    stack.sessions.read(stack.account, orders)
    moved = stack.sessions.clock_offset(stack.account)
    assert moved is not None
    assert 95.0 < moved < 105.0
