"""The pipeline that every API request passes, and the table of routes.

Order of checks: rate limit, content type and JSON, fields (400), key (403), scope (403), account
(403), and then the business itself. The limit is keyed by the verified key, else by the address,
so the body is parsed first; what it holds is only told after the limit has let the caller pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from flask import Request as HttpRequest
from flask import Response, request
from pydantic import ValidationError
from werkzeug.datastructures import Headers

from blueprints.api_v1.errors import Rejected, invalid_fields, malformed, refusal
from blueprints.api_v1.fields import MISSING
from blueprints.api_v1.schemas import AccountRequest, Request
from blueprints.context import Mounted, mounted
from blueprints.http import Body, encode, reply
from blueprints.limits import retry_after_header
from services.counting import api_call
from utils import callers, timing
from utils.logging import bind, bound
from utils.trace import Trace, noted, trace_of

if TYPE_CHECKING:
    from services.access import Principal
    from services.accounts import Account
    from services.gateway import Gateway

Scope = Literal["read", "trade", "admin"]
KIB = 1024

M = TypeVar("M", bound=Request)

_WRONG_KEY = "Invalid openalgo apikey"
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler gives back when it is more than a 200 with a JSON body."""

    body: Body
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Call(Generic[M]):
    """One authenticated, validated request: what a handler works with."""

    __slots__ = ("_account", "body", "gateway", "headers", "path", "principal", "request_id")

    def __init__(
        self,
        gateway: Gateway,
        body: M,
        principal: Principal,
        request_id: str,
        path: dict[str, str],
        headers: Headers,
    ) -> None:
        self.gateway = gateway
        self.body = body
        self.principal = principal
        self.request_id = request_id
        self.path = path
        self.headers = headers
        self._account: Account | None = None

    @property
    def account(self) -> Account:
        """The account that the request names, else the key's default; resolved once."""
        if self._account is None:
            label = cast(AccountRequest, self.body).account
            self._account = self.gateway.accounts.resolve(self.principal, label)
        return self._account

    @property
    def named_account(self) -> Account | None:
        """The account that the request names; None when it names none."""
        return self.account if cast(AccountRequest, self.body).account else None


Handler = Callable[[Call[Any]], "Body | Answer | Response"]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the route table: what the blueprint mounts and what `openapi.json` tells."""

    path: str
    method: Literal["GET", "POST"]
    model: type[Request]
    handler: Handler
    scope: Scope
    bucket: str
    body_limit: int
    summary: str
    tag: str

    @property
    def endpoint(self) -> str:
        """Name of the route within the blueprint."""
        words = [part for part in self.path.split("/") if part]
        name = "_".join(part.strip("<>").split(":")[-1] for part in words)
        return f"{self.method.lower()}_{name}"


class Routes:
    """Collects the routes of one module; the blueprint joins them all."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._rows: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._rows)

    def add(
        self,
        method: Literal["GET", "POST"],
        path: str,
        model: type[M],
        *,
        scope: Scope = "read",
        bucket: str = "api",
        body_limit: int = 64 * KIB,
    ) -> Callable[[Callable[[Call[M]], Body | Answer | Response]], Handler]:
        """Put a handler into the table; the first line of its docstring is the summary."""

        def keep(handler: Callable[[Call[M]], Body | Answer | Response]) -> Handler:
            summary = (handler.__doc__ or "").strip().split("\n")[0].rstrip(".")
            plain = cast(Handler, handler)
            self._rows.append(
                Route(path, method, model, plain, scope, bucket, body_limit, summary, self.tag)
            )
            return plain

        return keep

    def post(self, path: str, model: type[M], **options: Any) -> Any:
        """`POST path` with a JSON body of `model`."""
        return self.add("POST", path, model, **options)

    def get(self, path: str, model: type[M], **options: Any) -> Any:
        """`GET path` with a query of `model`."""
        return self.add("GET", path, model, **options)


# Reading the request ---------------------------------------------------------------------------


def read_body(http: HttpRequest, limit: int) -> bytes:
    """The JSON body as bytes; 415 for another content type, 413 above `limit` bytes."""
    content_type = http.environ.get("CONTENT_TYPE", "")
    if content_type != "application/json":
        mimetype = content_type.partition(";")[0].strip().lower()
        if mimetype != "application/json" and not (
            mimetype.startswith("application/") and mimetype.endswith("+json")
        ):
            raise Rejected(
                415, "unsupported_media_type",
                "Send the request as JSON, with the header Content-Type: application/json.",
            )  # fmt: skip
    if http.environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise Rejected(415, "unsupported_media_type", "Send the body without a Content-Encoding.")
    length = http.content_length
    if length is None and not http.environ.get("wsgi.input_terminated"):
        return b""  # neither a length nor chunks: there is no body
    if length is None or length <= limit:
        body: bytes = http.environ["wsgi.input"].read(limit + 1 if length is None else length)
        if len(body) <= limit:
            return body
    raise Rejected(413, "too_large", f"The body is too large: at most {limit // KIB} KiB are read.")


