"""Login kinds, host look-up and sessions (XTS reference §2.3, §3)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.errors import (
    BrokerError,
    ConnectFailed,
    LoginFailed,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    SessionExpired,
)
from broker.jainam_prop.declaration import PROFILE
from broker.models import Exchange, InstrumentRef, Session
from broker.xts.login import base_from, base_of
from broker.xts.values import IST
from tests.support.xts import CREDENTIALS, Rig, Venue, error, session, success

LOOKUP = "POST /hostlookup"
DIRECT = "POST /interactive/user/session"
LOOKED_UP = "POST /5hostlookup/user/session"
MARKET = "POST /apibinarymarketdata/auth/login"
Build = Callable[..., Rig]


def login_result(**changes: Any) -> bytes:
    result = {
        "enums": {"exchangeInfo": {"NSECM": {"productType": {"1": "MIS"}}}},
        "clientCodes": ["CLIENT1"],
        "token": "ITOKEN-canary-5",
        "userID": "DEALER1",
        "isInvestorClient": False,
        **changes,
    }
    return success({k: v for k, v in result.items() if v is not ...}, code="s-user-0001")


def market_result(**changes: Any) -> bytes:
    result = {"token": "MTOKEN-canary-6", "userID": "MDUSER1", **changes}
    return success(result, code="e-response-0010")


def looked_up(connection: object = "https://smpb.jainam.in:4143/5hostlookup") -> bytes:
    return success({"uniqueKey": "UK", "connectionString": connection}, kind=True)


@pytest.fixture
def ready(venue: Venue) -> Venue:
    venue.on(LOOKUP, looked_up())
    venue.on(DIRECT, login_result())
    venue.on(LOOKED_UP, login_result())
    venue.on(MARKET, market_result())
    return venue


def log_in(rig: Rig) -> Session:
    return rig.broker.login()


def test_through_the_host_lookup(jainam: Build, ready: Venue) -> None:
    rig = jainam()
    found = log_in(rig)
    assert [request["route"] for request in ready.requests] == [LOOKUP, LOOKED_UP, MARKET]
    assert ready.requests[0]["json"] == {
        "accesspassword": "2021HostLookUpAccess",
        "version": "interactive_1.0.1",
    }
    assert ready.requests[1]["json"] == {
        "appKey": "IKEY-canary-1",
        "secretKey": "ISEC#canary$2",
        "source": "WEBAPI",
        "uniqueKey": "UK",
    }
    assert ready.requests[2]["json"] == {
        "appKey": "MKEY-canary-3",
        "secretKey": "MSEC@canary$4",
        "source": "WEBAPI",
    }
    assert found.details == {
        "user_id": "DEALER1",
        "clientCodes": "CLIENT1",
        "isInvestorClient": "false",
        "interactivePath": "/5hostlookup",
        "interactivePort": "4143",
        "marketUserID": "MDUSER1",
    }
    assert found.tokens["interactive"].reveal() == "ITOKEN-canary-5"
    assert rig.observer.anomalies == []


def test_calls_follow_the_lookup_s_path(jainam: Build, ready: Venue) -> None:
    rig = jainam()
    rig.broker.attach(log_in(rig))
    ready.on("GET /5hostlookup/orders/dealerorderbook", success([]))
    assert rig.broker.orders(deadline=rig.deadline()) == []
    sent = ready.requests[-1]
    assert sent["headers"] == {"authorization": "ITOKEN-canary-5", "x-request-id": "req-7"}
    assert sent["root"] == "https://smpb.jainam.in:4143"


def test_direct_when_the_account_says_so(jainam: Build, ready: Venue) -> None:
    found = log_in(jainam(host_lookup=False))
    assert [request["route"] for request in ready.requests] == [DIRECT, MARKET]
    assert "uniqueKey" not in ready.requests[0]["json"]
    assert (found.details["interactivePath"], found.details["interactivePort"]) == ("", "")


def test_a_broker_of_the_direct_kind_never_looks_up(wisdom: Build, venue: Venue) -> None:
    venue.on(DIRECT, login_result(isInvestorClient=True))
    venue.on("POST /apimarketdata/auth/login", market_result())
    rig = wisdom()
    assert log_in(rig).details["isInvestorClient"] == "true"
    assert rig.venue.sent(LOOKUP) == []


@pytest.mark.parametrize(
    "answer",
    [
        ConnectFailed("Connection timeout: …"),
        OutcomeUnknown("…"),
        (404, b"<html>"),
        error("e-hostlookup-1", "Host lookup failed"),
        success({"uniqueKey": "", "connectionString": "/5hostlookup"}, kind=True),
        success({"uniqueKey": "UK"}, kind=True),
        success("x", kind=True),
        looked_up("https://evil.example/5hostlookup"),
        looked_up("https://smpb.jainam.in:4143/../x?y"),
        looked_up("https://smpb.jainam.in:99999999/5hostlookup"),
    ],
)
def test_a_lookup_that_can_t_be_used_falls_back_to_direct(
    jainam: Build, ready: Venue, answer: object
) -> None:
    ready.on(LOOKUP, answer)
    rig = jainam()
    assert log_in(rig).details["interactivePath"] == ""
    assert [r["route"] for r in ready.requests] == [LOOKUP, DIRECT, MARKET]
    assert rig.observer.told == ["host_lookup"]


@pytest.mark.parametrize("answer", [ConnectFailed("no"), (404, b"<html>"), (200, success([]))])
def test_a_dead_end_behind_the_lookup_falls_back_to_direct(
    jainam: Build, ready: Venue, answer: object
) -> None:
    ready.on(LOOKED_UP, answer)
    rig = jainam()
    assert log_in(rig).details["interactivePath"] == ""
    assert rig.observer.told == ["host_lookup"]


def test_wrong_credentials_behind_the_lookup_are_final(jainam: Build, ready: Venue) -> None:
    ready.on(LOOKED_UP, (400, error("e-user-0002", "Invalid credentials")))
    with pytest.raises(LoginFailed):
        log_in(jainam())
    assert ready.sent(DIRECT) == []


@pytest.mark.parametrize(
    ("connection", "path", "port"),
    [
        ("https://smpb.jainam.in:4143/5hostlookup", "/5hostlookup", 4143),
        (" `https://smpb.jainam.in:4143/5hostlookup` ", "/5hostlookup", 4143),
        ("https://smpb.jainam.in:4202/1interactive/", "/1interactive", 4202),
        ("http://smpb.jainam.in/1hostlookup", "/1hostlookup", None),
        ("/9hostlookup", "/9hostlookup", None),
        ("smpb.jainam.in:4202", "", 4202),
        ("http://ctrade.jainam.in:4202/1hostlookup", "/1hostlookup", None),
        ("https://smpa.jainam.in:6543/1hostlookup", "/1hostlookup", None),
        ("", "", None),
    ],
)
def test_only_path_and_port_are_taken(
    jainam: Build, connection: str, path: str, port: int | None
) -> None:
    account = jainam().broker.account
    result = {"uniqueKey": " UK ", "connectionString": connection}
    base = base_from(result, PROFILE, account)
    assert (base.path, base.port, base.unique_key) == (path, port, "UK")


@pytest.mark.parametrize("host", ["evil.example", "smpb.jainam.in.evil.example", "127.0.0.1"])
def test_a_foreign_host_is_refused(jainam: Build, host: str) -> None:
    account = jainam().broker.account
    result = {"uniqueKey": "UK", "connectionString": f"https://{host}/5hostlookup"}
    with pytest.raises(ProtocolError, match="foreign host"):
        base_from(result, PROFILE, account)


def test_loopback_names_are_one_host(jainam: Build) -> None:
    account = jainam(base_url="http://127.0.0.1:7443").broker.account
    result = {"uniqueKey": "UK", "connectionString": "http://localhost:7500/1hostlookup"}
    assert base_from(result, PROFILE, account).port == 7500


def test_another_port_is_called_on_the_same_host(jainam: Build, ready: Venue) -> None:
    rig = jainam(base_url="http://127.0.0.1:7443")
    rig.broker.attach(session(interactivePath="/1hostlookup", interactivePort="7500"))
    ready.on("GET /1hostlookup/orders/dealerorderbook", success([]))
    rig.broker.orders(deadline=rig.deadline())
    assert ready.requests[-1]["root"] == "http://127.0.0.1:7500"
    v6 = jainam(base_url="http://[::1]:7443")
    v6.broker.attach(session(interactivePort="7500", interactivePath="/1hostlookup"))
    v6.broker.orders(deadline=v6.deadline())
    assert ready.requests[-1]["root"] == "http://[::1]:7500"
    v6.broker.close()
    assert ready.closed == 2


@pytest.mark.parametrize(
    "words",
    ["Invalid credentials", "Incorrect secretKey", "appKey not found", "Invalid Token"],
)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_wrong_credentials(jainam: Build, ready: Venue, words: str, status: int) -> None:
    ready.on(DIRECT, (status, error("e-user-0002", words)))
    with pytest.raises(LoginFailed) as caught:
        log_in(jainam(host_lookup=False))
    assert caught.value.message.startswith("Authentication failed: Invalid credentials")
    assert words in caught.value.message


def test_other_refusals_are_told_as_they_are(jainam: Build, ready: Venue) -> None:
    ready.on(DIRECT, (400, error("e-user-0009", "Account locked")))
    with pytest.raises(LoginFailed, match=r"^Authentication failed: Account locked"):
        log_in(jainam(host_lookup=False))


def test_what_was_sent_is_never_repeated(jainam: Build, ready: Venue) -> None:
    words = "Invalid appKey IKEY-canary-1 or secret ISEC#canary$2"
    ready.on(DIRECT, (400, error("e-user-0002", words)))
    with pytest.raises(LoginFailed) as caught:
        log_in(jainam(host_lookup=False))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ConnectFailed("Connection timeout: none"), ConnectFailed),
        ((502, b"<html>"), OutcomeUnknown),
        ((200, success([])), ProtocolError),
        (login_result(token=...), ProtocolError),
        (login_result(token=" "), ProtocolError),
        (login_result(userID=[]), ProtocolError),
        ((429, error("e-apirl-0004", "Rate limit")), RateLimited),
    ],
)
def test_a_login_that_did_not_work_is_no_session(
    jainam: Build, ready: Venue, answer: object, kind: type[BrokerError]
) -> None:
    ready.on(DIRECT, answer)
    with pytest.raises(kind):
        log_in(jainam(host_lookup=False))
    assert len(ready.sent(DIRECT)) == 1, "no loop"


def test_a_missing_credential_is_told_without_a_call(jainam: Build, ready: Venue) -> None:
    some = {k: v for k, v in CREDENTIALS.items() if k != "interactive_api_secret"}
    with pytest.raises(LoginFailed, match="not set"):
        log_in(jainam(credentials=some, host_lookup=False))
    assert ready.requests == []


def test_market_data_may_be_missing(jainam: Build, ready: Venue) -> None:
    ready.on(MARKET, (400, error("e-response-0012", "This application is only enabled for CTCL")))
    rig = jainam()
    found = log_in(rig)
    assert list(found.tokens) == ["interactive"]
    assert "CTCL" in found.details["marketDataError"]
    assert rig.observer.told == ["market_data_login"]
    rig.broker.attach(found)
    with pytest.raises(LoginFailed, match="Market data is not available"):
        rig.broker.depth(InstrumentRef(Exchange.NSE, "2885"), deadline=rig.deadline())
    ready.on("GET /5hostlookup/orders/dealerorderbook", success([]))
    assert rig.broker.orders(deadline=rig.deadline()) == []
    assert any("Market data" in fault for fault in _check(rig))


def _check(rig: Rig) -> list[str]:
    for route in ("GET /5hostlookup/user/balance", "GET /5hostlookup/portfolio/dealerpositions"):
        rig.venue.on(route, (500, b"<html>"))
    rig.venue.on("GET /5hostlookup/orders/dealertradebook", success([]))
    return rig.broker.self_check(deadline=rig.deadline(30))


def test_a_blip_of_market_data_is_tried_once_more(jainam: Build, ready: Venue) -> None:
    ready.on(MARKET, [(502, b"<html>"), (200, market_result())])
    assert "market_data" in log_in(jainam()).tokens
    ready.on(MARKET, (502, b"<html>"))
    before = len(ready.sent(MARKET))
    rig = jainam()
    found = log_in(rig)
    assert "market_data" not in found.tokens
    assert len(ready.sent(MARKET)) - before == 2
    rig.broker.attach(found)
    with pytest.raises(SessionExpired) as caught:
        rig.broker.depth(InstrumentRef(Exchange.NSE, "2885"), deadline=rig.deadline())
    assert caught.value.partial, "the interactive session need not suffer for it"


def jwt(expires: datetime) -> str:
    raw = base64.urlsafe_b64encode(json.dumps({"exp": expires.timestamp()}).encode()).decode()
    return f"h.{raw.rstrip('=')}.s"


def test_a_session_ends_with_the_servers_restart(jainam: Build, ready: Venue) -> None:
    rig = jainam()
    found = log_in(rig)
    assert found.opened_at == rig.clock.now() == datetime(2026, 11, 16, 4, 30, tzinfo=UTC)
    assert found.expires_at == datetime(2026, 11, 17, 5, 0, tzinfo=IST)
    rig.clock.advance(timedelta(hours=16).total_seconds())  # 02:00 IST of the next day
    assert log_in(rig).expires_at == datetime(2026, 11, 17, 5, 0, tzinfo=IST)


def test_a_token_that_ends_earlier_ends_the_session(jainam: Build, ready: Venue) -> None:
    rig = jainam()
    early = rig.clock.now() + timedelta(hours=2)
    ready.on(LOOKED_UP, login_result(token=jwt(early)))
    assert log_in(rig).expires_at == early
    ready.on(LOOKED_UP, login_result(token=jwt(rig.clock.now() - timedelta(hours=1))))
    assert log_in(rig).expires_at == datetime(2026, 11, 17, 5, 0, tzinfo=IST)


def test_a_client_that_can_t_be_traded_for_fails_the_login(jainam: Build, ready: Venue) -> None:
    with pytest.raises(LoginFailed, match="OTHER"):
        log_in(jainam(account_type="NORMAL", client_id="OTHER"))


def test_the_kind_of_login_may_be_unsaid(jainam: Build, ready: Venue) -> None:
    ready.on(LOOKED_UP, login_result(isInvestorClient=..., clientCodes=None))
    assert log_in(jainam()).details["isInvestorClient"] == ""


def test_no_secret_can_be_printed(jainam: Build, ready: Venue) -> None:
    rig = jainam()
    found = log_in(rig)
    rig.broker.attach(found)
    printed = f"{found!r} {rig.broker.account!r} {rig.observer.__dict__!r} {rig.broker.session!r}"
    assert "canary" not in printed


def test_the_base_of_a_session_from_before_is_the_declaration_s() -> None:
    base = base_of(session())
    assert (base.path, base.port) == ("", None)


# Logout ----------------------------------------------------------------------------------------

OUT = "DELETE /interactive/user/session"
MARKET_OUT = "DELETE /apibinarymarketdata/auth/logout"


@pytest.mark.parametrize("answer", [success({}), (400, error("e-session-0007", "Invalid Token"))])
def test_logout_of_both_apis(jainam: Build, venue: Venue, answer: object) -> None:
    venue.on(OUT, answer)
    venue.on(MARKET_OUT, answer)
    jainam().broker.logout(session())
    assert [request["route"] for request in venue.requests] == [OUT, MARKET_OUT]


def test_a_logout_that_was_not_heard_is_told_after_both_were_tried(
    jainam: Build, venue: Venue
) -> None:
    venue.on(OUT, ConnectFailed("no"))
    venue.on(MARKET_OUT, success({}))
    rig = jainam()
    with pytest.raises(ConnectFailed):
        rig.broker.logout(session())
    assert len(venue.sent(MARKET_OUT)) == 1


def test_logout_without_market_data(jainam: Build, venue: Venue) -> None:
    venue.on(OUT, success({}))
    bare = session()
    del bare.tokens["market_data"]
    jainam().broker.logout(bare)
    assert len(venue.requests) == 1
