"""Who asked for what: the ids of one request, taken from its headers, handed on and given back.

A request has an id for people (`X-Request-ID`) and, in the terms of W3C Trace Context, a trace it
belongs to and a span of its own. `traceparent` is believed before `X-Trace-ID` and `X-Span-ID`;
what is not well formed is ignored, so that nothing a caller writes reaches a log or a broker
unchecked. The ids are bound to the log's context, and `outgoing` reads them there for the calls
that are made on the request's behalf: the broker's span has ours as its parent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from utils.ids import new_request_id
from utils.logging import bound_fields

TRACE_KEY = "openalgo.trace"
"""Where a request's `Trace` stands in its WSGI environment."""

NOTED_KEY = "openalgo.noted"
"""Where the WSGI environment keeps what the request's access line shall say."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
_PARENT = re.compile(  # https://www.w3.org/TR/trace-context/#traceparent-header
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


class Trace(NamedTuple):
    """The ids of one request; `sampled` is the caller's wish that its trace be kept."""

    request_id: str
    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = False

    def fields(self) -> dict[str, Any]:
        """What every line of the request carries."""
        fields: dict[str, Any] = {
            "request_id": self.request_id, "trace_id": self.trace_id, "span_id": self.span_id,
        }  # fmt: skip
        if self.sampled:
            fields["sampled"] = True
        return fields

    def headers(self) -> dict[str, str]:
        """What the answer tells."""
        return {
            "X-Request-ID": self.request_id,
            "X-Trace-ID": self.trace_id,
            "X-Span-ID": self.span_id,
            "traceparent": _traceparent(self.trace_id, self.span_id, self.sampled),
        }


def trace_of(environ: dict[str, Any]) -> Trace:
    """The ids of a WSGI request: the same ones however often they are asked for."""
    known: Trace | None = environ.get(TRACE_KEY)
    if known is None:
        known = environ[TRACE_KEY] = begin(environ)
    return known


def noted(environ: dict[str, Any]) -> dict[str, Any]:
    """What the access line of this request shall say; to be filled in by whoever knows.

    `user_id`, `error_code`, `reference`, `orderid`; `keep` True: the line is always written.
    """
    found: dict[str, Any] = environ.setdefault(NOTED_KEY, {})
    return found


def begin(environ: Mapping[str, Any]) -> Trace:
    """New ids, with what the headers say where it is well formed."""
    given = environ.get("HTTP_X_REQUEST_ID")
    request_id: str = given if given and _REQUEST_ID.fullmatch(given) else new_request_id()
    span_id = os.urandom(8).hex()
    parent = environ.get("HTTP_TRACEPARENT")
    found = _PARENT.fullmatch(parent) if parent else None
    if found is not None and (found["version"] != "00" or not found["more"]):
        sampled = bool(int(found["flags"], 16) & 1)
        return Trace(request_id, found["trace"], span_id, found["span"], sampled)
    trace_id = environ.get("HTTP_X_TRACE_ID")
    if trace_id and _TRACE_ID.fullmatch(trace_id):
        caller = environ.get("HTTP_X_SPAN_ID")
        parent_id = caller if caller and _SPAN_ID.fullmatch(caller) else ""
        return Trace(request_id, trace_id, span_id, parent_id)
    own = request_id if _TRACE_ID.fullmatch(request_id) else new_request_id()
    return Trace(request_id, own, span_id)


def outgoing() -> dict[str, str]:
    """The headers for a call to a broker, of the request that this context works for."""
    fields = bound_fields()
    request_id = fields.get("request_id")
    if not request_id:
        return {}
    trace_id, span_id = fields.get("trace_id"), fields.get("span_id")
    if not trace_id or not span_id:
        return {"x-request-id": request_id}
    return {
        "x-request-id": request_id,
        "x-trace-id": trace_id,
        "x-span-id": span_id,
        "traceparent": _traceparent(trace_id, span_id, bool(fields.get("sampled"))),
    }


def _traceparent(trace_id: str, span_id: str, sampled: bool) -> str:
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"
