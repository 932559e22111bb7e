"""Golden triples: a call, the exact requests it makes, the answers, and what it makes of them.

A triple is a JSON file: `call` and `arguments` name a method of `Broker`, `session` what is
attached, `exchange` lists the requests in order with their answers, and `model` or `error` is what
must come out. A request is compared in the parts that it names (method, path, params, json,
authorization; fractions in JSON as text, to the digit). The broker runs unmodified against a
scripted server on loopback.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

from broker.base import AccountConfig, Broker, Deadline, Operation, Priority, Runtime
from broker.errors import BrokerError
from broker.models import Secret, Session
from broker.slots import MemorySlotStore
from broker.testing.clocks import ManualClock

T = TypeVar("T")

SUBMITS = {"place": Operation.PLACE, "modify": Operation.MODIFY, "cancel": Operation.CANCEL}


@dataclass(frozen=True, slots=True)
class Triple:
    """One file, as read. `source` says where request and answer come from."""

    name: str
    source: str
    account: Mapping[str, str]
    session: Mapping[str, Any]
    call: str
    arguments: Mapping[str, Any]
    exchange: list[dict[str, Any]]
    outcome: Any


def load(path: Path) -> Triple:
    """Read a triple; a file that lacks something raises KeyError with its name."""
    data = json.loads(path.read_text("utf-8"))
    return Triple(
        name=path.stem,
        source=data["source"],
        account=data.get("account", {}),
        session=data["session"],
        call=data["call"],
        arguments=data.get("arguments", {}),
        exchange=data["exchange"],
        outcome={"error": data["error"]} if "error" in data else {"model": data["model"]},
    )


def outcome_of(triple: Triple, broker: type[Broker], credentials: Mapping[str, str]) -> Any:
    """Run a triple; what came out, in the form of its `outcome`. Requests are asserted."""
    clock = ManualClock()
    with scripted(triple.exchange) as venue:
        account = AccountConfig(
            label="golden",
            credentials={name: Secret(value) for name, value in credentials.items()},
            base_url=venue.url,
            retry_count=0,
        )
        account = replace(account, **triple.account)  # type: ignore[arg-type]
        runtime = Runtime(clock=clock, slots=MemorySlotStore(clock))
        made = broker(account, runtime)
        try:
            if triple.session:
                made.attach(session_of(triple.session, clock))
            outcome = {"model": plain(_call(made, triple, clock))}
        except BrokerError as error:
            outcome = {
                "error": {
                    "class": type(error).__name__,
                    "message": error.message,
                    "code": error.code,
                    "fate": error.fate.value,
                }
            }
        finally:
            made.close()
    venue.check()
    return outcome


def session_of(data: Mapping[str, Any], clock: ManualClock) -> Session:
    """A session from its tokens and details; it lives for ten hours."""
    return Session(
        tokens={name: Secret(value) for name, value in data["tokens"].items()},
        details=dict(data.get("details", {})),
        opened_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=10),
    )


def _call(broker: Broker, triple: Triple, clock: ManualClock) -> Any:
    method: Callable[..., Any] = getattr(broker, triple.call)
    hints = get_type_hints(getattr(Broker, triple.call))
    given = {name: build(hints[name], value) for name, value in triple.arguments.items()}
    if "deadline" in hints:
        given["deadline"] = Deadline(clock, 10.0)
    if triple.call in SUBMITS:
        given["slot"] = broker.reserve(
            SUBMITS[triple.call], priority=Priority.ENTRY, deadline=given["deadline"]
        )
    result = method(**given)
    return list(result) if isinstance(result, Iterator) else result


# Models and JSON --------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A model as JSON types: decimals and times as text, enums by value, secrets as "***"."""
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return [[plain(key), plain(part)] for key, part in value.items()] if any(
            not isinstance(key, str) for key in value
        ) else {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    return value


def build(kind: Any, value: Any) -> Any:
    """The reverse for arguments: JSON types into the type that a method asks for."""
    origin, parts = get_origin(kind), get_args(kind)
    if value is None or kind in (str, int, bool):
        return value
    if origin is not None and isinstance(value, list):
        return [build(parts[0], part) for part in value]
    if origin is not None:
        return build(next(part for part in parts if part is not type(None)), value)
    if kind is Decimal:
        return Decimal(value)
    if kind is date:
        return date.fromisoformat(value)
    if issubclass(kind, Enum):
        return kind(value)
    hints = get_type_hints(kind)
    return kind(**{name: build(hints[name], part) for name, part in value.items()})


# The scripted venue -----------------------------------------------------------------------------


class Scripted:
    """A server that expects certain requests in a certain order and gives prepared answers."""

    def __init__(self, exchange: list[dict[str, Any]]) -> None:
        self.url = ""
        self._exchange = exchange
        self._seen: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def answer(self, request: dict[str, Any]) -> tuple[int, str, bytes]:
        """Status, content type and body for the next request."""
        with self._lock:
            number = len(self._seen)
            self._seen.append(request)
        if number >= len(self._exchange):
            return 500, "text/plain", b"one request too many"
        answer = self._exchange[number]["answer"]
        if "json" in answer:
            body = json.dumps(answer["json"]).encode()
            return answer.get("status", 200), "application/json", body
        return answer.get("status", 200), answer.get("type", "text/html"), answer["text"].encode()

    def check(self) -> None:
        """Every expected request came, in order and to the letter, and no other."""
        wanted = [each["request"] for each in self._exchange]
        seen = [
            {name: part for name, part in request.items() if name in expected}
            for request, expected in zip(self._seen, wanted, strict=False)
        ]
        assert seen == wanted
        assert len(self._seen) == len(wanted)


@contextmanager
def scripted(exchange: list[dict[str, Any]]) -> Iterator[Scripted]:
    """Serve an exchange on loopback."""
    venue = Scripted(exchange)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            request: dict[str, Any] = {
                "method": self.command,
                "path": path,
                "params": dict(parse_qsl(query, keep_blank_values=True)),
                "json": json.loads(body, parse_float=str) if body else None,
                "authorization": self.headers.get("authorization", ""),
            }
            status, content_type, answer = venue.answer(request)
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    venue.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield venue
    finally:
        server.shutdown()
        server.server_close()
