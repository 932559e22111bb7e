"""Which account downloads a master contract."""

from __future__ import annotations

import pytest

from broker.errors import LoginFailed
from services.account_models import NewAccount
from services.contract_source import AccountSource
from services.errors import BrokerDisabled, NotFoundHere
from tests.support.stacks import Stack
from tests.support.venue import CREDENTIALS, Venue


@pytest.fixture
def source(stack: Stack) -> AccountSource:
    return AccountSource(stack.accounts, stack.sessions)


def add(stack: Stack, label: str, broker: str = "jainam_prop") -> None:
    credentials = {
        name: value.replace("CANARY", label) for name, value in CREDENTIALS.items()
    }
    stack.accounts.add(
        stack.user(f"owner-of-{label}"),
        NewAccount(label=label, broker=broker, credentials=credentials),
    )


def test_what_cannot_be_downloaded_is_said_at_once(stack: Stack, source: AccountSource) -> None:
    source.check("jainam_prop")
    with pytest.raises(NotFoundHere, match="no broker 'nobody'"):
        source.check("nobody")
    stack.accounts.set_broker_enabled("jainam_prop", False, "asha")
    with pytest.raises(BrokerDisabled):
        source.check("jainam_prop")


def test_a_broker_without_an_account_has_nothing_to_download_with(
    stack: Stack, source: AccountSource
) -> None:
    other = next(name for name in stack.accounts._registry.names() if name != "jainam_prop")
    with pytest.raises(NotFoundHere, match="no account to download with"):
        source.check(other)
    with pytest.raises(NotFoundHere, match="no account to download with"):
        source.connect(other)


def test_the_shared_account_comes_first_and_is_logged_in(
    stack: Stack, source: AccountSource, venue: Venue
) -> None:
    add(stack, "prop-c")
    connected = source.connect("jainam_prop")
    assert connected.account.label == "jainam_prop"
    assert connected.session is not None
    assert len(venue.logins) == 1


def test_an_account_that_is_connected_comes_before_one_that_is_not(
    stack: Stack, source: AccountSource, venue: Venue
) -> None:
    add(stack, "prop-c")
    account = stack.accounts.find("prop-c")
    assert account is not None
    stack.sessions.login(account)
    assert source.connect("jainam_prop").account.label == "prop-c"
    assert len(venue.logins) == 1


def test_the_next_one_is_tried_when_one_cannot_log_in(
    stack: Stack, source: AccountSource, venue: Venue
) -> None:
    add(stack, "prop-c")
    venue.failures.append(LoginFailed("wrong secret"))
    assert source.connect("jainam_prop").account.label == "prop-c"


def test_the_first_reason_is_told_when_none_can(
    stack: Stack, source: AccountSource, venue: Venue
) -> None:
    add(stack, "prop-c")
    venue.failures += [LoginFailed("the first reason"), LoginFailed("the second")]
    with pytest.raises(LoginFailed, match="the first reason"):
        source.connect("jainam_prop")


def test_a_dead_session_is_renewed(stack: Stack, source: AccountSource, venue: Venue) -> None:
    connected = source.connect("jainam_prop")
    dead = connected.session
    renewed = source.renew(connected, partial=False)
    assert renewed.session is not None and renewed.session is not dead
    assert len(venue.logins) == 2


def test_an_account_that_was_removed_cannot_be_renewed(
    stack: Stack, source: AccountSource
) -> None:
    add(stack, "prop-c")
    account = stack.accounts.find("prop-c")
    assert account is not None
    stack.sessions.login(account)
    connected = source.connect("jainam_prop")
    stack.accounts.remove(stack.user("root", is_admin=True), "prop-c")
    with pytest.raises(NotFoundHere):
        source.renew(connected, partial=False)
