"""Accounts: from the environment and from people, whose they are, and which switches hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from broker.models import Secret
from database.accounts import Account as AccountRow
from database.crypto import Vault
from database.engine import Database
from services.accounts import NewAccount
from services.errors import (
    BrokerDisabled,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFoundHere,
    Unavailable,
)
from tests.support.clocks import ManualClock
from tests.support.stacks import BASE_URL, Stack, environment
from tests.support.venue import CREDENTIALS, Venue

OTHER = {name: value.replace("CANARY", "CANARY-other") for name, value in CREDENTIALS.items()}


def new(label: str = "prop-c", **changes: object) -> NewAccount:
    return replace(NewAccount(label, "jainam_prop", OTHER), **changes)  # type: ignore[arg-type]


def test_the_environment_defines_a_shared_account(stack: Stack) -> None:
    account = stack.account
    assert (account.broker, account.cluster, account.account_type) == ("jainam_prop", "B", "PRO")
    assert account.owner_id is None
    assert account.from_environment
    assert [a.label for a in stack.accounts.list(stack.user())] == ["jainam_prop"]
    with stack.database.read() as conn:
        stored = conn.execute(sa.select(AccountRow.__table__)).mappings().one()
    assert "CANARY" not in str(stack.vault.open(stored["credentials"]))


def test_its_configuration_comes_from_the_settings(
    main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    variables = environment(
        JAINAM_API_TIMEOUT="4", JAINAM_RATE_LIMIT="7", JAINAM_RETRY_COUNT="1",
        JAINAM_SYMPHONY_SERVER="C", JAINAM_HOST_LOOKUP="false", BROKER_LIMITS="off",
    )
    config = Stack(main_database, tmp_path, clock, variables=variables).config()
    assert config.credentials["market_api_key"] == Secret("CANARY-market-key")
    assert (config.api_timeout, config.orders_per_second, config.retry_count) == (4.0, 7, 1)
    assert (config.cluster, config.base_url, config.host_lookup) == ("C", BASE_URL, False)
    assert not config.published_limits


def test_a_changed_environment_changes_the_account(
    stack: Stack, main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    first = stack.account
    again = Stack(
        main_database, tmp_path, clock, variables=environment(JAINAM_SYMPHONY_SERVER="A")
    ).account
    assert (again.id, again.cluster) == (first.id, "A")
    gone = Stack(main_database, tmp_path, clock, variables={})
    assert gone.accounts.all() == []
    clock.advance(1)
    assert stack.account == first  # a command without the variables takes nothing away
    back = Stack(main_database, tmp_path, clock)
    assert back.account.id == first.id


def test_an_account_that_another_process_added_just_now_is_found(
    stack: Stack, main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    assert stack.accounts.find("prop-c") is None
    other = Stack(main_database, tmp_path, clock)
    other.accounts.add(other.user(), new())
    found = stack.accounts.find("prop-c")  # no time has passed for the copy to grow old
    assert found is not None and found.label == "prop-c"


def test_a_users_account_keeps_a_label_that_the_environment_wants(
    main_database: Database, tmp_path: Path, clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = Stack(main_database, tmp_path, clock, variables={})
    mine = before.accounts.add(before.user(), new("jainam_prop"))
    after = Stack(main_database, tmp_path, clock)
    assert after.account.id == mine.id
    assert not after.account.from_environment
    assert "belongs to an account that a user added" in caplog.text


def test_a_persons_account_is_sealed_and_theirs_alone(
    stack: Stack, other_process: Stack, clock: ManualClock
) -> None:
    asha, ben = stack.user(), stack.user("ben")
    assert [a.label for a in other_process.accounts.list(asha)] == ["jainam_prop"]
    account = stack.accounts.add(asha, new(cluster="C", client_id=" CLIENT1 "))
    assert (account.cluster, account.client_id, account.owner_id) == ("C", "CLIENT1", asha.user_id)
    assert stack.accounts.resolve(asha, "prop-c") == account
    with pytest.raises(Forbidden, match="not yours"):
        stack.accounts.resolve(ben, "prop-c")
    assert [a.label for a in stack.accounts.list(ben)] == ["jainam_prop"]
    with stack.database.read() as conn:
        stored = conn.execute(sa.select(AccountRow.__table__)).all()
    assert "CANARY" not in str(stored)
    clock.advance(0.6)
    config = other_process.accounts.config(other_process.accounts.resolve(asha, "prop-c"))
    assert config.credentials["interactive_api_key"].reveal() == OTHER["interactive_api_key"]


def test_the_default_account(stack: Stack, main_database: Database, tmp_path: Path,
                             clock: ManualClock) -> None:
    asha = stack.user()
    assert stack.accounts.default_label(asha) == "jainam_prop"
    assert stack.accounts.resolve(asha).label == "jainam_prop"
    keyed = replace(asha, default_account="prop-c")
    assert stack.accounts.default_label(keyed) == "prop-c"
    with pytest.raises(NotFoundHere, match="no account 'prop-c'"):
        stack.accounts.resolve(keyed)
    bare = Stack(main_database, tmp_path, clock, variables={})
    with pytest.raises(NotFoundHere, match="no broker account"):
        bare.accounts.resolve(asha)
    bare.accounts.add(asha, new("one"))
    assert bare.accounts.resolve(asha).label == "one"
    bare.accounts.add(asha, new("two", credentials={k: f"{v}2" for k, v in OTHER.items()}))
    with pytest.raises(InvalidRequest, match="name one"):
        bare.accounts.resolve(asha)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"label": ""}, {"label"}),
        ({"label": "Prop C"}, {"label"}),
        ({"label": "../etc"}, {"label"}),
        ({"label": "x" * 41}, {"label"}),
        ({"cluster": "Z"}, {"cluster"}),
        ({"account_type": "HOBBY"}, {"account_type"}),
        ({"client_id": "a\nb"}, {"client_id"}),
        ({"client_id": "x" * 513}, {"client_id"}),
        ({"credentials": {}}, set(CREDENTIALS)),
        ({"credentials": {**OTHER, "pin": "1"}}, {"pin"}),
        ({"credentials": {**OTHER, "market_api_key": "x" * 513}}, {"market_api_key"}),
    ],
)
def test_bad_accounts_are_refused_by_field(
    stack: Stack, changes: dict[str, Any], fields: set[str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        stack.accounts.add(stack.user(), new(**changes))
    assert set(caught.value.errors) == fields
    assert "CANARY" not in str(caught.value.errors)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://smpc.example.org:14543", True), ("http://127.0.0.1:7443/", True),
        ("http://smpc.example.org", False), ("ftp://127.0.0.1", False), ("nonsense", False),
        ("https://user:pw@example.org", False), ("https://example.org/path", False),
        ("https://[", False),
    ],
)
def test_only_an_admin_may_set_an_address_and_only_a_safe_one(
    stack: Stack, url: str, good: bool
) -> None:
    with pytest.raises(Forbidden):
        stack.accounts.add(stack.user(), new(base_url=url))
    root = stack.user("root", is_admin=True)
    if good:
        assert stack.accounts.add(root, new(base_url=url)).base_url == url.rstrip("/")
    else:
        with pytest.raises(InvalidRequest):
            stack.accounts.add(root, new(base_url=url))


def test_sharing_an_account_needs_an_admin(stack: Stack) -> None:
    asha, root = stack.user(), stack.user("root", is_admin=True)
    with pytest.raises(Forbidden):
        stack.accounts.add(asha, new(shared=True))
    stack.accounts.add(root, new(shared=True))
    assert stack.accounts.resolve(asha, "prop-c").owner_id is None


def test_one_key_belongs_to_one_account(stack: Stack) -> None:
    """Field defect 31: two accounts with one key would log each other out for ever."""
    asha = stack.user()
    with pytest.raises(Conflict, match="in use by the account 'jainam_prop'"):
        stack.accounts.add(asha, new(credentials=CREDENTIALS))
    stack.accounts.add(asha, new())
    with pytest.raises(Conflict, match="in use by the account 'prop-c'"):
        stack.accounts.add(asha, new("again"))
    with pytest.raises(Conflict, match="There is an account 'prop-c'"):
        fresh = {name: f"{value}-fresh" for name, value in OTHER.items()}
        stack.accounts.add(asha, new(credentials=fresh))


def test_removing(stack: Stack) -> None:
    asha, ben = stack.user(), stack.user("ben")
    stack.accounts.add(asha, new())
    with pytest.raises(Forbidden):
        stack.accounts.remove(ben, "prop-c")
    with pytest.raises(NotFoundHere):
        stack.accounts.remove(asha, "nothing")
    with pytest.raises(Forbidden):
        stack.accounts.remove(asha, "jainam_prop")
    with pytest.raises(Conflict, match="comes from the environment"):
        stack.accounts.remove(stack.user("root", is_admin=True), "jainam_prop")
    stack.accounts.remove(asha, "prop-c")
    assert stack.accounts.find("prop-c") is None
    assert stack.accounts.get(stack.account.id) == stack.account
    assert stack.accounts.get(999) is None


def test_credentials_sealed_with_another_key_say_so(stack: Stack) -> None:
    account = stack.accounts.add(stack.user(), new())
    stack.accounts._vault = Vault("another secret key of 32 characters")
    with pytest.raises(Unavailable, match="SECRET_KEY"):
        stack.accounts.config(account)


def test_brokers_are_switched_by_settings_and_at_run_time(
    main_database: Database, tmp_path: Path, clock: ManualClock, stack: Stack,
    other_process: Stack,
) -> None:
    assert stack.accounts.is_broker_enabled("jainam_prop") == (True, "")
    assert not stack.accounts.is_broker_enabled("nobody")[0]
    with pytest.raises(NotFoundHere):
        stack.accounts.set_broker_enabled("nobody", True, "root")
    stack.accounts.set_broker_enabled("jainam_prop", False, "root")
    clock.advance(0.6)
    assert other_process.accounts.is_broker_enabled("jainam_prop") == (
        False, "An administrator switched it off."
    )
    with pytest.raises(BrokerDisabled, match="'jainam_prop' is off"):
        other_process.accounts.require_broker("jainam_prop")
    stack.accounts.set_broker_enabled("jainam_prop", True, "root")
    stack.accounts.require_broker("jainam_prop")
    for variables, why in [
        ({"JAINAM_ENABLED": "false"}, "JAINAM_ENABLED is off."),
        ({"ENABLED_BROKERS": "wisdom"}, "It is not listed in ENABLED_BROKERS."),
    ]:
        off = Stack(main_database, tmp_path, clock, variables=environment(**variables))
        assert off.accounts.is_broker_enabled("jainam_prop") == (False, why)
        with pytest.raises(Conflict, match="stays off"):
            off.accounts.set_broker_enabled("jainam_prop", True, "root")


def test_in_a_sandbox_every_account_talks_to_the_simulator(
    main_database: Database, tmp_path: Path, clock: ManualClock, venue: Venue
) -> None:
    sandbox = Stack(main_database, tmp_path, clock, variables=environment(SANDBOX="true"))
    assert sandbox.account.sandbox
    root = sandbox.user("root", is_admin=True)
    mine = sandbox.accounts.add(root, new(base_url="https://real.example.org"))
    assert sandbox.accounts.config(mine).base_url == BASE_URL
    other = sandbox.accounts.add(root, NewAccount("w", "wisdom", OTHER))
    with pytest.raises(Unavailable, match="WISDOM_BASE_URL is not set"):
        sandbox.accounts.config(other)


def test_marks_tell_credentials_apart_and_nothing_of_them(stack: Stack) -> None:
    config = stack.config()
    mark = stack.accounts.mark(config)
    assert mark == stack.accounts.mark(config)
    assert "CANARY" not in mark
    changed = replace(config, credentials={**config.credentials, "market_api_key": Secret("x")})
    assert stack.accounts.mark(changed) != mark
