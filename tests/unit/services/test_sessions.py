"""Sessions: one login for everybody, no fight, nothing lost when a process or database goes."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from broker.base import Broker, Deadline
from broker.errors import ConnectFailed, LoginFailed, OutcomeUnknown, Refused, SessionExpired
from broker.models import Funds, Secret
from database.crypto import Vault
from database.engine import Database
from database.errors import DatabaseUnavailable
from services.accounts import NewAccount
from services.errors import BrokerDisabled
from services.session_policy import CAP_REACHED, CREDENTIALS_REFUSED, DISPLACED, LoginPolicy
from tests.support.clocks import ManualClock
from tests.support.stacks import BASE_URL, Stack, environment, settings_of
from tests.support.venue import CREDENTIALS, VENUES, Venue, VenueBroker

OTHER = {name: value.replace("CANARY", "CANARY-other") for name, value in CREDENTIALS.items()}


def funds(broker: Broker, deadline: Deadline) -> Funds:
    return broker.funds(deadline=deadline)


def rules(stack: Stack) -> list[str]:
    return [alarm.rule for alarm in stack.alarms.list()]


def test_the_first_need_logs_in_and_the_next_ones_do_not(stack: Stack, venue: Venue) -> None:
    first = stack.sessions.connection(stack.account)
    assert stack.sessions.connection(stack.account) is first
    assert stack.sessions.read(stack.account, funds).available == Decimal(1)
    assert len(venue.logins) == 1


def test_all_processes_share_one_session(
    stack: Stack, other_process: Stack, venue: Venue
) -> None:
    stack.sessions.connection(stack.account)
    assert other_process.sessions.read(other_process.account, funds).available == Decimal(1)
    assert len(venue.logins) == 1
    mine = stack.sessions.connection(stack.account)
    theirs = other_process.sessions.connection(other_process.account)
    assert mine is not theirs
    assert mine.session == theirs.session


def test_the_hot_path_asks_nobody(
    stack: Stack, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = stack.account
    stack.sessions.connection(account)
    stack.sessions.connection(account)
    monkeypatch.setattr(stack.database, "read", lambda: pytest.fail("a query"))
    monkeypatch.setattr(stack.database, "write", lambda: pytest.fail("a write"))
    assert stack.sessions.connection(account).session is not None


def test_a_dead_token_is_renewed_once_and_the_read_repeated(stack: Stack, venue: Venue) -> None:
    """Field defect 30: nothing logged in again until a person did."""
    stack.sessions.connection(stack.account)
    venue.kill()
    assert stack.sessions.read(stack.account, funds).available == Decimal(2)
    assert len(venue.logins) == 2


def test_a_read_is_repeated_once_and_no_more(stack: Stack, venue: Venue) -> None:
    calls = []

    def always_dead(broker: Broker, deadline: Deadline) -> None:
        calls.append(broker.session)
        raise SessionExpired("Invalid Token")

    with pytest.raises(SessionExpired, match="Invalid Token"):
        stack.sessions.read(stack.account, always_dead)
    assert len(calls) == 2
    assert len(venue.logins) == 2


def test_other_errors_of_a_read_are_not_repeated(stack: Stack, venue: Venue) -> None:
    calls = []

    def refused(broker: Broker, deadline: Deadline) -> None:
        calls.append(1)
        raise Refused("No.")

    with pytest.raises(Refused):
        stack.sessions.read(stack.account, refused)
    assert len(calls) == 1


def test_twenty_threads_that_find_the_token_dead_make_one_login(
    stack: Stack, venue: Venue
) -> None:
    account = stack.account
    stack.sessions.connection(account)
    venue.kill()
    together = threading.Barrier(20)

    def work(_: int) -> Decimal:
        together.wait(10)
        return stack.sessions.read(account, funds).available

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(work, range(20)))
    assert answers == [Decimal(2)] * 20
    assert len(venue.logins) == 2


def test_a_process_that_comes_late_takes_the_session_of_the_faster_one(
    stack: Stack, other_process: Stack, venue: Venue
) -> None:
    """Field defect 31: two processes displaced each other for ever."""
    mine = stack.sessions.connection(stack.account)
    theirs = other_process.sessions.connection(other_process.account)
    dead = theirs.session
    venue.kill()
    stack.sessions.renew(stack.account, mine.session)
    other_process.sessions.renew(other_process.account, dead)
    assert theirs.session == mine.session
    assert theirs.session != dead
    assert len(venue.logins) == 2


def test_another_process_follows_a_new_session_without_an_error(
    stack: Stack, other_process: Stack, venue: Venue, clock: ManualClock
) -> None:
    stack.sessions.connection(stack.account)
    other_process.sessions.connection(other_process.account)
    stack.sessions.login(stack.account, force=True)
    clock.advance(0.6)
    broker = other_process.sessions.connection(other_process.account)
    assert venue.accepts(broker.account, broker.session)


def test_an_expired_session_is_not_used(stack: Stack, venue: Venue, clock: ManualClock) -> None:
    venue.lifetime = timedelta(minutes=10)
    stack.sessions.connection(stack.account)
    clock.advance(601)
    assert not stack.sessions.status(stack.account).connected
    stack.sessions.connection(stack.account)
    assert len(venue.logins) == 2


def test_a_wrong_secret_is_tried_once_for_all_processes(
    stack: Stack, other_process: Stack, venue: Venue, clock: ManualClock
) -> None:
    venue.secret = "another"
    for process in (stack, other_process, stack):
        with pytest.raises(LoginFailed, match=r"^Authentication failed: Invalid credentials"):
            process.sessions.connection(process.account)
    clock.advance(3600)
    with pytest.raises(LoginFailed):
        other_process.sessions.connection(other_process.account)
    assert len(venue.logins) == 1
    assert rules(stack) == [CREDENTIALS_REFUSED]
    status = stack.sessions.status(stack.account)
    assert status.blocked == "Authentication failed: Invalid credentials"
    assert status.next_login is None


def test_a_person_may_try_again_and_success_ends_the_alarm(stack: Stack, venue: Venue) -> None:
    venue.secret = "another"
    with pytest.raises(LoginFailed):
        stack.sessions.login(stack.account)
    venue.secret = None
    assert stack.sessions.login(stack.account).connected
    assert rules(stack) == []


def test_new_credentials_end_the_block(
    stack: Stack, venue: Venue, main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    venue.secret = "corrected"
    with pytest.raises(LoginFailed):
        stack.sessions.connection(stack.account)
    variables = environment(JAINAM_INTERACTIVE_API_SECRET="corrected")
    restarted = Stack(main_database, tmp_path, clock, variables=variables)
    assert restarted.sessions.connection(restarted.account).session is not None
    assert len(venue.logins) == 2


def test_failed_logins_back_off(stack: Stack, venue: Venue, clock: ManualClock) -> None:
    venue.failures = [OutcomeUnknown("No answer."), ConnectFailed("No route.")]
    with pytest.raises(OutcomeUnknown):
        stack.sessions.connection(stack.account)
    for _ in range(5):
        with pytest.raises(SessionExpired) as caught:
            stack.sessions.connection(stack.account)
    assert caught.value.retry_after == pytest.approx(2.0)
    assert len(venue.logins) == 1
    clock.advance(2)
    with pytest.raises(ConnectFailed):
        stack.sessions.connection(stack.account)
    clock.advance(4)
    assert stack.sessions.connection(stack.account).session is not None
    assert len(venue.logins) == 3
    assert rules(stack) == []


def test_the_daily_cap_stops_automatic_logins_with_an_alarm(
    main_database: Database, tmp_path: Path, clock: ManualClock, venue: Venue
) -> None:
    policy = LoginPolicy(daily_cap=2)
    stack = Stack(main_database, tmp_path, clock, policy=policy)
    for _ in range(2):
        stack.sessions.connection(stack.account)
        clock.advance(120)
        venue.kill()
        with pytest.raises(SessionExpired):
            funds(stack.sessions.connection(stack.account), Deadline(clock, 5))
        if len(venue.logins) < 2:
            stack.sessions.read(stack.account, funds)
    with pytest.raises(LoginFailed, match="2 times today"):
        stack.sessions.read(stack.account, funds)
    assert len(venue.logins) == 2
    assert rules(stack) == [CAP_REACHED]
    assert stack.sessions.login(stack.account).logins_today == 3
    assert rules(stack) == []


def test_a_displaced_account_stops_fighting(
    stack: Stack, venue: Venue, clock: ManualClock
) -> None:
    """Somebody else logs in with our key each time that we do (XTS reference §3.5)."""
    refusals: list[Exception] = []
    for _ in range(200):
        try:
            stack.sessions.connection(stack.account)
            venue.kill()
            stack.sessions.read(stack.account, funds)
            venue.kill()
        except (SessionExpired, LoginFailed) as error:
            refusals.append(error)
        clock.advance(5)
    assert len(venue.logins) == 4
    assert isinstance(refusals[-1], LoginFailed)
    assert rules(stack) == [DISPLACED]
    status = stack.sessions.status(stack.account)
    assert "another program uses the same app key" in status.blocked
    assert stack.sessions.login(stack.account).connected


def test_disconnecting_holds_until_a_person_connects_again(
    stack: Stack, other_process: Stack, venue: Venue, clock: ManualClock
) -> None:
    stack.sessions.connection(stack.account)
    other_process.sessions.connection(other_process.account)
    stack.sessions.logout(stack.account)
    assert len(venue.logouts) == 1
    clock.advance(0.6)
    for process in (stack, other_process):
        with pytest.raises(SessionExpired, match="is disconnected"):
            process.sessions.read(process.account, funds)
    assert stack.sessions.keep_alive() == {}
    assert list(stack.sessions.connect_all()) == ["jainam_prop"]
    assert len(venue.logins) == 1
    status = other_process.sessions.status(other_process.account)
    assert (status.connected, status.wanted, status.next_login) == (False, False, None)
    assert other_process.sessions.login(other_process.account).connected
    clock.advance(0.6)
    assert stack.sessions.read(stack.account, funds).available == Decimal(2)


def test_a_logout_that_the_broker_does_not_confirm_still_disconnects(
    stack: Stack, venue: Venue, caplog: pytest.LogCaptureFixture
) -> None:
    stack.sessions.connection(stack.account)
    venue.failures = [ConnectFailed("No route.")]
    stack.sessions.logout(stack.account)
    assert not stack.sessions.status(stack.account).connected
    assert "did not confirm the logout" in caplog.text


def test_connecting_keeps_a_live_session_unless_forced(stack: Stack, venue: Venue) -> None:
    stack.sessions.login(stack.account)
    stack.sessions.login(stack.account)
    assert len(venue.logins) == 1
    stack.sessions.login(stack.account, force=True)
    assert len(venue.logins) == 2


def test_a_disabled_broker_gets_no_new_session_but_keeps_todays(
    stack: Stack, venue: Venue, clock: ManualClock
) -> None:
    stack.sessions.connection(stack.account)
    stack.accounts.set_broker_enabled("jainam_prop", False, "root")
    venue.kill()
    clock.advance(120)
    assert stack.sessions.read(stack.account, funds).available == Decimal(2)
    with pytest.raises(BrokerDisabled):
        stack.sessions.login(stack.account)
    clock.advance(24 * 3600)
    with pytest.raises(BrokerDisabled):
        stack.sessions.connection(stack.account)
    assert len(venue.logins) == 2


def test_the_status_tells_what_people_ask(
    stack: Stack, venue: Venue, clock: ManualClock
) -> None:
    before = stack.sessions.status(stack.account)
    assert (before.connected, before.user_id, before.logins_today) == (False, "", 0)
    stack.sessions.connection(stack.account)
    status = stack.sessions.status(stack.account)
    assert status.connected
    assert status.user_id == "DEALER1"
    assert status.opened_at == clock.now()
    assert status.expires_at == clock.now() + venue.lifetime
    assert status.next_login is not None
    assert status.next_login >= status.expires_at
    assert status.last_error is None
    assert status.logins_today == 1


def test_what_has_expired_is_renewed_on_schedule(
    stack: Stack, venue: Venue, clock: ManualClock
) -> None:
    assert stack.sessions.connect_all() == {}
    assert stack.sessions.keep_alive() == {}
    assert len(venue.logins) == 1
    clock.advance(11 * 3600)  # 23:00 in India: over, and within hours
    assert stack.sessions.keep_alive() == {}
    assert len(venue.logins) == 2
    clock.advance(11 * 3600)  # Saturday
    assert stack.sessions.keep_alive() == {}
    assert len(venue.logins) == 2


@pytest.mark.parametrize("works", [True, False])
def test_a_session_of_other_settings_is_replaced_and_never_traded_with(
    stack: Stack, venue: Venue, tmp_path: Path, clock: ManualClock, *, works: bool
) -> None:
    """A restart with another key must not send orders to the account of before."""
    stack.sessions.connection(stack.account)
    before = stack.sessions.connection(stack.account).session
    changed = {f"JAINAM_{name.upper()}": value for name, value in OTHER.items()}
    if not works:
        changed["JAINAM_INTERACTIVE_API_SECRET"] = "CANARY-wrong"
    restarted = Stack(stack.database, tmp_path, clock, variables={**environment(), **changed})
    for _ in range(2):  # whoever is not the one to replace it neither uses it nor fights for it
        with pytest.raises(SessionExpired, match="other settings"):
            restarted.sessions.connection(restarted.account)
    assert len(venue.logins) == 1
    restarted.sessions.keep_alive()
    assert venue.logins[-1] == changed["JAINAM_INTERACTIVE_API_KEY"]
    assert restarted.sessions.status(restarted.account).connected is works
    if works:
        assert restarted.sessions.connection(restarted.account).session != before
        clock.advance(1)  # until the process of before looks at the switches again
        with pytest.raises(SessionExpired, match="other settings"):
            stack.sessions.connection(stack.account)
    count = len(venue.logins)
    restarted.sessions.keep_alive()
    assert len(venue.logins) == count


def test_a_person_connects_with_the_settings_of_now(
    stack: Stack, venue: Venue, tmp_path: Path, clock: ManualClock
) -> None:
    stack.sessions.connection(stack.account)
    changed = {f"JAINAM_{name.upper()}": value for name, value in OTHER.items()}
    restarted = Stack(stack.database, tmp_path, clock, variables={**environment(), **changed})
    assert restarted.sessions.login(restarted.account).connected
    assert venue.logins[-1] == changed["JAINAM_INTERACTIVE_API_KEY"]
    assert restarted.sessions.connection(restarted.account).session is not None


def test_one_account_that_fails_does_not_keep_the_others_out(
    stack: Stack, venue: Venue
) -> None:
    root = stack.user("root", is_admin=True)
    wrong = {**OTHER, "interactive_api_secret": "wrong-secret"}
    stack.accounts.add(root, NewAccount("bad", "jainam_prop", wrong, base_url=BASE_URL))
    good = {name: value.replace("CANARY", "good") for name, value in CREDENTIALS.items()}
    last = stack.accounts.add(root, NewAccount("good", "jainam_prop", good, base_url=BASE_URL))
    errors = stack.sessions.connect_all()
    assert set(errors) == {"bad"}
    assert stack.sessions.status(stack.account).connected
    assert stack.sessions.status(last).connected


def test_two_accounts_never_mix(stack: Stack) -> None:
    """Card C10 at this level: each account has its own adapter, session and venue."""
    VENUES["http://127.0.0.1:2"] = Venue()
    root = stack.user("root", is_admin=True)
    second = stack.accounts.add(
        root, NewAccount("prop-c", "jainam_prop", OTHER, base_url="http://127.0.0.1:2")
    )
    assert second.base_url == "http://127.0.0.1:2"
    first = stack.account
    # JAINAM_BASE_URL is the default of every account of the broker; the account's own one wins
    brokers = [stack.sessions.connection(account) for account in (first, second)]
    assert brokers[0].account.label == "jainam_prop"
    assert brokers[1].account.label == "prop-c"
    tokens = {
        broker.session.tokens["interactive"].reveal()
        for broker in brokers if broker.session is not None
    }
    assert len(tokens) == 2
    VENUES[BASE_URL].kill()
    stack.sessions.read(second, funds)
    assert len(VENUES["http://127.0.0.1:2"].logins) == 1
    stack.sessions.read(first, funds)
    assert len(VENUES[BASE_URL].logins) == 2
    stack.sessions.logout(first)
    assert stack.sessions.status(second).connected


def test_a_changed_account_gets_a_new_adapter(
    stack: Stack, venue: Venue, main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    before = stack.sessions.connection(stack.account)
    stack.accounts.add(stack.user(), NewAccount("prop-c", "jainam_prop", OTHER))
    assert stack.sessions.connection(stack.account) is before
    stack.settings = settings_of(**environment(JAINAM_RATE_LIMIT="3"))
    stack.accounts._sections = {}
    stack.accounts._settings = stack.settings
    stack.flags.bump("version.accounts", "test")
    after = stack.sessions.connection(stack.account)
    assert after is not before
    assert after.account.orders_per_second == 3
    stack.sessions.close()
    assert isinstance(before, VenueBroker)
    assert isinstance(after, VenueBroker)
    assert before.closed
    assert after.closed
    assert len(venue.logins) == 1


def test_waiting_for_somebody_elses_login_is_bounded(
    stack: Stack, venue: Venue, clock: ManualClock
) -> None:
    account = stack.account
    venue.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(stack.sessions.connection, account)
        while not venue.logins:
            assert not slow.done()
        with pytest.raises(SessionExpired, match="being logged in") as caught:
            stack.sessions.connection(account, Deadline(clock, 0.05))
        assert caught.value.retry_after == 1.0
        venue.gate.set()
        assert slow.result(10).session is not None
    assert len(venue.logins) == 1


def test_another_process_that_logs_in_makes_us_wait_and_no_longer_than_we_may(
    stack: Stack, other_process: Stack, venue: Venue, clock: ManualClock
) -> None:
    mark = stack.accounts.mark(stack.config())
    with (
        other_process.locks.lock(f"login:{mark}", 1.0),
        pytest.raises(SessionExpired, match="being logged in"),
    ):
        stack.sessions.connection(stack.account, Deadline(clock, 0.5))
    assert venue.logins == []


def test_a_session_goes_on_while_the_database_is_down(
    stack: Stack, venue: Venue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = stack.account
    stack.sessions.connection(account)
    stack.flags.bump("version.sessions", "test")

    def down() -> None:
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(stack.database, "read", down)
    monkeypatch.setattr(stack.database, "write", down)
    assert stack.sessions.connection(account).session is not None


def test_tokens_sealed_with_another_secret_key_mean_a_new_login(
    stack: Stack, venue: Venue, main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    stack.sessions.connection(stack.account)
    restarted = Stack(main_database, tmp_path, clock)
    restarted.sessions._store._vault = Vault("another secret key of 32 characters")
    assert restarted.sessions.connection(restarted.account).session is not None
    assert len(venue.logins) == 2


def test_a_restart_uses_the_stored_session(
    stack: Stack, venue: Venue, main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    stack.sessions.connection(stack.account)
    restarted = Stack(main_database, tmp_path, clock)
    assert restarted.sessions.read(restarted.account, funds).available == Decimal(1)
    assert len(venue.logins) == 1


def test_dead_market_data_never_costs_the_session_that_trades(
    stack: Stack, venue: Venue, clock: ManualClock
) -> None:
    """Somebody fights for the market-data key alone: orders go on with the session they have."""
    account = stack.account
    stack.sessions.connection(account)
    clock.advance(600)

    def quotes(broker: Broker, deadline: Deadline) -> None:
        raise SessionExpired("Invalid Token", partial=True)

    venue.failures = [ConnectFailed("No route.")]
    with pytest.raises(ConnectFailed):
        stack.sessions.read(account, quotes)
    assert stack.sessions.read(account, funds).available == Decimal(2)
    clock.advance(600)
    with pytest.raises(SessionExpired):
        stack.sessions.read(account, quotes)
    assert len(venue.logins) == 3
    for _ in range(20):
        with pytest.raises(LoginFailed, match="Trading works"):
            stack.sessions.read(account, quotes)
    assert stack.sessions.read(account, funds).available == Decimal(3)
    assert len(venue.logins) == 3
    assert stack.sessions.status(account).connected
    assert rules(stack) == []


def test_the_self_check_passes_on_what_is_wrong(stack: Stack, venue: Venue) -> None:
    venue.faults = ["The trade book can't be read."]
    assert stack.sessions.self_check(stack.account) == ["The trade book can't be read."]


def test_connecting_checks_what_can_be_read(stack: Stack, venue: Venue) -> None:
    venue.faults = ["The trade book can't be read."]
    assert stack.sessions.login(stack.account).connected
    assert [alarm.message for alarm in stack.alarms.list()] == venue.faults
    venue.faults = []
    stack.sessions.login(stack.account, force=True)
    assert rules(stack) == []


def test_no_secret_is_stored_or_logged_in_the_open(
    stack: Stack, venue: Venue, caplog: pytest.LogCaptureFixture, main_database: Database
) -> None:
    """Field defect 35."""
    caplog.set_level(logging.DEBUG)
    stack.sessions.connection(stack.account)
    venue.kill()
    stack.sessions.read(stack.account, funds)
    held = stack.sessions.connection(stack.account)
    seen = [
        caplog.text, repr(held.session), repr(held.account), str(stack.config()),
        repr(stack.sessions.status(stack.account)), repr(stack.account),
        repr(NewAccount("x", "jainam_prop", CREDENTIALS)), repr(stack.access), repr(stack.vault),
        repr(replace(stack.config(), credentials={"x": Secret("CANARY-x")})),
    ]
    assert all("CANARY" not in text for text in seen)
    assert main_database.is_sqlite
    path = main_database.url.database
    assert path is not None
    main_database.dispose()
    for name in (path, f"{path}-wal"):
        if Path(name).exists():
            assert b"CANARY" not in Path(name).read_bytes()


# Within the time of the request ------------------------------------------------------------------


def test_a_login_is_bounded_by_the_request_that_waits_for_it(
    stack: Stack, venue: Venue, clock: ManualClock
) -> None:
    stack.sessions.connection(stack.account, Deadline(clock, 3.0))
    assert venue.login_times == [3.0]
    venue.kill()
    session = stack.sessions.connection(stack.account).session
    with pytest.raises(SessionExpired, match="no time was left to log in"):
        stack.sessions.renew(stack.account, session, Deadline(clock, 0.9))
    assert len(venue.logins) == 1  # not begun: it would have cost a login for nothing
    stack.sessions.renew(stack.account, session, Deadline(clock, 5.0))
    assert venue.login_times == [3.0, 5.0]
    stack.sessions.login(stack.account, force=True)
    assert venue.login_times[-1] is None  # a person waits as long as the account's time-out
