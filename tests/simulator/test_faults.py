"""Every fault kind: what the client sees, and what the venue's truth says (design §3)."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest

from simulator.faults import KINDS
from tests.simulator.conftest import Connect
from tests.support.waiting import wait_until
from tests.support.xts_client import STARS, XtsClient

GONE = (httpx.RemoteProtocolError, httpx.ReadError)


def fault(client: XtsClient, kind: str, **extra: Any) -> None:
    client.sim.faults({"route": "POST /orders", "fault": kind, **extra})


def outcome(client: XtsClient) -> tuple[bool, int]:
    """Whether the venue accepted the only order, and how many rows its books show."""
    record = client.truth("T-1")
    client.sim.faults()
    return record["accepted"], len(client.book())


@pytest.mark.parametrize(
    ("kind", "status", "content", "accepted"),
    [
        ("refuse", 400, "OEMS:RMS", False),
        ("rate_limit_429", 429, "e-apirl-0004", False),
        ("rate_limit_400", 400, "e-apirl-0004", False),
        ("error_500", 500, "Internal Server Error", False),
        ("error_502_html", 502, "502 Bad Gateway", False),
        ("error_500_after_accept", 500, "Internal Server Error", True),
        ("html_200", 200, "<html>", False),
        ("empty_body", 200, "", False),
        ("success_without_id", 200, "success", True),
        ("error_envelope_200", 200, '"type":"error"', False),
        ("dead_token", 400, "e-session-0007", False),
        ("displaced_session", 400, "e-session-0007", False),
    ],
)
def test_faults_that_answer(
    b: XtsClient, kind: str, status: int, content: str, accepted: bool
) -> None:
    fault(b, kind)
    answer = b.place()
    assert (answer.status_code, content in answer.text) == (status, True)
    assert b.truth("T-1")["fault"] == kind
    if kind in ("dead_token", "displaced_session"):
        assert b.call("GET", "/user/enums").json()["code"] == "e-session-0007"
        b.login()
    assert outcome(b) == (accepted, int(accepted))


def test_malformed_json(b: XtsClient) -> None:
    fault(b, "malformed_json")
    answer = b.place()
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"\w"):
        answer.json()
    assert outcome(b) == (True, 1)


def test_half_a_body(b: XtsClient) -> None:
    fault(b, "half_body")
    with pytest.raises(GONE):
        b.place()
    assert outcome(b) == (True, 1)


def test_success_without_an_id(b: XtsClient) -> None:
    fault(b, "success_without_id")
    assert "AppOrderID" not in b.place().json()["result"]


@pytest.mark.parametrize(
    ("kind", "accepted"), [("close_before_accept", 0), ("accept_then_close", 1)]
)
def test_closed_connections(b: XtsClient, kind: str, accepted: int) -> None:
    fault(b, kind)
    with pytest.raises(GONE):
        b.place()
    assert outcome(b) == (bool(accepted), accepted)


@pytest.mark.parametrize(("kind", "accepted"), [("hang_before_accept", 0), ("accept_then_hang", 1)])
def test_hanging_connections(b: XtsClient, kind: str, accepted: int) -> None:
    fault(b, kind, seconds=0.6)
    b.http.timeout = httpx.Timeout(0.2)
    with pytest.raises(httpx.ReadTimeout):
        b.place()
    b.http.timeout = httpx.Timeout(10)
    assert outcome(b) == (bool(accepted), accepted)


def test_a_hang_ends_without_an_answer(b: XtsClient) -> None:
    fault(b, "accept_then_hang", seconds=0.1)
    with pytest.raises(GONE):
        b.place()


def test_a_late_acceptance(b: XtsClient) -> None:
    fault(b, "hang_before_accept", seconds=0.3, accepted=True)
    b.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        b.place()
    b.http.timeout = httpx.Timeout(10)
    assert b.book() == []
    wait_until(lambda: len(b.book()) == 1)


@pytest.mark.parametrize("kind", ["accept_then_hang", "hang_before_accept", "slow"])
def test_what_hangs_over_a_reset_is_not_counted_after_it(b: XtsClient, kind: str) -> None:
    """A hang of one test ended in the middle of another, and was counted there as a second order.

    A request that began after it, and ends after it, shows that its time is over.
    """
    fault(b, kind, seconds=0.3, accepted=True)
    b.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        b.place()
    b.sim.reset()
    fault(b, "slow", seconds=0.5, match_tag="LATER")
    b.http.timeout = httpx.Timeout(10)
    assert b.place(orderUniqueIdentifier="LATER").status_code == 200
    assert b.sim.counts("jainam-b")["POST /orders"] == 1
    assert len(b.book()) == 1


def test_slow(b: XtsClient) -> None:
    fault(b, "slow", seconds=0.2)
    start = time.monotonic()
    assert b.place().status_code == 200
    assert time.monotonic() - start >= 0.2


def test_dropped_after_acceptance(b: XtsClient) -> None:
    fault(b, "accept_then_drop")
    answer = b.place()
    assert answer.json()["result"]["AppOrderID"] > 0
    record = b.truth("T-1")
    assert (record["accepted"], record["dropped"]) == (True, True)
    assert b.book() == []


def test_stale_books(b: XtsClient) -> None:
    b.placed(orderType="LIMIT", limitPrice=1100)
    b.sim.faults({"route": "GET /orders/*", "fault": "stale_book", "ms": 60_000})
    assert b.book() == []
    trades = b.call("GET", "/orders/dealertradebook", clientID=STARS)
    assert trades.json()["result"] == []
    b.sim.faults({"route": "GET /orders/*", "fault": "stale_book", "ms": 0})
    assert len(b.book()) == 1


def test_stale_book_shows_the_earlier_state(b: XtsClient) -> None:
    app_id = b.placed(orderType="LIMIT", limitPrice=1100)
    b.sim.control("clock", {"advance_seconds": 100})
    b.cancel(app_id)
    b.sim.faults({"route": "GET /orders/dealerorderbook", "fault": "stale_book", "ms": 50_000})
    assert b.row(app_id)["OrderStatus"] == "New"
    b.sim.faults()
    assert b.row(app_id)["OrderStatus"] == "Cancelled"


def test_a_stale_position_book_lacks_the_latest_fills(b: XtsClient) -> None:
    def shown(which: str) -> list[tuple[str, str]]:
        reply = b.call("GET", "/portfolio/dealerpositions", clientID=STARS, dayOrNet=which)
        rows = reply.json()["result"]["positionList"]
        return [(row["OpenBuyQuantity"], row["Quantity"]) for row in rows if row["LoginID"]]

    b.sim.control("limits", {"mode": "off"})
    b.placed(orderQuantity=3)
    b.sim.control("clock", {"advance_seconds": 100})
    b.placed(orderQuantity=2)
    assert ("5", "5") in shown("NetWise")
    b.sim.faults({"route": "GET /portfolio/*", "fault": "stale_book", "ms": 50_000})
    assert ("3", "3") in shown("NetWise")
    assert ("3", "3") in shown("DayWise")


@pytest.mark.parametrize("kind", ["html_200", "empty_body", "error_502_html"])
def test_acceptance_can_be_overridden(b: XtsClient, kind: str) -> None:
    fault(b, kind, accepted=True)
    b.place()
    assert outcome(b) == (True, 1)


def test_answers_spoilt_without_acceptance(b: XtsClient) -> None:
    fault(b, "malformed_json", accepted=False)
    assert b.place().status_code == 200
    assert outcome(b) == (False, 0)


def test_faults_on_reads_and_logins(b: XtsClient) -> None:
    b.sim.faults(
        {"route": "GET /orders/dealerorderbook", "fault": "half_body"},
        {"route": "POST /user/session", "fault": "error_502_html", "profile": "jainam-b"},
        {"route": "POST /instruments/master", "fault": "half_body"},
        {"route": "DELETE /orders", "fault": "accept_then_close"},
        {"route": "GET /user/balance", "fault": "rate_limit_429", "text": "Rate Limit reached"},
    )
    with pytest.raises(GONE):
        b.book()
    assert b.http.post("/interactive/user/session", json=b.login_body()).status_code == 502
    with pytest.raises(GONE):
        b.market("POST", "/instruments/master", json={"exchangeSegmentList": ["NSEFO"]})
    app_id = b.placed(orderType="LIMIT", limitPrice=1100)
    with pytest.raises(GONE):
        b.cancel(app_id)
    assert b.history(app_id)[-1]["OrderStatus"] == "Cancelled"
    balance = b.call("GET", "/user/balance", clientID=STARS)
    assert (balance.status_code, "Rate Limit reached" in balance.text) == (429, True)


def test_dead_market_session(b: XtsClient) -> None:
    for kind in ("dead_token", "displaced_session"):
        b.sim.faults({"route": "GET /config/*", "fault": kind, "count": 1})
        assert b.market("GET", "/config/clientConfig").json()["code"] == "e-session-0007"
        assert b.market("GET", "/config/clientConfig").status_code == 400
        b.market_login()
        assert b.market("GET", "/config/clientConfig").status_code == 200


# -- which requests a rule meets ---------------------------------------------------------------


def pattern(client: XtsClient, count: int) -> list[bool]:
    """Which of so many orders were refused."""
    return [
        client.place(orderUniqueIdentifier=f"N{n}").status_code != 200 for n in range(1, count + 1)
    ]


def test_nth_and_count(b: XtsClient) -> None:
    fault(b, "refuse", nth=[2, 4])
    assert pattern(b, 5) == [False, True, False, True, False]
    fault(b, "refuse", nth=1)
    assert pattern(b, 2) == [True, False]
    fault(b, "refuse", count=2)
    assert pattern(b, 4) == [True, True, False, False]


def test_match_tag_user_and_profile(connect: Connect) -> None:
    b, a = connect("jainam-b"), connect("jainam-a")
    fault(b, "refuse", match_tag="^N[24]$")
    assert pattern(b, 4) == [False, True, False, True]
    fault(b, "refuse", user="SIMBPRO2A01")
    assert pattern(b, 1) == [False]
    fault(b, "refuse", profile="jainam-a", text="no", code="e-rms-0001")
    assert pattern(b, 1) == [False]
    assert a.place().json() == {"type": "error", "code": "e-rms-0001", "description": "no"}


def test_a_seed_repeats_itself(b: XtsClient) -> None:
    seen = []
    for seed in (7, 7, 8):
        b.sim.faults({"fault": "refuse", "probability": 0.5}, seed=seed)
        seen.append(pattern(b, 24))
    assert seen[0] == seen[1] != seen[2]
    assert 0 < sum(seen[0]) < 24


def test_plans_are_listed_and_recorded(b: XtsClient) -> None:
    fault(b, "refuse", count=1)
    b.sim.control("faults", {"append": True, "rules": [{"fault": "slow", "route": "GET /none"}]})
    b.place()
    shown = b.sim.control("faults")
    assert shown["kinds"] == list(KINDS)
    assert [(r["fault"], r["fired"]) for r in shown["rules"]] == [("refuse", 1), ("slow", 0)]
    assert [(f["fault"], f["tag"]) for f in shown["applied"]] == [("refuse", "T-1")]
    assert b.sim.truth("jainam-b")["faults"] == shown["applied"]


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "explode"},
        {"fault": "refuse", "probability": 2},
        {"fault": "refuse", "colour": "red"},
        {"fault": "refuse", "match_tag": "("},
        "refuse",
    ],
)
def test_bad_rules_are_refused(b: XtsClient, rule: Any) -> None:
    answer = b.http.post("/_sim/faults", json={"rules": [rule]})
    assert (answer.status_code, "error" in answer.json()) == (400, True)


def test_one_hang_does_not_hold_up_others(b: XtsClient) -> None:
    fault(b, "accept_then_hang", seconds=0.5, match_tag="HANG")
    other = XtsClient(b.sim, "jainam-b", login=False)
    other.token = b.token

    def hang() -> None:
        with pytest.raises(GONE):
            other.place(orderUniqueIdentifier="HANG")

    thread = threading.Thread(target=hang)
    thread.start()
    wait_until(lambda: len(b.sim.orders("jainam-b", "HANG")) == 1)
    assert b.place().status_code == 200
    assert thread.is_alive()
    thread.join(10)
    other.close()
