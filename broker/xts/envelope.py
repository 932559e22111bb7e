"""An answer of XTS, by HTTP status and envelope, as a result or as one of the error classes.

What decides is `type` in the envelope and the code table below, never the HTTP status alone
(XTS reference §4). For a submit (place, modify, cancel) only an error envelope of the venue counts
as a refusal: HTML, broken JSON, 5xx and everything else leave the outcome unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from broker.base import Operation
from broker.errors import (
    BrokerError,
    NotFound,
    OutcomeUnknown,
    ProtocolError,
    RateLimited,
    RateLimitedUnknown,
    Refused,
    SessionExpired,
)
from broker.payload import decode
from broker.transport import Reply
from broker.xts.values import Unreadable, identifier


class Api(Enum):
    """The two independent services with sessions of their own (§2.1), and the look-up."""

    INTERACTIVE = "interactive"
    MARKET = "market_data"
    LOOKUP = "hostlookup"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of the wire.

    `submits`: it changes orders, so it is sent once and an unclear answer is an unknown outcome;
    every other call is a read and may be repeated. `empty`: the codes by which the venue says
    "nothing there"; a `listing` may say it in words alone. `missing`: the codes by which it says
    that it does not know the order; a call that `names_order` may be told so in words alone.
    """

    name: str
    operation: Operation
    api: Api
    method: str
    path: str
    submits: bool = False
    empty: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    listing: bool = False
    names_order: bool = False


class Empty(Enum):
    """The venue said, in so many words, that there is nothing."""

    NOTHING = "nothing"


NOTHING: Final = Empty.NOTHING

Parse = Callable[[bytes], object]
"""Reads a body: `ValueError` for what is no JSON."""

RATE_LIMIT_CODE = "e-apirl-0004"  # §15.3: refused before acceptance
RATE_LIMIT_WINDOW = 1.0  # seconds; §15.1: most limits are per second
_RATE_LIMIT_WORDS = re.compile(r"rate[ -]?limit", re.IGNORECASE)
_EMPTY_WORDS = re.compile(r"data not (available|found)|no data", re.IGNORECASE)
_UNKNOWN_ORDER_WORDS = re.compile(
    r"\border( ?id)?\b[^,;]* (not found|not exist|does ?n.t exist|unknown)"
    r"|\b(no such|unknown) (app ?)?order|\binvalid (app ?)?order ?id",
    re.IGNORECASE,
)
# §3.6. The two codes are market data's answers to subscriptions (§4.3), though some servers use
# e-session-0002 for a bad token too: then the description says so.
_SESSION_FAMILIES = ("e-session-", "e-token-")
_SUBSCRIPTION_CODES = frozenset({"e-session-0002", "e-session-0004"})
_SESSION_WORDS = re.compile(r"token|session|unauthori[sz]ed", re.IGNORECASE)
_TOKEN_WORDS = re.compile(r"token|session (has )?(been )?expired", re.IGNORECASE)
# Codes whose family says what was refused: words like "session" in their description are about
# the market's sessions, not ours (§4.3).
_SUBJECT_FAMILIES = (
    "e-orders",
    "e-order",
    "e-rms",
    "e-trade",
    "e-portfolio",
    "e-holdings",
    "e-property",
    "e-quotes",
    "e-instrument",
    "e-user",
    "e-response",
)
_MAX_WORDS = 600


def result_of(reply: Reply, endpoint: Endpoint, parse: Parse = decode) -> object:
    """The `result` of a successful answer, or `NOTHING`; raises the error that the answer means.

    `result` is what JSON made of it, with decimal numbers as `Decimal`; {} when it is absent.
    """
    body = _parse(reply.body, parse)
    if body is None:
        raise _not_json(reply, endpoint)
    return judge(body, reply.status, reply.headers, endpoint)


def judge(
    body: Mapping[str, object], status: int, headers: Mapping[str, str], endpoint: Endpoint
) -> object:
    """As `result_of`, for an envelope that has been parsed already."""
    kind = body.get("type")
    if 200 <= status < 300 and (kind == "success" or kind is True):
        result = body.get("result")
        return {} if result is None else result
    if status >= 500:
        raise OutcomeUnknown(
            f"The broker failed (HTTP {status}){_said(body)}.", code=_word(body, "code")
        )
    if _is_empty(body, endpoint):
        return NOTHING
    if kind != "error" and not (kind is None and status >= 400 and _word(body, "description")):
        raise _strange(endpoint, f"an envelope of type {str(kind)[:20]!r}, HTTP {status}")
    raise _refusal(body, status, headers, endpoint)


class Acknowledgement(NamedTuple):
    """What the venue said to a submit: its order id, and the tag that it echoed ("" for none)."""

    order_id: str
    tag: str


def acknowledgement_of(reply: Reply, endpoint: Endpoint) -> Acknowledgement:
    """As `result_of`, for a submit. Success without an order id leaves the outcome unknown."""
    body = unwrap(result_of(reply, endpoint))
    fields = body if isinstance(body, dict) else {}
    try:
        order_id = identifier(fields.get("AppOrderID"))
    except Unreadable:
        order_id = ""
    if not order_id.strip("0"):
        raise OutcomeUnknown(
            f"The broker told the {endpoint.name} as done, but without an order id."
        )
    return Acknowledgement(order_id, _word(fields, "OrderUniqueIdentifier"))