def read_query(http: HttpRequest) -> dict[str, str]:
    """The query as text fields; a field that comes twice is a 400."""
    fields = http.args.to_dict(flat=False)
    twice = {name[:96]: ["Given more than once."] for name, values in fields.items() if values[1:]}
    if twice:
        raise invalid_fields(twice)
    return {name: values[0] for name, values in fields.items()}


def _key_in(raw: bytes | dict[str, str]) -> str | None:
    """The API key of a request whose fields are at fault: best effort, for the limit alone."""
    if isinstance(raw, dict):
        return raw.get("apikey")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    key = body.get("apikey") if isinstance(body, dict) else None
    return key if isinstance(key, str) else None


def _named(trace: Trace, spent: timing.Spent, started: float) -> dict[str, str]:
    return {**trace.headers(), "Server-Timing": spent.header(perf_counter() - started)}


def _note_order(noted: dict[str, Any], outcome: Body) -> None:
    """Have the access line say which orders a call was about, and be kept."""
    noted["keep"] = True
    rows = outcome.get("results") or (outcome,)
    for name in ("reference", "orderid"):
        found = [row[name] for row in rows if row.get(name)]
        if found:
            noted[name] = found[0] if len(found) == 1 else found


# The pipeline ----------------------------------------------------------------------------------


class Endpoint:
    """A route as a Flask view. It has a function's name, which extensions look for."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.__name__ = self.__qualname__ = route.endpoint

    def __call__(self, **path: str) -> Response:
        started = perf_counter()
        http = cast(HttpRequest, request._get_current_object())  # type: ignore[attr-defined]
        here = mounted()
        trace, code = trace_of(http.environ), ""
        line = noted(http.environ)
        with bound(**trace.fields()), timing.collect() as spent:
            status, headers = 200, _NO_HEADERS
            try:
                outcome = self._run(http, here, trace.request_id, path)
            except Exception as error:
                status, outcome, headers = refusal(error, trace.request_id)
            if isinstance(outcome, Answer):
                status, headers, outcome = outcome.status, outcome.headers, outcome.body
            if isinstance(outcome, Response):
                response = outcome
                response.headers.update(_named(trace, spent, started))
            else:
                if status >= 400:
                    line["error_code"] = code = str(outcome.get("code", ""))
                if self.route.scope == "trade":
                    _note_order(line, outcome)
                if here.gateway.settings.sandbox:
                    outcome = {**outcome, "sandbox": True}
                data = encode(dict(sorted(outcome.items())))
                response = reply(data, status, {**headers, **_named(trace, spent, started)})
        total = perf_counter() - started
        own = max(0.0, total - spent.queue - spent.broker)
        api_call(self.route.path, response.status_code, total, own, code)
        return response

    def _run(
        self, http: HttpRequest, here: Mounted, request_id: str, path: dict[str, str]
    ) -> Body | Answer | Response:
        route = self.route
        fault: Rejected | None = None
        body: Request | None = None
        raw: bytes | dict[str, str] = b""
        try:
            if route.method == "GET":
                raw = read_query(http)
                body = route.model.model_validate(raw)
            else:
                raw = read_body(http, route.body_limit)
                body = route.model.model_validate_json(raw)
        except ValidationError as error:
            fault = malformed(error)
        except Rejected as error:
            fault = error
        header_key = http.environ.get("HTTP_X_API_KEY")
        key = (body.apikey if body is not None else _key_in(raw)) or header_key
        principal = here.gateway.access.authenticate_key(key) if key else None
        if principal is not None:
            noted(http.environ)["user_id"] = principal.user_id
            bind(user_id=principal.user_id)  # until the request's own fields are taken back
        self._hold_limit(here, http, principal)
        if fault is not None:
            raise fault
        assert body is not None  # noqa: S101 (no fault means that there is a body)
        if not key:
            raise invalid_fields({"apikey": [MISSING]})
        if principal is None:
            raise Rejected(403, "invalid_key", _WRONG_KEY)
        if not principal.allows(route.scope):
            raise Rejected(
                403, "forbidden",
                f"This API key may {principal.scope} only; the call needs the scope "
                f"'{route.scope}'.",
            )  # fmt: skip
        with callers.calling(f"key:{principal.key_id}"):
            return route.handler(
                Call(here.gateway, body, principal, request_id, path, http.headers)
            )

    def _hold_limit(self, here: Mounted, http: HttpRequest, principal: Principal | None) -> None:
        bucket = self.route.bucket
        caller = f"key:{principal.key_id}" if principal else f"address:{http.remote_addr}"
        wait = here.gate.check(bucket, caller)
        if wait is not None:
            raise Rejected(
                429,
                "rate_limit",
                f"Rate limit exceeded: {here.gate.words[bucket]}. "
                f"Try again in {max(wait, 0.01):.2f} seconds.",
                headers={"Retry-After": retry_after_header(wait)},
            )
