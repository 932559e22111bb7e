"""Published rate limits, counted in rolling windows on the venue's clock (§15)."""

from __future__ import annotations

import pytest

from simulator.limits import PUBLISHED, Windows
from tests.simulator.conftest import Connect
from tests.support.xts_client import STARS, XtsClient

FAR = {"orderType": "LIMIT", "limitPrice": 1100.0}


class Ticking:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_windows_roll() -> None:
    clock = Ticking()
    windows = Windows(clock)
    table = {"place": (2, 1.0)}
    assert windows.take("place", table) == 0.0
    clock.now += 0.6
    assert windows.take("place", table) == 0.0
    assert windows.take("place", table) == pytest.approx(0.4)
    clock.now += 0.4
    assert windows.take("place", table) == 0.0  # the first slot is free, the second is not
    assert windows.take("place", table) == pytest.approx(0.6)
    assert windows.take("other", table) == 0.0


def test_the_twenty_sixth_order_is_refused_and_makes_no_row(b: XtsClient) -> None:
    b.sim.control("limits", {"mode": "published", "table": {"place": [25, 3600]}})
    answers = [b.place(**FAR, orderUniqueIdentifier=f"L{n}") for n in range(26)]
    assert [a.status_code for a in answers] == [200] * 25 + [400]
    assert answers[-1].json()["code"] == "e-apirl-0004"
    b.sim.control("limits", {"mode": "off"})
    assert len(b.book()) == 25
    (breach,) = b.sim.control("limits", None, profile="jainam-b")["place"]
    assert breach["user"] == "SIMBPRO1A01"
    last = b.truth("L25")
    assert (last["accepted"], last["refusal"]) == (False, "rate limit")


@pytest.mark.parametrize(
    ("kind", "method", "path", "query"),
    [
        ("positions", "GET", "/portfolio/positions", {"dayOrNet": "NetWise", "clientID": STARS}),
        (
            "dealer_positions",
            "GET",
            "/portfolio/dealerpositions",
            {"dayOrNet": "NetWise", "clientID": STARS},
        ),
        ("holdings", "GET", "/portfolio/holdings", {"clientID": STARS}),
        ("profile", "GET", "/user/profile", {"clientID": STARS}),
        ("enums", "GET", "/user/enums", {}),
        ("status", "GET", "/status/exchange", {}),
        ("messages", "GET", "/messages/exchange", {"exchangeSegment": "NSECM"}),
    ],
)
def test_every_limited_call_has_its_class(
    b: XtsClient, kind: str, method: str, path: str, query: dict[str, str]
) -> None:
    b.sim.control("limits", {"mode": "published", "table": {kind: [1, 3600]}})
    first = b.call(method, path, **query)
    assert first.json().get("code") != "e-apirl-0004"
    assert b.call(method, path, **query).json()["code"] == "e-apirl-0004"
    assert list(b.sim.control("limits", None, profile="jainam-b")) == [kind]


def test_order_books_share_one_allowance(b: XtsClient) -> None:
    b.sim.control("limits", {"mode": "published", "table": {"order_book": [2, 3600]}})
    for path in ("/orders", "/orders/dealerorderbook"):
        assert b.call("GET", path, clientID=STARS).json()["code"] == "e-orders-0005"
    assert b.call("GET", "/orders", clientID=STARS).json()["code"] == "e-apirl-0004"


def test_limits_are_per_session(connect: Connect) -> None:
    one, two = connect("jainam-b", "pro1"), connect("jainam-b", "pro2")
    one.sim.control("limits", {"mode": "published", "table": {"enums": [1, 3600]}})
    assert one.call("GET", "/user/enums").status_code == 200
    assert two.call("GET", "/user/enums").status_code == 200
    assert one.call("GET", "/user/enums").status_code == 400


def test_advancing_the_clock_frees_slots(b: XtsClient) -> None:
    b.sim.control("limits", {"mode": "published"})
    assert b.call("GET", "/portfolio/holdings", clientID=STARS).status_code == 200
    assert b.call("GET", "/portfolio/holdings", clientID=STARS).status_code == 400
    b.sim.control("clock", {"advance_seconds": 10})
    assert b.call("GET", "/portfolio/holdings", clientID=STARS).status_code == 200


def test_form_of_the_refusal(b: XtsClient) -> None:
    b.sim.control("limits", {"mode": "published", "table": {"enums": [1, 3600]}})
    b.sim.control(
        "config",
        {"profile": "jainam-b", "quirks": {"rate_limit_status": 429, "rate_limit_nested": True}},
    )
    b.call("GET", "/user/enums")
    answer = b.call("GET", "/user/enums")
    assert answer.status_code == 429
    assert answer.json()["data"]["code"] == "e-apirl-0004"


def test_the_published_table() -> None:
    assert PUBLISHED["place"] == (25, 1.0)
    assert PUBLISHED["holdings"] == (1, 10.0)
    assert PUBLISHED["trade_book"] == (40, 2.0)


def test_limits_control_is_checked(b: XtsClient) -> None:
    for body in ({"mode": "half"}, {"table": {"nothing": [1, 1]}}):
        answer = b.http.post("/_sim/limits", json=body)
        assert answer.status_code == 400
