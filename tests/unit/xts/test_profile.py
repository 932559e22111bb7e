"""Declarations are checked when they are imported; the shipped ones say what the reference says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from broker.base import Limit, Operation
from broker.jainam_prop.declaration import PROFILE, JainamProp
from broker.models import Exchange, Product
from broker.wisdom.declaration import Wisdom
from broker.xts.profile import (
    INVESTOR_RULES,
    Cluster,
    DealerRules,
    HostLookup,
    Segment,
    XtsProfile,
)
from tests.support.xts import Rig

ROOT = Path(__file__).resolve().parents[3]


def test_jainam_s_table() -> None:
    assert [cluster.root for cluster in PROFILE.clusters] == [
        "https://smpa.jainam.in:6543",
        "https://smpb.jainam.in:4143",
        "https://smpc.jainam.in:14543",
    ]
    assert PROFILE.cluster("").name == "B"
    assert PROFILE.market_prefix == "/apibinarymarketdata"
    assert JainamProp.info.clusters == ("A", "B", "C")
    assert JainamProp.info.account_types == ("PRO", "NORMAL")
    assert JainamProp.info.quantity_units[Exchange.NFO] == "units"
    assert "smpb.jainam.in" in JainamProp.info.hosts
    assert [f.name for f in JainamProp.info.credentials] == [
        "interactive_api_key",
        "interactive_api_secret",
        "market_api_key",
        "market_api_secret",
    ]
    assert JainamProp.capabilities.exchanges >= {Exchange.NSE, Exchange.BSE_INDEX, Exchange.MCX}
    assert not JainamProp.capabilities.stream


def test_jainam_s_limits_are_the_published_ones() -> None:
    found = {limit.name: (limit.calls, limit.window) for limit in PROFILE.limits}
    assert found["place"] == found["modify"] == found["cancel"] == (25, 1.0)
    assert found["order_book"] == (6, 1.0)
    assert found["trade_book"] == (40, 2.0)
    assert found["positions"] == (1, 1.0)
    assert found["holdings"] == (1, 10.0)
    assert found["balance"] == (10, 3.0)


def test_wisdom_is_another_kind_of_xts() -> None:
    assert Wisdom.info.clusters == ()
    assert Wisdom.profile.market_prefix == "/apimarketdata"
    assert Wisdom.profile.login == "direct"
    assert Wisdom.info.quantity_units[Exchange.MCX] == "lots"
    assert Wisdom.info.quantity_units[Exchange.NSE] == "units"


@pytest.mark.parametrize("broker", [JainamProp, Wisdom])
def test_plugin_json_says_the_same_as_the_class(broker: type[JainamProp]) -> None:
    file = ROOT / "broker" / broker.info.name / "plugin.json"
    declared = json.loads(file.read_text(encoding="utf-8"))
    assert declared["name"] == broker.info.name
    assert declared["title"] == broker.info.title
    assert declared["class"] == f"{broker.__module__}:{broker.__name__}"
    assert set(declared["supported_exchanges"]) == {
        exchange.value for exchange in broker.capabilities.exchanges
    }


def test_the_readme_names_every_cluster_s_root() -> None:
    text = (ROOT / "broker" / "jainam_prop" / "README.md").read_text(encoding="utf-8")
    for cluster in PROFILE.clusters:
        assert cluster.root in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "Jainam Prop"}, "identifier"),
        ({"name": "a" * 21}, "20 characters"),
        ({"login": "browser"}, "login kind"),
        ({"position_mode": "Both"}, "DayWise or NetWise"),
        ({"quotes_batch": 51}, "between 1 and 50"),
        ({"market_prefix": "apimarketdata"}, "slash"),
        ({"interactive_prefix": "/interactive/"}, "slash"),
        ({"lookup": HostLookup(path="?x")}, "slash"),
        ({"default_cluster": "D"}, "default_cluster"),
        ({"clusters": ()}, "default_cluster"),
        ({"clusters": (Cluster("B", "http://smpb.jainam.in", INVESTOR_RULES),)}, "https"),
        ({"clusters": (Cluster("B", "https://smpb.jainam.in/x", INVESTOR_RULES),)}, "alone"),
        (
            {"clusters": (Cluster("B", "https://x.in", DealerRules("a", "b", "c", "d", "e")),)},
            "dealer or investor",
        ),
        ({"segments": ()}, "segments"),
        ({"segments": (Segment(Exchange.NSE_INDEX, "NSECM", 1),)}, "index"),
        ({"index_segments": (Segment(Exchange.NCO, "NSECO", 4),)}, "index_segments"),
        ({"segments": (Segment(Exchange.NSE, "NSECM", 1, quantity_unit="kg"),)}, "units or lots"),
        ({"limits": (Limit("none", frozenset({Operation.PLACE}), 0, 1.0),)}, "limit 'none'"),
        ({"account_types": ()}, "account_types"),
        ({"account_types": ("BOSS",)}, "account_types"),
    ],
)
def test_a_wrong_declaration_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(PROFILE, **change)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="login kind") as caught:
        replace(PROFILE, login="x", position_mode="y", account_types=())
    assert "DayWise" in str(caught.value)
    assert "account_types" in str(caught.value)


def test_an_unknown_cluster_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="A, B, C"):
        PROFILE.cluster("Z")


def test_a_loopback_root_may_be_plain() -> None:
    rules = PROFILE.clusters[0].rules
    profile = replace(
        PROFILE, clusters=(Cluster("B", "http://127.0.0.1:7443", rules),), session_end=time(4)
    )
    assert isinstance(profile, XtsProfile)
    assert profile.products == {Product.CNC, Product.NRML, Product.MIS}


@pytest.mark.parametrize(
    ("account", "complaint"),
    [
        ({"cluster": "Z"}, "no cluster 'Z'"),
        ({"account_type": "INVESTOR"}, "no account type"),
        ({"options": {"order_client": "x"}}, "Unknown account option"),
        ({"options": {"books": "both"}}, "books"),
        ({"base_url": "http://smpb.jainam.in:4143"}, "https"),
        ({"base_url": "https://user:word@smpb.jainam.in"}, "user name"),
    ],
)
def test_an_account_that_can_t_be_is_refused(
    jainam: Callable[..., Rig], account: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        jainam(**account)
