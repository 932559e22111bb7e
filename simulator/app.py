"""The HTTP server: finds service and session, applies faults and limits, calls the route.

One low-level aiohttp handler serves everything: the order path costs little, and a fault can
reach the connection itself (close it, cut a body in half, never answer).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.control import Control
from simulator.envelope import (
    EXPRESS_404,
    HTML_TYPE,
    JSON_TYPE,
    NGINX_404,
    HtmlError,
    Reply,
    XtsError,
    dumps,
    error,
)
from simulator.exchange import Context, Exchange
from simulator.faults import Rule
from simulator.misfortune import corrupt, refusal, settle_session
from simulator.oms import desk
from simulator.routes import hostlookup, interactive, marketdata, orders, portfolio
from simulator.routes.table import Route, StreamReply, Table
from simulator.sessions import INTERACTIVE, MARKET, Session
from simulator.settings import Quirks
from simulator.truth import Truth

_INTERACTIVE = re.compile(r"^(interactive|\d{1,3}(interactive|hostlookup))$")
_MARKET_PREFIXES = frozenset({"apimarketdata", "marketdata", "apibinarymarketdata"})
_TICK_SECONDS = 0.2
_JSON_HEADERS = {"Content-Type": JSON_TYPE}
#: Route modules register themselves in the tables below when they are imported.
ROUTE_MODULES = (interactive, orders, portfolio, marketdata, hostlookup)


class NoAnswer(Exception):
    """The connection is gone or taken over; nothing more may be written to it."""


class Server:
    """Serves one exchange on one port."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.control = Control(exchange)
        self._runner: web.ServerRunner | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port (a free one when asked for 0)."""
        handler = web.Server(self.handle, access_log=None, keepalive_timeout=65.0)  # Q49
        self._runner = web.ServerRunner(handler, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        await site.start()
        self._ticker = asyncio.create_task(self._tick())
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection and stop."""
        if self._ticker is not None:
            self._ticker.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self.exchange.tick()

    # -- one request ---------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        received = self.exchange.clock.mono_ns()
        path, _, raw_query = request.raw_path.partition("?")
        first, _, rest = path[1:].partition("/")
        if first == "_sim":
            return await self.control.handle(request, rest)
        body = await request.read()
        try:
            reply = await self._route(request, first, f"/{rest}", raw_query, body, received)
            if isinstance(reply, Reply):
                response = _response(reply)
                if date := self.exchange.clock.http_date():
                    response.headers["Date"] = date
                return response
            return await _stream(request, reply)
        except NoAnswer:
            return web.Response()

    async def _route(
        self,
        request: web.BaseRequest,
        first: str,
        rest: str,
        raw_query: str,
        raw: bytes,
        received: int,
    ) -> Reply | StreamReply:
        exchange = self.exchange
        api, table, path = self._service(first, rest)
        if table is None:
            return Reply(404, NGINX_404, HTML_TYPE)
        headers = request.headers
        token = headers.get("Authorization", "")
        session = exchange.sessions.find(token) if token else None
        route = table.find(request.method, path)
        if api == MARKET and (missing := self._wrong_prefix(first, session, raw)) is not None:
            return missing
        if route is None:
            return Reply(404, EXPRESS_404, HTML_TYPE)
        try:
            fields: dict[str, Any] | None = _fields(raw) if raw else {}
        except (ValueError, RecursionError):
            fields = None
        ctx = Context(
            exchange=exchange,
            method=request.method,
            prefix=first,
            query=dict(parse_qsl(raw_query, keep_blank_values=True)) if raw_query else {},
            body=fields or {},
            session=session,
            received=received,
            host=headers.get("Host", ""),
        )
        truth, profile, user = self._whose(ctx, api)
        if route.name == "POST /orders" and profile is not None:
            ctx.notes["record"] = desk.record(exchange.engines[profile], fields, user, received)
        status = 0
        try:
            reply = await self._answer(
                request, ctx, route, api, token, fields, truth, profile, user
            )
            status = reply.status if isinstance(reply, Reply) else 200
            return reply
        finally:
            truth.request(route.name, received, status, user)

    async def _answer(
        self,
        request: web.BaseRequest,
        ctx: Context,
        route: Route,
        api: str,
        token: str,
        fields: dict[str, Any] | None,
        truth: Truth,
        profile: str | None,
        user: str,
    ) -> Reply | StreamReply:
        plan = self.exchange.faults
        record = ctx.notes.get("record")
        tag = record.tag if record is not None else ctx.query.get("orderUniqueIdentifier", "")
        rule = plan.pick(route.name, profile, user, tag) if plan.rules else None
        if rule is None:
            return await self._serve(ctx, route, api, token, fields, truth)
        truth.faults.append(
            {"fault": rule.fault, "route": route.name, "tag": tag, "user": user, "at": ctx.received}
        )
        if record is not None:
            record.fault = rule.fault
        return await self._suffer(rule, request, ctx, route, api, token, fields, truth)

    async def _serve(
        self,
        ctx: Context,
        route: Route,
        api: str,
        token: str,
        fields: dict[str, Any] | None,
        truth: Truth,
    ) -> Reply | StreamReply:
        """The undisturbed way of a request: token, limit, body, route."""
        session = ctx.session
        if route.token:
            if session is None or session.api != api:
                return self._no_session(ctx, token)
            table = self.exchange.limits
            if table and route.limit:
                wait = session.windows.take(route.limit, table)
                if wait > 0.0:
                    truth.breach(route.limit, ctx.received, session.user_id, wait)
                    _refused(ctx, "rate limit")
                    return limited(ctx.engine.quirks, session.user_id)
        if fields is None:
            _refused(ctx, "malformed body")
            return error("e-app-0001", "Bad Request: body is not a JSON object")
        try:
            reply = route.handler(ctx)
            if isinstance(reply, Awaitable):
                return await reply
            return reply
        except (XtsError, HtmlError) as refused:
            return refused.reply()

    async def _suffer(
        self,
        rule: Rule,
        request: web.BaseRequest,
        ctx: Context,
        route: Route,
        api: str,
        token: str,
        fields: dict[str, Any] | None,
        truth: Truth,
    ) -> Reply | StreamReply:
        """A request that meets a fault: before the venue takes it, or after."""
        if rule.fault in ("slow", "hang_before_accept"):
            await asyncio.sleep(rule.seconds)
            if ctx.received < truth.since:
                raise _closed(request)  # the venue began anew: this request is history
        if rule.fault == "hang_before_accept":
            if not rule.accepts:
                _refused(ctx, "fault")
                raise _closed(request)
        elif rule.fault == "stale_book":
            ctx.cutoff = self.exchange.clock.mono() - rule.ms / 1000
        elif rule.fault == "accept_then_drop":
            ctx.drop = True
        settle_session(rule, ctx)
        early = refusal(rule, ctx, self._dead_form(ctx))
        if early is not None and not rule.accepts:
            _refused(ctx, "fault")
            return early
        if not rule.accepts:
            if rule.fault == "close_before_accept":
                _refused(ctx, "fault")
                raise _closed(request)
            _refused(ctx, "fault")
            return await self._corrupted(rule, request, Reply(200, b'{"type":"success"}'))
        reply = await self._serve(ctx, route, api, token, fields, truth)
        if early is not None:
            return early
        if rule.fault == "accept_then_hang":
            await asyncio.sleep(rule.seconds)
            raise _closed(request)
        if rule.fault in ("accept_then_close", "close_before_accept", "hang_before_accept"):
            raise _closed(request)
        return await self._corrupted(rule, request, reply)

    async def _corrupted(
        self, rule: Rule, request: web.BaseRequest, reply: Reply | StreamReply
    ) -> Reply | StreamReply:
        if rule.fault in ("slow", "stale_book", "accept_then_drop"):
            return reply
        if isinstance(reply, StreamReply):
            reply = Reply(200, b"".join(reply.chunks))
        if rule.fault == "half_body":
            transport = request.transport
            if transport is not None:
                half = reply.body[: max(len(reply.body) // 2, 1)]
                transport.write(
                    f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {reply.content_type}\r\n"
                    f"Content-Length: {len(reply.body)}\r\n\r\n".encode()
                    + half
                )
            raise _closed(request)
        return corrupt(rule, reply)

    # -- parts -----------------------------------------------------------------------------------

    def _service(self, first: str, rest: str) -> tuple[str, Table | None, str]:
        """Service, route table and path below the service's prefix."""
        if _INTERACTIVE.match(first):
            return INTERACTIVE, interactive.TABLE, rest
        if first in _MARKET_PREFIXES:
            return MARKET, marketdata.TABLE, rest
        if first == "hostlookup" and rest in ("", "/"):
            return "hostlookup", hostlookup.TABLE, "/hostlookup"
        return "", None, rest

    def _wrong_prefix(self, first: str, session: Session | None, raw: bytes) -> Reply | None:
        """The answer of a market-data prefix that the caller's broker does not serve (Q1)."""
        exchange = self.exchange
        profile: str | None = session.profile if session is not None else None
        if profile is None and raw:
            profile = self._profile_of_key(MARKET, _key_of(raw))
        if profile is None:
            served = any(first in e.profile.market_prefixes for e in exchange.engines.values())
            return None if served else Reply(404, NGINX_404, HTML_TYPE)
        engine = exchange.engines[profile]
        if first in engine.profile.market_prefixes:
            return None
        if engine.quirks.ctcl_answer:
            return error("e-response-0012", "This application is only enabled for CTCL")
        return Reply(404, NGINX_404, HTML_TYPE)

    def _profile_of_key(self, api: str, key: str) -> str | None:
        credential = self.exchange.credentials.get((api, key))
        return credential.profile if credential is not None else None

    def _whose(self, ctx: Context, api: str) -> tuple[Truth, str | None, str]:
        """Record, profile and user that a request belongs to, as far as they can be known."""
        session = ctx.session
        if session is not None:
            return self.exchange.engines[session.profile].truth, session.profile, session.user_id
        key = ctx.body.get("appKey")
        credential = self.exchange.credentials.get((api, key)) if isinstance(key, str) else None
        if credential is not None:
            truth = self.exchange.engines[credential.profile].truth
            return truth, credential.profile, credential.user_id
        return self.exchange.stray, None, ""

    def _no_session(self, ctx: Context, token: str) -> Reply:
        """Refusals of a missing, foreign or dead token (§3.6)."""
        _refused(ctx, "no session")
        if not token:
            return error("e-token-0002", "Please Provide token to Authenticate")
        if ctx.session is not None:
            return error("e-token-0001", "Token/Authorization not found")
        profile = self.exchange.sessions.profile_of_dead(token)
        if profile is None:
            return error("e-session-0007", "Invalid Token")
        return dead_token(self.exchange.engines[profile].quirks.dead_token)

    def _dead_form(self, ctx: Context) -> Reply:
        form = ctx.engine.quirks.dead_token if ctx.session is not None else "e-session-0007"
        return dead_token(form)


def dead_token(form: str) -> Reply:
    """The forms in which servers say that a token is dead."""
    if form == "200":
        return error("e-session-0007", "Invalid Token", status=200)
    if form == "401":
        return error("Unauthorized", "Unauthorized", status=401)
    texts = {
        "e-session-0007": "Invalid Token",
        "e-token-0001": "Token/Authorization not found",
        "e-session-0005": "Your session has been expired",
    }
    return error(form, texts[form])


def limited(quirks: Quirks, user: str, status: int | None = None) -> Reply:
    """The rate-limit refusal (§15.3)."""
    body: dict[str, Any] = {
        "type": "error",
        "code": quirks.rate_limit_code,
        "description": f"Rate limit exceeded for user {user}",
    }
    if quirks.rate_limit_nested:
        body = {"data": body}
    return Reply(status or quirks.rate_limit_status, dumps(body))


def _refused(ctx: Context, why: str) -> None:
    record = ctx.notes.get("record")
    if record is not None:
        record.refusal = why


def _fields(raw: bytes) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _key_of(raw: bytes) -> str:
    try:
        key = _fields(raw).get("appKey")
    except (ValueError, RecursionError):
        return ""
    return key if isinstance(key, str) else ""


def _closed(request: web.BaseRequest) -> NoAnswer:
    """Close the connection without (or in the middle of) an answer."""
    if request.transport is not None:
        request.transport.close()
    return NoAnswer()


def _response(reply: Reply) -> web.Response:
    if not reply.headers and reply.content_type is JSON_TYPE:
        return web.Response(status=reply.status, body=reply.body, headers=_JSON_HEADERS)
    headers = {"Content-Type": reply.content_type, **dict(reply.headers)}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


async def _stream(request: web.BaseRequest, reply: StreamReply) -> web.StreamResponse:
    headers = {**_JSON_HEADERS, "Content-Length": str(reply.length)}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for chunk in reply.chunks:
        await response.write(chunk)
    await response.write_eof()
    return response
