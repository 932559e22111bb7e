"""What the faults of a plan do to a session or an answer, apart from the connection itself."""

from __future__ import annotations

import json

from simulator.envelope import (
    EXPRESS_500,
    HTML_TYPE,
    NGINX_502,
    Reply,
    XtsError,
    dumps,
    error,
)
from simulator.exchange import Context
from simulator.faults import Rule
from simulator.sessions import INTERACTIVE

_LOGIN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Maintenance</title></head><body>"
    b"<h1>We will be back soon</h1></body></html>\n"
)
_REFUSAL = "OEMS:RMS : Order refused by the simulated risk desk"


def settle_session(rule: Rule, ctx: Context) -> None:
    """dead_token ends the session; displaced_session lets somebody else log in over it."""
    session = ctx.session
    if session is None:
        return
    if rule.fault == "dead_token":
        ctx.exchange.sessions.kill(session)
    elif rule.fault == "displaced_session":
        if session.api == INTERACTIVE:
            ctx.exchange.sessions.open(session.credential, session.api, 86_400, "TWSAPI")
        else:
            ctx.exchange.sessions.kill(session)


def refusal(rule: Rule, ctx: Context, dead: Reply) -> Reply | None:
    """The answer of a fault that has one of its own; None for the others."""
    kind = rule.fault
    user = ctx.session.user_id if ctx.session is not None else ""
    if kind == "refuse":
        return XtsError(rule.code or "e-orders-0001", rule.text or _REFUSAL).reply()
    if kind in ("rate_limit_429", "rate_limit_400"):
        status = 429 if kind.endswith("429") else 400
        nested = ctx.session is not None and ctx.engine.quirks.rate_limit_nested
        body = {
            "type": "error",
            "code": rule.code or "e-apirl-0004",
            "description": rule.text or f"Rate limit exceeded for user {user}",
        }
        return Reply(status, dumps({"data": body} if nested else body))
    if kind in ("error_500", "error_500_after_accept"):
        return Reply(500, EXPRESS_500, HTML_TYPE)
    if kind == "error_502_html":
        return Reply(502, NGINX_502, HTML_TYPE)
    if kind == "html_200":
        return Reply(200, _LOGIN_PAGE, HTML_TYPE)
    if kind == "error_envelope_200":
        return error(rule.code or "e-orders-0001", rule.text or _REFUSAL, status=200)
    if kind in ("dead_token", "displaced_session"):
        return dead
    return None


def corrupt(rule: Rule, reply: Reply) -> Reply:
    """Damage a good answer."""
    if rule.fault == "empty_body":
        return Reply(reply.status, b"", reply.content_type)
    if rule.fault == "malformed_json":
        middle = max(len(reply.body) // 2, 1)
        return Reply(reply.status, reply.body[:middle] + b"\x00}{," + reply.body[middle:])
    if rule.fault == "success_without_id":
        return Reply(reply.status, _without_id(reply.body))
    return reply


def _without_id(body: bytes) -> bytes:
    document = json.loads(body)
    result = document.get("result")
    if isinstance(result, dict):
        result.pop("AppOrderID", None)
    return dumps(document)
