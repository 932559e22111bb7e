"""The control API: health, credentials, truth, prices, clock, and refusals of nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.testing import SimulatorFailed, ThreadSimulator
from tests.simulator.conftest import Connect
from tests.support.xts_client import RELIANCE, XtsClient


def test_health(sim: ThreadSimulator) -> None:
    shown = sim.control("health")
    assert shown["status"] == "ok"
    assert shown["profiles"] == ["jainam-a", "jainam-b", "jainam-c", "generic-json"]
    assert sum(shown["master"].values()) == 1_500
    assert shown["limits"] == "off"


def test_credentials_can_be_added(sim: ThreadSimulator) -> None:
    new = {
        "label": "extra",
        "profile": "jainam-c",
        "role": "pro",
        "interactive_key": "EXTRAKEY",
        "interactive_secret": "s",
        "market_key": "EXTRAMARKET",
        "market_secret": "m",
        "user_id": "EXTRA1A01",
        "market_user_id": "EXTRA1MD",
        "client_codes": ["EXTRA1"],
    }
    assert sim.control("credentials", new)["label"] == "extra"
    assert "extra" in [c["label"] for c in sim.control("credentials")["jainam-c"]]
    only = sim.control("credentials", None, profile="generic-json")
    assert list(only) == ["generic-json"]
    for change in (
        {},
        {"interactive_key": "X", "profile": "none"},
        {"interactive_key": "X", "market_key": "X", "role": "boss"},
        {"interactive_key": "X", "market_key": "X", "client_codes": []},
    ):
        with pytest.raises(SimulatorFailed):
            sim.control("credentials", {**new, **change})


def test_truth_and_requests(b: XtsClient) -> None:
    b.placed(orderUniqueIdentifier="A")
    b.placed(orderUniqueIdentifier="B")
    truth = b.sim.control("truth")
    assert [o["tag"] for o in truth["jainam-b"]["orders"]] == ["A", "B"]
    assert truth["jainam-a"]["orders"] == []
    record = b.truth("A")
    assert (record["status"], record["filled"], record["client"]) == ("Filled", 10, "*****")
    shown = b.sim.control("requests", None, profile="jainam-b", route="POST /orders", last=1)
    assert shown["counts"]["POST /orders"] == 2
    ((at, status, user),) = shown["requests"]
    assert (status, user, at > record["received_at"]) == (200, "SIMBPRO1A01", True)
    assert "stray" in b.sim.control("requests")
    assert b.sim.counts("jainam-b")["POST /orders"] == 2


def test_reset_keeps_logins_unless_told_otherwise(b: XtsClient) -> None:
    b.placed()
    b.sim.reset("jainam-b")
    assert b.book() == []
    assert b.sim.orders("jainam-b") == []
    b.sim.control("reset", {"sessions": True})
    assert b.call("GET", "/user/enums").status_code == 400


def test_reset_of_one_profile_leaves_the_others(connect: Connect) -> None:
    b, c = connect("jainam-b"), connect("jainam-c")
    b.placed()
    c.placed()
    b.sim.reset("jainam-b")
    assert (len(b.book()), len(c.book())) == (0, 1)


def test_sessions_are_listed(b: XtsClient) -> None:
    shown = b.sim.control("sessions", None, profile="jainam-b")
    assert {(s["api"], s["user"]) for s in shown} == {
        ("interactive", "SIMBPRO1A01"),
        ("market", "SIMBPRO1A01MD"),
    }


def test_config_is_shown_and_checked(sim: ThreadSimulator) -> None:
    body = {"profile": "jainam-a", "quirks": {"token_seconds": 60}}
    shown = sim.control("config", body)["jainam-a"]
    assert shown["quirks"]["token_seconds"] == 60
    probability = {"behaviour": {"partial_probability": 1}}
    assert sim.control("config", probability)["jainam-c"]["behaviour"]["partial_probability"] == 1.0
    for wrong in (
        {"quirks": {"nosuch": 1}},
        {"quirks": {"token_seconds": "long"}},
        {"quirks": {"dead_token": "maybe"}},
        {"behaviour": {"fill": "never"}},
        {"colour": "red"},
        {"profile": "jainam-z"},
    ):
        with pytest.raises(SimulatorFailed):
            sim.control("config", wrong)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "nowhere", None),
        ("POST", "orders/5/fill", {}),
        ("POST", "price", {"segment": "NSECM", "token": 1}),
        ("POST", "holdings", {"profile": "jainam-b", "holdings": "x"}),
        ("POST", "balance", {"profile": "jainam-b", "client": "nobody"}),
        ("POST", "hostlookup", {"form": "odd"}),
        ("POST", "hostlookup", {"nosuch": 1}),
        ("POST", "faults", {}),
        ("POST", "faults", [1]),
        ("POST", "clock", {"set": "yesterday"}),
        ("POST", "order", {"profile": "jainam-b", "segment": 1, "token": RELIANCE,
                           "order_type": "BRACKET"}),
    ],
)  # fmt: skip
def test_nonsense_is_refused(sim: ThreadSimulator, method: str, path: str, body: Any) -> None:
    with pytest.raises(SimulatorFailed):
        sim.control(path, body)


def test_actions_on_orders_are_checked(b: XtsClient) -> None:
    app_id = b.placed(orderType="LIMIT", limitPrice=1100)
    for action, body in (("fill", {"quantity": 11}), ("fill", {"quantity": 0}), ("burn", {})):
        with pytest.raises(SimulatorFailed):
            b.sim.control(f"orders/{app_id}/{action}", body)
    assert b.sim.control(f"orders/{app_id}/fill", {})["average"] == 1100
    with pytest.raises(SimulatorFailed, match="already Filled"):
        b.sim.control(f"orders/{app_id}/fill", {})
    assert b.sim.control(f"orders/{app_id}/show", {})["status"] == "Filled"


def test_only_one_profile_needs_no_name() -> None:
    from simulator.exchange import Options
    from simulator.testing import threaded

    with threaded(Options(profiles=("jainam-b",), size="small")) as sim:
        made = sim.control("balance", {"cash": 5})
        assert made["cash"] == 5
        answer = XtsClient(sim, "jainam-b")
        json_prefix = answer.http.post("/apimarketdata/auth/login", json=answer.market_body())
        assert json_prefix.status_code == 404
        stray = answer.http.get("/apimarketdata/config/clientConfig")
        assert (stray.status_code, "nginx" in stray.text) == (404, True)
        answer.close()


def test_strangers_may_not_control(sim: ThreadSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.control._LOOPBACK", ())
    with pytest.raises(SimulatorFailed, match="403"):
        sim.control("health")


def test_positions_can_be_cleared(b: XtsClient) -> None:
    place = {"profile": "jainam-b", "user": "SIMBPRO1A01", "segment": 1, "token": RELIANCE}
    free = b.available()
    b.sim.control("positions", {**place, "quantity": 10, "product": "MIS"})
    assert b.available() < free
    b.sim.control("positions", {**place, "quantity": 0, "product": "MIS"})
    assert (b.positions(), b.available()) == ([], free)
