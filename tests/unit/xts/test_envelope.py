"""The code table: every answer of XTS reference §3.6, §4, §15.3 as a result or an error."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from broker import errors
from broker.transport import Reply
from broker.xts import client as calls
from broker.xts.envelope import NOTHING, Endpoint, result_of, unwrap
from tests.support.xts import error, success

SUBMITS = [calls.PLACE, calls.MODIFY, calls.CANCEL]
READS = [calls.DEALER_ORDER_BOOK, calls.BALANCE, calls.QUOTES, calls.CANDLES]
HTML = b"<!DOCTYPE html>\n<html><body><h1>502 Bad Gateway</h1></body></html>"


def reply(body: bytes, status: int = 200, **headers: str) -> Reply:
    return Reply(status, headers, body, 0.001)


def failure(endpoint: Endpoint, body: bytes, status: int = 400) -> errors.BrokerError:
    with pytest.raises(errors.BrokerError) as caught:
        result_of(reply(body, status), endpoint)
    return caught.value


def ids(endpoint: Endpoint) -> str:
    return endpoint.name


# Success ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["success", True])
def test_success_is_told_by_the_type(kind: object) -> None:
    assert result_of(reply(success({"a": 1}, kind=kind)), calls.PLACE) == {"a": 1}


def test_the_code_s_prefix_means_nothing() -> None:
    body = success({"token": "t"}, code="e-response-0010")
    assert result_of(reply(body), calls.MARKET_LOGIN) == {"token": "t"}


def test_decimals_come_out_exact_and_nan_as_text() -> None:
    body = b'{"type":"success","result":{"p":112.45,"n":NaN}}'
    assert result_of(reply(body), calls.BALANCE) == {"p": Decimal("112.45"), "n": "NaN"}


def test_one_element_lists_and_missing_results() -> None:
    assert result_of(reply(b"[" + success([1]) + b"]"), calls.QUOTES) == [1]
    assert result_of(reply(b'{"type":"success"}'), calls.CANCEL) == {}
    assert unwrap([{"a": 1}]) == {"a": 1}
    assert unwrap([1, 2]) == [1, 2]


# What a submit may and may not count as a refusal ----------------------------------------------


@pytest.mark.parametrize("endpoint", SUBMITS, ids=ids)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (HTML, 200),
        (HTML, 404),
        (HTML, 500),
        (HTML, 502),
        (b"", 200),
        (b"", 400),
        (b'{"type":"success","result":{"AppOrd', 200),
        (b"null", 200),
        (b'"text"', 200),
        (b"[]", 200),
        (b"[1,2]", 200),
        (b"{}", 200),
        (b'{"description":"Request sent","result":{"AppOrderID":1}}', 200),
        (b'{"type":"info","description":"hello"}', 200),
        (b'{"type":"error"}', 400),
        (b'{"type":"error","code":"","description":""}', 200),
        (success({"AppOrderID": 1}), 500),
        (success({"AppOrderID": 1}), 400),
        (error("e-orders-0001", "some failure"), 500),
        (error("e-session-0007", "Invalid Token"), 503),
        (b"[" * 5000 + b"]" * 5000, 200),
        (success({}) + b"garbage", 200),
    ],
)
def test_an_unclear_answer_to_a_submit_is_an_unknown_outcome(
    endpoint: Endpoint, body: bytes, status: int
) -> None:
    found = failure(endpoint, body, status)
    assert type(found) is errors.OutcomeUnknown
    assert found.fate is errors.Fate.UNKNOWN


@pytest.mark.parametrize("endpoint", SUBMITS, ids=ids)
@pytest.mark.parametrize("status", [200, 400, 403, 409])
def test_an_error_envelope_refuses_a_submit_in_the_broker_s_own_words(
    endpoint: Endpoint, status: int
) -> None:
    words = "Order quantity is not a multiple of lot size"
    found = failure(endpoint, error("e-orders-0042", words), status)
    assert type(found) is errors.Refused
    assert found.message == words
    assert found.code == "e-orders-0042"


def test_a_code_alone_is_a_refusal_too() -> None:
    assert "e-rms-0001" in failure(calls.PLACE, error("e-rms-0001", "")).message


def test_validation_messages_are_appended() -> None:
    detail = {
        "status": 400,
        "errors": [
            {"field": ["orderSide"], "messages": ['"orderSide" must be one of [BUY, SELL]']},
            {"field": ["x"], "messages": ["is bad", "is long"]},
            "noise",
            {"messages": None},
        ],
    }
    body = error("e-property-validation-failed", "Bad Request", detail)
    found = failure(calls.PLACE, body)
    assert type(found) is errors.Refused
    assert found.message == 'Bad Request: "orderSide" must be one of [BUY, SELL]; is bad, is long'
    bare = failure(calls.PLACE, error("e-property-validation-failed", "", detail))
    assert bare.message.startswith('"orderSide"')


def test_endless_words_are_cut() -> None:
    assert len(failure(calls.PLACE, error("e-orders-1", "x" * 5000)).message) == 600


# Sessions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", [*SUBMITS, *READS], ids=ids)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (error("e-session-0007", "Invalid Token"), 400),
        (error("e-token-0002", "Please Provide token to Authenticate"), 400),
        (error("e-token-0001", "Token/Authorization not found"), 400),
        (error("e-session-0005", "Your session has been expired"), 400),
        (b'{"type":"error","description":"Invalid Token"}', 200),
        (b'{"type":"error","description":"Session expired"}', 200),
        (error("Unauthorized", "Unauthorized"), 401),
        (error("e-orders-0001", "whatever"), 401),
        (HTML, 401),
        (b"", 401),
    ],
)
def test_every_form_of_a_dead_token(endpoint: Endpoint, body: bytes, status: int) -> None:
    found = failure(endpoint, body, status)
    assert type(found) is errors.SessionExpired
    assert found.fate is errors.Fate.REFUSED


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("e-session-0002", "Instrument Already Subscribed !"),
        ("e-session-0004", "Limit exceeded"),
    ],
)
def test_subscription_codes_are_no_dead_session(code: str, words: str) -> None:
    assert type(failure(calls.QUOTES, error(code, words))) is errors.Refused
    assert type(failure(calls.PLACE, error(code, words))) is errors.SessionExpired


def test_some_servers_use_the_subscription_code_for_a_bad_token() -> None:
    found = failure(calls.QUOTES, error("e-session-0002", "Invalid token"))
    assert type(found) is errors.SessionExpired


@pytest.mark.parametrize(
    "words", ["The trading session is closed", "No token of instrument 5", "Unauthorized product"]
)
def test_the_market_s_sessions_are_not_ours(words: str) -> None:
    assert type(failure(calls.PLACE, error("e-orders-0031", words))) is errors.Refused


# Rate limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 429])
@pytest.mark.parametrize("nested", [False, True])
def test_the_documented_rate_limit_precedes_acceptance(status: int, nested: bool) -> None:
    body = error("e-apirl-0004", "Rate limit exceeded for user X")
    if nested:
        body = b'{"data":' + body + b"}"
    found = failure(calls.PLACE, body, status)
    assert type(found) is errors.RateLimited
    assert found.fate is errors.Fate.REFUSED
    assert found.retry_after == 1.0
    assert found.message.startswith("Rate limit exceeded")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (error("RATE_LIMIT_EXCEEDED", "too many"), 400),
        (error("e-orders-0001", "Rate Limit reached"), 400),
        (error("other", "slow down"), 429),
        (HTML, 429),
    ],
)
def test_any_other_rate_limit_leaves_a_submit_unknown(body: bytes, status: int) -> None:
    assert type(failure(calls.PLACE, body, status)) is errors.RateLimitedUnknown
    assert type(failure(calls.BALANCE, body, status)) is errors.RateLimited


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("soon", 1.0), ("900", 60.0)])
def test_the_venue_says_when_to_come_back(value: str, seconds: float) -> None:
    headers = {"retry-after": value}
    with pytest.raises(errors.RateLimited) as caught:
        result_of(Reply(429, headers, error("e-apirl-0004", "Rate limit"), 0.0), calls.BALANCE)
    assert caught.value.retry_after == seconds


# Empty against failure -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        (calls.ORDER_BOOK, "e-orders-0005"),
        (calls.DEALER_ORDER_BOOK, "e-orders-0005"),
        (calls.TRADE_BOOK, "e-tradeBook-0005"),
        (calls.DEALER_TRADE_BOOK, "e-tradeBook-0005"),
        (calls.POSITIONS, "e-portfolio-0005"),
        (calls.DEALER_POSITIONS, "e-portfolio-0005"),
        (calls.HOLDINGS, "e-holdings-0005"),
    ],
)
def test_empty_is_an_error_on_this_wire(endpoint: Endpoint, code: str) -> None:
    assert result_of(reply(error(code, "Data Not Available"), 400), endpoint) is NOTHING
    assert result_of(reply(error(code, ""), 400), endpoint) is NOTHING
    other = error("e-property-validation-failed", "Data Not Available")
    assert result_of(reply(other, 400), endpoint) is NOTHING


@pytest.mark.parametrize("endpoint", SUBMITS, ids=ids)
def test_nothing_is_never_the_answer_to_a_submit(endpoint: Endpoint) -> None:
    found = failure(endpoint, error("e-orders-0005", "Data Not Available"))
    assert type(found) is errors.Refused


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (error("e-trade-00002", "Supplied client not mapped under dealer"), 400, errors.Refused),
        (error("e-user-0001", "No RMS Limit assign to user"), 400, errors.Refused),
        (error("e-orders-0005", "Data Not Available"), 500, errors.OutcomeUnknown),
        (HTML, 500, errors.OutcomeUnknown),
        (HTML, 404, errors.OutcomeUnknown),
        (b"{broken", 200, errors.OutcomeUnknown),
        (b'{"type":"info"}', 200, errors.ProtocolError),
        (b"{}", 200, errors.ProtocolError),
        (b'{"type":"error"}', 400, errors.ProtocolError),
    ],
)
def test_a_book_that_can_t_be_read_is_never_empty(
    body: bytes, status: int, kind: type[errors.BrokerError]
) -> None:
    assert type(failure(calls.DEALER_ORDER_BOOK, body, status)) is kind


# Orders that the venue does not know -----------------------------------------------------------


def test_an_unknown_order_in_the_history() -> None:
    for code in ("e-orders-0001", "e-orders-0005"):
        found = failure(calls.ORDER_HISTORY, error(code, "Order history not found"))
        assert type(found) is errors.NotFound


@pytest.mark.parametrize(
    "words",
    ["Order not found", "order id 12 does not exist", "Invalid AppOrderID", "No such order"],
)
def test_an_unknown_order_in_words(words: str) -> None:
    assert type(failure(calls.CANCEL, error("e-orders-0007", words))) is errors.NotFound
    assert type(failure(calls.MODIFY, error("e-orders-0007", words))) is errors.NotFound
    assert type(failure(calls.PLACE, error("e-orders-0007", words))) is errors.Refused


@pytest.mark.parametrize(
    "words",
    [
        "Order is not in a modifiable state: Rejected",
        "Order quantity is invalid",
        "Invalid price for order",
    ],
)
def test_other_refusals_of_a_modify_are_no_unknown_order(words: str) -> None:
    assert type(failure(calls.MODIFY, error("e-orders-0001", words))) is errors.Refused


def test_no_answer_s_text_is_lost_on_5xx() -> None:
    body = json.dumps({"type": "error", "code": "x", "description": "maintenance"}).encode()
    assert "maintenance" in failure(calls.BALANCE, body, 503).message
