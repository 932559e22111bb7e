"""Every misfortune of the simulator on a submit: which outcome is told, and whether it is true."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker import errors
from broker.models import ModifyRequest, OrderType, Product
from simulator.testing import ThreadSimulator
from tests.support.xts import session
from tests.support.xts_accounts import Account

Connect = Callable[..., Account]
Kind = type[errors.BrokerError]

UNKNOWN: list[tuple[str, bool]] = [
    ("error_500", False),
    ("error_500", True),
    ("error_502_html", False),
    ("error_500_after_accept", True),
    ("html_200", False),
    ("html_200", True),
    ("malformed_json", True),
    ("half_body", True),
    ("empty_body", True),
    ("empty_body", False),
    ("success_without_id", True),
    ("close_before_accept", False),
    ("accept_then_close", True),
]
REFUSED: list[tuple[str, Kind]] = [
    ("refuse", errors.Refused),
    ("error_envelope_200", errors.Refused),
    ("rate_limit_400", errors.RateLimited),
    ("rate_limit_429", errors.RateLimited),
    ("dead_token", errors.SessionExpired),
    ("displaced_session", errors.SessionExpired),
]
PLACE, MODIFY, CANCEL = "POST /orders", "PUT /orders", "DELETE /orders"


@pytest.mark.parametrize(("fault", "accepted"), UNKNOWN)
def test_an_unclear_answer_is_unknown_and_the_book_tells(
    connect: Connect, sim: ThreadSimulator, fault: str, accepted: bool
) -> None:
    account = connect("b")
    order = account.limit()
    sim.faults({"route": PLACE, "fault": fault, "accepted": accepted})
    with pytest.raises(errors.OutcomeUnknown) as caught:
        account.place(order, "FAULT-1")
    assert type(caught.value) is errors.OutcomeUnknown
    assert sim.counts("jainam-b")[PLACE] == 1, "one request, whatever happens"
    assert (account.find("FAULT-1") is not None) is accepted


@pytest.mark.parametrize(("fault", "kind"), REFUSED)
def test_a_refusal_is_a_refusal(
    connect: Connect, sim: ThreadSimulator, fault: str, kind: Kind
) -> None:
    account = connect("b")
    order = account.limit()
    sim.faults({"route": PLACE, "fault": fault})
    with pytest.raises(errors.BrokerError) as caught:
        account.place(order, "FAULT-1")
    assert type(caught.value) is kind
    assert caught.value.fate is errors.Fate.REFUSED
    assert sim.counts("jainam-b")[PLACE] == 1
    assert account.connect().find("FAULT-1") is None


@pytest.mark.parametrize("fault", ["accept_then_hang", "hang_before_accept"])
def test_a_hanging_venue_costs_no_more_than_the_call_s_own_time(
    connect: Connect, sim: ThreadSimulator, fault: str
) -> None:
    account = connect("b")
    order = account.limit()
    sim.faults({"route": PLACE, "fault": fault, "seconds": 20})
    deadline = account.deadline(1.5)
    with pytest.raises(errors.OutcomeUnknown, match="Connection timeout"):
        account.place(order, "FAULT-1", seconds=0.7)
    assert deadline.remaining() > 0.4
    assert (account.find("FAULT-1") is not None) is (fault == "accept_then_hang")


def test_an_undocumented_rate_limit_is_unknown(connect: Connect, sim: ThreadSimulator) -> None:
    account = connect("b")
    order = account.limit()
    sim.faults({"route": PLACE, "fault": "rate_limit_429", "code": "busy", "text": "slow down"})
    with pytest.raises(errors.RateLimitedUnknown):
        account.place(order, "FAULT-1")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("status", [400, 429])
def test_the_venue_s_own_rate_limit(
    connect: Connect, sim: ThreadSimulator, nested: bool, status: int
) -> None:
    account = connect("b")
    order = account.limit()
    quirks = {"rate_limit_nested": nested, "rate_limit_status": status}
    sim.control("config", {"profile": "jainam-b", "quirks": quirks})
    sim.control("limits", {"mode": "off", "table": {"place": [1, 60]}})
    account.place(order, "ONE")
    with pytest.raises(errors.RateLimited, match="Rate limit exceeded"):
        account.place(order, "TWO")
    assert account.find("TWO") is None


@pytest.mark.parametrize("form", ["e-session-0007", "e-token-0001", "e-session-0005", "200", "401"])
def test_every_form_of_a_dead_token(connect: Connect, sim: ThreadSimulator, form: str) -> None:
    account = connect("b")
    order = account.limit()
    sim.control("config", {"profile": "jainam-b", "quirks": {"dead_token": form}})
    sim.control("sessions/kill", {"profile": "jainam-b"})
    with pytest.raises(errors.SessionExpired):
        account.place(order, "DEAD-1")
    with pytest.raises(errors.SessionExpired):
        account.broker.orders(deadline=account.deadline())
    with pytest.raises(errors.SessionExpired):
        account.broker.quotes([order.instrument], deadline=account.deadline())
    account.connect()
    assert account.place(order, "DEAD-1")


@pytest.mark.parametrize("route", [MODIFY, CANCEL])
@pytest.mark.parametrize(("fault", "accepted"), UNKNOWN)
def test_modify_and_cancel_too(
    connect: Connect, sim: ThreadSimulator, route: str, fault: str, accepted: bool
) -> None:
    account = connect("b")
    order = account.limit()
    order_id = account.place(order, "FAULT-1")
    account.settled("FAULT-1", "New")
    sim.faults({"route": route, "fault": fault, "accepted": accepted})
    change = ModifyRequest(order_id, OrderType.LIMIT, Product.CNC, 9, order.price)
    with pytest.raises(errors.OutcomeUnknown):
        account.modify(change) if route == MODIFY else account.cancel(order_id)
    assert sim.counts("jainam-b")[route] == 1
    if accepted:
        word = "Replaced" if route == MODIFY else "Cancelled"
        assert account.settled("FAULT-1", word).order_id == order_id


def test_no_server_at_all_is_not_sent(connect: Connect) -> None:
    account = connect("b")
    order = account.limit()
    dead = connect("b", login=False, base_url="http://127.0.0.1:9")
    dead.broker.attach(session())
    with pytest.raises(errors.ConnectFailed) as caught:
        dead.place(order, "FAULT-1")
    assert caught.value.fate is errors.Fate.NOT_SENT
    with pytest.raises(errors.ConnectFailed):
        connect("b", login=False, base_url="http://127.0.0.1:9").connect()


@pytest.mark.parametrize(
    "fault", ["error_500", "html_200", "half_body", "malformed_json", "error_envelope_200"]
)
@pytest.mark.parametrize(
    ("route", "read"),
    [
        ("GET /orders/dealerorderbook", "orders"),
        ("GET /orders/dealertradebook", "trades"),
        ("GET /portfolio/dealerpositions", "positions"),
        ("GET /portfolio/holdings", "holdings"),
        ("GET /user/balance", "funds"),
    ],
)
def test_no_book_is_empty_because_it_could_not_be_read(
    connect: Connect, sim: ThreadSimulator, fault: str, route: str, read: str
) -> None:
    account = connect("b", retry_count=1)
    sim.faults({"route": route, "fault": fault})
    with pytest.raises(errors.BrokerError):
        getattr(account.broker, read)(deadline=account.deadline())
