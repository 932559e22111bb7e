"""Ids of requests: what is believed of a caller's headers, and what is handed on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from utils.logging import bound
from utils.trace import begin, noted, outgoing, trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_request_without_ids_gets_them_once() -> None:
    environ: dict[str, Any] = {}
    trace = trace_of(environ)
    assert trace is trace_of(environ)
    assert re.fullmatch("[0-9a-f]{32}", trace.request_id)
    assert trace.trace_id == trace.request_id
    assert re.fullmatch("[0-9a-f]{16}", trace.span_id)
    assert begin({}).trace_id != trace.trace_id
    noted(environ)["user_id"] = 7
    assert noted(environ) == {"user_id": 7}


def test_traceparent_is_believed_before_the_older_headers() -> None:
    environ = {
        "HTTP_TRACEPARENT": PARENT, "HTTP_X_TRACE_ID": "a" * 32, "HTTP_X_SPAN_ID": "b" * 16,
        "HTTP_X_REQUEST_ID": "job-7",
    }  # fmt: skip
    trace = begin(environ)
    assert (trace.request_id, trace.trace_id, trace.parent_id) == ("job-7", TRACE, SPAN)
    assert trace.sampled
    assert trace.span_id != SPAN
    assert trace.headers() == {
        "X-Request-ID": "job-7",
        "X-Trace-ID": TRACE,
        "X-Span-ID": trace.span_id,
        "traceparent": f"00-{TRACE}-{trace.span_id}-01",
    }


def test_the_older_headers_alone() -> None:
    trace = begin({"HTTP_X_TRACE_ID": TRACE, "HTTP_X_SPAN_ID": SPAN})
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE, SPAN, False)
    assert begin({"HTTP_X_TRACE_ID": TRACE, "HTTP_X_SPAN_ID": "x"}).parent_id == ""


@pytest.mark.parametrize(
    "parent",
    [
        "", "x", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\r\nx-evil: 1", f"{PARENT}\n",
    ],
)  # fmt: skip
def test_what_is_not_well_formed_is_not_believed(parent: str) -> None:
    trace = begin({"HTTP_TRACEPARENT": parent, "HTTP_X_TRACE_ID": parent, "HTTP_X_REQUEST_ID": ""})
    assert trace.trace_id != TRACE
    assert not trace.sampled
    assert "evil" not in "".join(trace.headers().values())


def test_a_later_version_may_say_more() -> None:
    assert begin({"HTTP_TRACEPARENT": f"01-{TRACE}-{SPAN}-03-more"}).trace_id == TRACE


def test_calls_to_brokers_carry_the_ids_of_the_request() -> None:
    assert outgoing() == {}
    trace = begin({"HTTP_TRACEPARENT": PARENT})
    with bound(**trace.fields()):
        assert outgoing() == {name.lower(): value for name, value in trace.headers().items()}
    with bound(request_id="job-7"):
        assert outgoing() == {"x-request-id": "job-7"}
