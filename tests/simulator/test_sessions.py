"""Logins, host lookup, tokens, and what a dead token looks like (XTS reference §2.3, §3)."""

from __future__ import annotations

import base64
import json

import pytest

from simulator.testing import ThreadSimulator
from tests.simulator.conftest import Connect
from tests.support.xts_client import XtsClient

LOOKUP = {"accesspassword": "2021HostLookUpAccess", "version": "interactive_1.0.1"}


def test_interactive_login_has_the_documented_shape(b: XtsClient) -> None:
    result = b.login()
    assert result["isInvestorClient"] is False
    assert result["userID"] == b.credential["user_id"]
    assert result["clientCodes"] == b.credential["client_codes"]
    products = result["enums"]["exchangeInfo"]["NSECM"]["productType"]
    assert products == {"1": "MIS", "2": "NRML", "4": "CNC"}
    assert "positionSqureOffMode" in result["enums"]


def test_token_is_a_jwt_with_the_documented_claims(b: XtsClient) -> None:
    payload = b.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["userID"] == f"{b.credential['user_id']}_{claims['publicKey']}"
    assert claims["exp"] == claims["iat"] + 86_400
    assert claims["isInteractive"] is True


def test_market_login_succeeds_with_an_error_looking_code(b: XtsClient) -> None:
    answer = b.http.post("/apibinarymarketdata/auth/login", json=b.market_body())
    assert answer.json()["type"] == "success"
    assert answer.json()["code"] == "e-response-0010"


def test_investor_login_says_so(investor: XtsClient) -> None:
    assert investor.login()["isInvestorClient"] is True


@pytest.mark.parametrize("change", [{"secretKey": "wrong"}, {"appKey": "NOSUCHKEY"}])
def test_wrong_credentials_are_refused(b: XtsClient, change: dict[str, str]) -> None:
    answer = b.http.post("/interactive/user/session", json=b.login_body(**change))
    assert answer.status_code == 400
    assert "Invalid credentials" in answer.json()["description"]


@pytest.mark.parametrize("missing", ["appKey", "secretKey"])
@pytest.mark.parametrize("path", ["/interactive/user/session", "/apibinarymarketdata/auth/login"])
def test_missing_credentials_are_named(b: XtsClient, missing: str, path: str) -> None:
    body = b.login_body() if path.startswith("/interactive") else b.market_body()
    del body[missing]
    answer = b.http.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "e-property-validation-failed"
    assert missing in answer.text


def test_keys_of_one_api_do_not_open_the_other(b: XtsClient) -> None:
    body = {**b.market_body()}
    assert b.http.post("/interactive/user/session", json=body).status_code == 400


# -- host lookup -----------------------------------------------------------------------------


def test_lookup_answers_a_boolean_type_and_a_key(b: XtsClient) -> None:
    answer = b.http.post("/hostlookup", json=LOOKUP).json()
    assert answer["type"] is True
    connection = answer["result"]["connectionString"]
    assert connection == f"{b.sim.url}/1hostlookup"
    body = b.login_body(uniqueKey=answer["result"]["uniqueKey"])
    result = b.http.post(f"{connection}/user/session", json=body).json()["result"]
    b.token = result["token"]
    for base in ("/1hostlookup", "/1interactive", "/5interactive", "/interactive"):
        assert b.call("GET", "/user/enums", base=base).status_code == 200


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("interactive", "{root}/1interactive"),
        ("relative", "/1hostlookup"),
        ("bare", "{host}"),
        ("padded", " `{root}/1hostlookup` "),
    ],
)
def test_lookup_forms(b: XtsClient, form: str, expected: str) -> None:
    b.sim.control("hostlookup", {"form": form})
    answer = b.http.post("/hostlookup", json={"AccessPassword": "2021HostLookUpAccess"}).json()
    host = b.sim.url.removeprefix("http://")
    assert answer["result"]["connectionString"] == expected.format(root=b.sim.url, host=host)


def test_lookup_refuses_a_wrong_password_and_can_fail(b: XtsClient) -> None:
    assert b.http.post("/hostlookup", json={"accesspassword": "no"}).status_code == 400
    b.sim.control("hostlookup", {"fail": True})
    answer = b.http.post("/hostlookup", json=LOOKUP)
    assert "uniqueKey" not in answer.json()["result"]


def test_lookup_can_point_elsewhere(b: XtsClient) -> None:
    b.sim.control("hostlookup", {"root": "https://evil.example", "cluster": 9})
    answer = b.http.post("/hostlookup", json=LOOKUP).json()
    assert answer["result"]["connectionString"] == "https://evil.example/9hostlookup"


