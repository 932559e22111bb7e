"""What all our HTTP answers share: flat JSON, the caller's address.

JSON is written here and not by the application's provider, because the blueprints also mount on
foreign applications, whose provider is theirs. Keys are written in alphabetical order by those
who build the answers, as OpenAlgo's come.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Request, Response

Body = Mapping[str, Any]

MOST_DAYS = 90
"""How far the daily history goes back."""

_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def _plain(value: object) -> str:
    """Kinds of text that the encoder does not know; `TypeError` for what JSON cannot say."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_strict = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain)


def encode(body: Body) -> bytes:
    """A body as JSON. Half a surrogate pair, which UTF-8 cannot say, becomes a question mark."""
    try:
        return _strict.encode(body)
    except UnicodeEncodeError:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def reply(
    body: Body | bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer that no cache keeps; `body` may be encoded already."""
    return Response(
        body if isinstance(body, bytes) else encode(body),
        status,
        {**_HEADERS, **headers} if headers else _HEADERS,
    )


def problem(code: str, message: str, **more: Any) -> dict[str, Any]:
    """The flat body of every refusal; its `message` is a sentence that stands alone."""
    body: dict[str, Any] = {"code": code}
    body.update((name, value) for name, value in sorted(more.items()) if value)
    body["message"] = message
    body["status"] = "error"
    return body


def from_this_machine(request: Request) -> bool:
    """Whether the caller's address, as the server knows it, is a loopback one."""
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def days_of(request: Request) -> int | None:
    """How many days the query `?days=` asks for, 7 where it does not; None when it is no number."""
    given = request.args.get("days", "7")
    if not given.isascii() or not given.isdigit() or len(given) > 3:
        return None
    return int(given) if 1 <= int(given) <= MOST_DAYS else None