def error_words(body: Mapping[str, object]) -> str:
    """The broker's own words, with the field messages of a validation error behind them (§4.3)."""
    words = _word(body, "description")
    fields = _field_messages(body.get("result"))
    if fields:
        words = f"{words}: {fields}" if words else fields
    return words[:_MAX_WORDS]


def unwrap(value: object) -> object:
    """The only element of a one-element list, else the value itself (§4.1)."""
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return value


def _parse(raw: bytes, parse: Parse) -> Mapping[str, object] | None:
    """The envelope, out of a one-element list or a `data` around it (§4.1); None if there is none.

    A body that ends early or holds anything after the JSON is no envelope.
    """
    try:
        body = unwrap(parse(raw))
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    if "type" not in body:
        inner = body.get("data")
        if isinstance(inner, dict) and ("type" in inner or "code" in inner):
            return inner
    return body


def _not_json(reply: Reply, endpoint: Endpoint) -> BrokerError:
    if reply.status == 401:
        return SessionExpired(
            "The broker does not accept the session (HTTP 401).", partial=endpoint.api is Api.MARKET
        )
    if reply.status == 429:
        return _too_many("The broker answered HTTP 429", "", reply.headers, endpoint, sure=False)
    form = "nothing" if not reply.body.strip() else "something that is no JSON"
    if reply.body.lstrip()[:1] == b"<":
        form = "an HTML page"
    elif reply.is_json_like:
        form = "broken JSON"
    return OutcomeUnknown(f"The broker answered {form} (HTTP {reply.status}).")


def _strange(endpoint: Endpoint, what: str) -> BrokerError:
    message = f"The broker answered {endpoint.name} with {what}."
    return OutcomeUnknown(message) if endpoint.submits else ProtocolError(message)


def _refusal(
    body: Mapping[str, object], status: int, headers: Mapping[str, str], endpoint: Endpoint
) -> BrokerError:
    code = _word(body, "code")
    description = _word(body, "description")
    words = error_words(body)
    if code == RATE_LIMIT_CODE:
        return _too_many(words, code, headers, endpoint, sure=True)
    if status == 429 or code == "RATE_LIMIT_EXCEEDED" or _RATE_LIMIT_WORDS.search(description):
        return _too_many(words, code, headers, endpoint, sure=False)
    if _session_is_dead(code, description, status, endpoint):
        words = words or "no reason given"
        return SessionExpired(
            f"The broker does not accept the session: {words}",
            code=code,
            partial=endpoint.api is Api.MARKET,
        )
    if code in endpoint.missing or (
        endpoint.names_order and _UNKNOWN_ORDER_WORDS.search(description)
    ):
        return NotFound(words or "The broker does not know this order.", code=code)
    if words or code:
        return Refused(words or f"The broker refused with code {code}.", code=code)
    return _strange(endpoint, f"an error without a word, HTTP {status}")


def _session_is_dead(code: str, description: str, status: int, endpoint: Endpoint) -> bool:
    """§3.6, with market data's subscription codes set apart."""
    if status == 401:
        return True
    if code in _SUBSCRIPTION_CODES and endpoint.api is Api.MARKET:
        return bool(_TOKEN_WORDS.search(description))
    if code.startswith(_SESSION_FAMILIES):
        return True
    if code.startswith(_SUBJECT_FAMILIES):
        return False
    return bool(_SESSION_WORDS.search(description))


def _too_many(
    words: str, code: str, headers: Mapping[str, str], endpoint: Endpoint, *, sure: bool
) -> BrokerError:
    message = f"Rate limit exceeded at the broker: {words or 'too many calls'}"
    wait = _retry_after(headers)
    if endpoint.submits and not sure:
        return RateLimitedUnknown(message, code=code, retry_after=wait)
    return RateLimited(message, code=code, retry_after=wait)


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return min(max(float(headers.get("retry-after", "")), 0.0), 60.0)
    except ValueError:
        return RATE_LIMIT_WINDOW


def _is_empty(body: Mapping[str, object], endpoint: Endpoint) -> bool:
    """Whether the venue says "nothing there", as it does with an error code (§4.3)."""
    if endpoint.submits:
        return False
    code = _word(body, "code")
    if code in endpoint.empty:
        return True
    description = _word(body, "description")
    return endpoint.listing and bool(_EMPTY_WORDS.search(description))


def _said(body: Mapping[str, object]) -> str:
    words = error_words(body)
    return f": {words}" if words else ""


def _word(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    return value.strip() if isinstance(value, str) else ""


def _field_messages(result: object) -> str:
    """`field: message; …` of a validation body, "" for anything else."""
    errors = result.get("errors") if isinstance(result, dict) else None
    if not isinstance(errors, list):
        return ""
    found = []
    for error in errors:
        if isinstance(error, dict):
            messages = error.get("messages")
            if isinstance(messages, list):
                found.append(", ".join(str(message) for message in messages))
    return "; ".join(found)