def test_unique_key_can_be_required(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"require_unique_key": True}})
    refused = b.http.post("/interactive/user/session", json=b.login_body())
    assert refused.json()["code"] == "e-login-0002"
    unknown = b.http.post("/interactive/user/session", json=b.login_body(uniqueKey="x"))
    assert unknown.status_code == 400
    key = b.http.post("/hostlookup", json=LOOKUP).json()["result"]["uniqueKey"]
    body = b.login_body(uniqueKey=key)
    assert b.http.post("/interactive/user/session", json=body).status_code == 200


# -- which prefix answers --------------------------------------------------------------------


def test_jainam_has_no_json_market_data(b: XtsClient) -> None:
    for answer in (
        b.http.post("/apimarketdata/auth/login", json=b.market_body()),
        b.http.get("/apimarketdata/config/clientConfig", headers={"Authorization": b.market_token}),
    ):
        assert answer.status_code == 404
        assert answer.text.startswith("<html>")
        assert "nginx" in answer.text


def test_ctcl_key_on_the_json_service(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"ctcl_answer": True}})
    answer = b.http.post("/apimarketdata/auth/login", json=b.market_body())
    assert (answer.status_code, answer.json()["code"]) == (400, "e-response-0012")


def test_generic_broker_has_no_binary_market_data(investor: XtsClient) -> None:
    answer = investor.http.post("/apibinarymarketdata/auth/login", json=investor.market_body())
    assert answer.status_code == 404
    older = investor.http.post("/marketdata/auth/login", json=investor.market_body())
    assert older.status_code == 200


def test_unknown_paths_are_html(b: XtsClient) -> None:
    assert "nginx" in b.http.get("/nowhere").text
    answer = b.call("GET", "/trades")
    assert answer.status_code == 404
    assert "Cannot connect" in answer.text


# -- life of a token -------------------------------------------------------------------------


def test_second_login_kills_the_first(b: XtsClient, sim: ThreadSimulator) -> None:
    displaced: list[str] = []
    sim.exchange.sessions.on_displaced.append(lambda session: displaced.append(session.token))
    old = b.token
    b.login()
    assert displaced == [old]
    new, b.token = b.token, old
    answer = b.call("GET", "/user/enums")
    assert (answer.status_code, answer.json()["code"]) == (400, "e-session-0007")
    b.token = new
    assert b.call("GET", "/user/enums").status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ("e-session-0007", 400, "e-session-0007"),
        ("e-token-0001", 400, "e-token-0001"),
        ("e-session-0005", 400, "e-session-0005"),
        ("200", 200, "e-session-0007"),
        ("401", 401, "Unauthorized"),
    ],
)
def test_forms_of_a_dead_token(b: XtsClient, form: str, status: int, code: str) -> None:
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"dead_token": form}})
    assert b.sim.control("sessions/kill", {"profile": "jainam-b"}) == {"killed": 2}
    answer = b.place()
    assert (answer.status_code, answer.json()["type"], answer.json()["code"]) == (
        status,
        "error",
        code,
    )
    assert b.sim.orders("jainam-b") == []  # nobody's order: the session is not known any more
    assert b.sim.control("requests", None, profile="stray")["counts"]["POST /orders"] == 1


def test_no_token_and_foreign_tokens(b: XtsClient) -> None:
    market, b.token = b.market_token, ""
    assert b.http.get("/interactive/user/enums").json()["code"] == "e-token-0002"
    b.token = market
    assert b.call("GET", "/user/enums").json()["code"] == "e-token-0001"
    b.token = "made.up.token"
    assert b.call("GET", "/user/enums").json()["code"] == "e-session-0007"


def test_tokens_expire_by_the_clock(b: XtsClient) -> None:
    assert b.call("GET", "/user/enums").status_code == 200
    b.sim.control("clock", {"advance_seconds": 86_401})
    assert b.call("GET", "/user/enums").json()["code"] == "e-session-0007"


def test_logout(b: XtsClient) -> None:
    assert b.call("DELETE", "/user/session").json()["code"] == "s-user-0001"
    assert b.call("GET", "/user/enums").status_code == 400
    assert b.market("DELETE", "/auth/logout").json()["code"] == "s-login-0005"
    assert b.market("GET", "/config/clientConfig").status_code == 400


def test_sessions_of_two_profiles_do_not_touch(connect: Connect) -> None:
    b, c = connect("jainam-b"), connect("jainam-c")
    b.sim.control("sessions/kill", {"profile": "jainam-b", "api": "interactive"})
    assert b.call("GET", "/user/enums").status_code == 400
    assert c.call("GET", "/user/enums").status_code == 200


def test_product_type_may_be_a_list(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"product_type_shape": "list"}})
    assert b.login()["enums"]["exchangeInfo"]["NSEFO"]["productType"] == ["MIS", "NRML"]
