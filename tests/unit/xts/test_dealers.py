"""Which client id goes with which call: the table of XTS reference §6.2, and what overrides it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.base import AccountConfig
from broker.errors import LoginFailed
from broker.jainam_prop.declaration import PROFILE
from broker.wisdom.declaration import Wisdom
from broker.xts.dealers import ClientIds, resolve, rules_for
from broker.xts.profile import XtsProfile
from tests.support.xts import CREDENTIALS, session

STARS = "*****"


def ids(profile: XtsProfile = PROFILE, codes: str = "CLIENT1", **account: Any) -> ClientIds:
    config = AccountConfig(label="x", credentials=CREDENTIALS, **account)
    return resolve(rules_for(profile, config), config, session(clientCodes=codes))


@pytest.mark.parametrize("cluster", ["A", "B", ""])
def test_pro_on_a_and_b_is_five_asterisks(cluster: str) -> None:
    found = ids(cluster=cluster)
    assert (found.order, found.book, found.balance, found.holdings) == (STARS,) * 4
    assert found.dealer_books
    assert found.accepted == {STARS, "Pro", "PRO"}
    assert found.amend("Pro") == STARS
    assert found.amend("CLIENT9") == STARS
    assert found.amend(None) == STARS


def test_pro_on_c_is_the_sub_client() -> None:
    found = ids(cluster="C")
    assert (found.order, found.book, found.balance, found.holdings) == (
        "CLIENT1",
        "",
        "CLIENT1",
        "CLIENT1",
    )
    assert found.accepted == {"CLIENT1"}
    assert found.amend("CLIENT7") == "CLIENT7", "cancel with the row's own client"
    assert found.amend("Pro") == "CLIENT1"
    assert found.amend("") == "CLIENT1"


def test_the_dealer_s_own_login_is_never_used_to_trade() -> None:
    for cluster in ("A", "B", "C"):
        assert ids(cluster=cluster).order != "DEALER1"


def test_a_normal_dealer_trades_for_its_one_client() -> None:
    found = ids(cluster="B", account_type="NORMAL", client_id="CLIENT2", codes="CLIENT1,CLIENT2")
    assert (found.order, found.book, found.balance, found.holdings) == ("CLIENT2",) * 4
    assert found.accepted == {"CLIENT2"}
    assert found.is_ours("CLIENT2")
    assert not found.is_ours("CLIENT1")
    assert not found.is_ours("Pro")


def test_a_normal_dealer_on_c_still_leaves_the_client_out_of_books() -> None:
    found = ids(cluster="C", account_type="NORMAL", client_id="CLIENT2", codes="CLIENT1,CLIENT2")
    assert found.book == ""
    assert found.order == "CLIENT2"


def test_a_normal_dealer_with_one_client_need_not_name_it() -> None:
    assert ids(account_type="NORMAL").order == "CLIENT1"


def test_a_normal_dealer_with_several_clients_must_name_one() -> None:
    with pytest.raises(LoginFailed, match="CLIENT1, CLIENT2"):
        ids(account_type="NORMAL", codes="CLIENT1,CLIENT2")


@pytest.mark.parametrize("kind", ["PRO", "NORMAL"])
def test_a_client_of_somebody_else_is_refused_at_login(kind: str) -> None:
    with pytest.raises(LoginFailed, match="may not trade for client 'OTHER'"):
        ids(account_type=kind, client_id="OTHER")


def test_no_client_at_all_is_refused_where_one_is_needed() -> None:
    with pytest.raises(LoginFailed, match="names no client"):
        ids(cluster="C", codes="")
    with pytest.raises(LoginFailed, match="none"):
        ids(client_id="CLIENT1", codes="")


def test_a_client_id_overrides_the_cluster_s_rule_for_a_pro_dealer() -> None:
    found = ids(cluster="B", client_id="CLIENT1")
    assert found.order == found.book == "CLIENT1"
    assert found.accepted == {"CLIENT1"}
    stars = ids(cluster="C", client_id=STARS)
    assert stars.order == STARS
    assert stars.book == ""
    assert stars.accepted == {STARS, "Pro", "PRO"}


def test_an_investor_sends_no_client_and_filters_nothing() -> None:
    found = ids(profile=Wisdom.profile)
    assert (found.order, found.book, found.balance, found.holdings) == ("",) * 4
    assert not found.dealer_books
    assert found.is_ours("ANY")


def test_options_override_single_rules() -> None:
    found = ids(
        cluster="A",
        options={
            "balance_client_id": "userID",
            "order_client_id": "clientCodes[0]",
            "holdings_client_id": "omit",
            "books": "investor",
            "accepted_row_clients": "Pro, CLIENT1",
            "amend_as_row": "true",
        },
    )
    assert found.balance == "DEALER1"
    assert found.order == "CLIENT1"
    assert found.book == STARS
    assert found.holdings == ""
    assert not found.dealer_books
    assert found.accepted == {"Pro", "CLIENT1"}
    assert found.amend("CLIENT9") == "CLIENT9"


def test_a_missing_user_id_sends_none() -> None:
    config = AccountConfig("x", CREDENTIALS, options={"balance_client_id": "userID"})
    bare = replace(session(), details={})
    assert resolve(rules_for(PROFILE, config), config, bare).balance == ""


@pytest.mark.parametrize(
    "options", [{"accepted_row_clients": "userID"}, {"accepted_row_clients": " , "}]
)
def test_a_dealer_s_book_without_a_filter_is_nobody_s(options: dict[str, str]) -> None:
    config = AccountConfig("x", CREDENTIALS, options=options)
    bare = replace(session(), details={})
    with pytest.raises(LoginFailed, match="Set the account's client id"):
        resolve(rules_for(PROFILE, config), config, bare)
