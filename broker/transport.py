"""HTTP to a venue: pooled connections, one total deadline a call, and an honest outcome.

This is the only module that imports httpx (docs/decisions/0002). A call ends in a `Reply`, in
`ConnectFailed` (provably nothing left this host), in `BrokerBusy` (there was no time left to send
it) or in `OutcomeUnknown` (anything else): nobody above has to know an HTTP library's exceptions.
Nothing is sent twice, no redirect is followed, and no message or log line holds a query, a header
or a body.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlencode

import httpcore
import httpx

from broker.base import Clock, Deadline
from broker.connections import Answer, Connections
from broker.dated import Dated
from broker.errors import BrokerBusy, BrokerError, ConnectFailed, OutcomeUnknown
from broker.payload import encode, unpacked
from broker.sockets import DeadlineBackend, Until

MAX_BODY = 64 * 1024 * 1024
"""Bytes that one non-streamed answer may have, unpacked."""

KEEPALIVE = 20.0
"""Seconds before an idle connection is dropped: XTS drops its end after 65 s (XTS reference §2),
and a connection that dies under a request looks exactly like "accepted, then closed"."""

# httpx logs every URL with its query at INFO, httpcore every answer's headers at DEBUG.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_NOT_SENT: tuple[type[Exception], ...] = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
    httpcore.UnsupportedProtocol,
)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose length is told even when there is no body."""

_TIMED_OUT: tuple[type[Exception], ...] = (
    TimeoutError,
    httpx.TimeoutException,
    httpcore.TimeoutException,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer: header names in lower case, the body unpacked, `elapsed` in seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: float

    @property
    def is_json_like(self) -> bool:
        """Whether the body begins like JSON: venues send HTML under any content type."""
        return self.body.lstrip()[:1] in (b"{", b"[", b'"')

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")


class StreamReply(Iterator[bytes]):
    """An answer being read: status and headers at once, the unpacked body by iteration."""

    def __init__(self, status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._chunks = chunks

    def __next__(self) -> bytes:
        return next(self._chunks)


class Transport:
    """Calls to one base URL. Safe between threads and across a fork; connections open lazily.

    Objects with the same host and settings share one pool of connections. Proxies and certificate
    stores from the process environment are not taken: a stray variable must not route orders and
    tokens through a third party, so another route is a setting (`AccountConfig.base_url`).
    `handler` replaces the network, for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        connect_timeout: float = 2.0,
        pool_size: int = 64,
        verify: bool = True,
        handler: httpx.BaseTransport | None = None,
    ) -> None:
        base = httpx.URL(base_url)
        if base.scheme not in ("http", "https") or not base.host:
            raise ValueError("a base URL needs http:// or https:// and a host")
        self.host = base.host
        self._netloc = base.netloc.decode("ascii")
        self._base = f"{base.scheme}://{self._netloc}{base.path.rstrip('/')}"
        self._clock = clock
        self._handler = handler
        origin = f"{base.scheme}://{self._netloc}"
        self._key = (origin, connect_timeout, pool_size, verify)
        self._pool: _Pool | None = None
        self.dated: Dated | None = None

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        deadline: Deadline,
        timeout_share: float = 1.0,
    ) -> Reply:
        """One request, one complete answer, whatever its status.

        `json` is any JSON value, or bytes that are JSON already; a Decimal becomes a number. The
        call may take `timeout_share` of what is left of the deadline. Raises `ConnectFailed`,
        `BrokerBusy` or `OutcomeUnknown`.
        """
        started = self._clock.monotonic()
        call = _Call(method, path)
        until = Until.after(self._clock, deadline.remaining() * timeout_share)
        with call, self._open(call, params, json, headers, until) as response:
            body = _read_all(response)
            reply_headers = _lower(response)
        elapsed = self._clock.monotonic() - started
        date = reply_headers.get("date")
        if date is not None:
            self.dated = Dated(self._clock.now(), date, elapsed)
        return Reply(response.status_code, reply_headers, body, elapsed)

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        deadline: Deadline,
    ) -> Iterator[StreamReply]:
        """One request, whose answer is read in pieces of at most 256 KiB and never held whole.

        Errors as for `send`; they may also come out of the iteration.
        """
        call = _Call(method, path)
        until = Until.after(self._clock, deadline.remaining())
        with call:
            opened = self._open(call, params, json, headers, until)
            response = opened.__enter__()
        try:
            chunks = call.guard(_unpacked(response))
            yield StreamReply(response.status_code, _lower(response), chunks)
        finally:
            opened.__exit__(None, None, None)

    def close(self) -> None:
        """Give the shared pool back; its last user closes the connections."""
        if self._pool is not None:
            _POOLS.give_back(self._pool, id(self))
            self._pool = None

    @contextmanager
    def _open(
        self,
        call: _Call,
        params: Mapping[str, str] | None,
        json: object,
        headers: Mapping[str, str] | None,
        until: Until,
    ) -> Iterator[httpx.Response]:
        request = self._build(call, params, json, headers, until)
        handler = self._handler or self._shared()
        call.sending = True
        response = handler.handle_request(request)
        try:
            yield response
        finally:
            # Closing an unread answer closes its connection: a late rest never meets a new call.
            response.close()

    def _build(
        self,
        call: _Call,
        params: Mapping[str, str] | None,
        json: object,
        headers: Mapping[str, str] | None,
        until: Until,
    ) -> httpx.Request:
        url = _parsed(self._base + call.path)
        if params:
            url = url.copy_with(query=urlencode(params).encode("ascii"))
        fields = [
            ("host", self._netloc), ("accept", "*/*"), ("accept-encoding", "gzip"),
        ]  # fmt: skip
        content = b""
        if json is not None:
            content = json if isinstance(json, bytes) else encode(json)
            fields.append(("content-type", "application/json"))
        if json is not None or call.method in _WITH_BODY:
            fields.append(("content-length", str(len(content))))
        if headers:
            fields.extend(headers.items())
        if until.remaining() <= 0.0:
            raise TimeoutError("no time was left")
        timeout = {"connect": until, "read": until, "write": until, "pool": until}
        return httpx.Request(
            call.method,
            url,
            headers=fields,
            stream=httpx.ByteStream(content),
            extensions={"timeout": timeout},
        )

    def _shared(self) -> _Pool:
        pool = self._pool
        if pool is None or pool.pid != os.getpid():
            pool = self._pool = _POOLS.take(self._key, self._clock, id(self))
        return pool


class _Call:
    """One call's names and how far it got; as a context it turns exceptions into outcomes."""

    __slots__ = ("method", "path", "sending")

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path.partition("?")[0]
        self.sending = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, Exception) and not isinstance(exc, BrokerError):
            # `from None`: an HTTP library's exception may quote a header or a URL.
            raise self._outcome(exc) from None

    def guard(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with self:
            yield from chunks

    def _outcome(self, exc: Exception) -> BrokerError:
        what = f"{self.method} {self.path}"
        timed_out = isinstance(exc, _TIMED_OUT)
        if not self.sending and timed_out:
            return BrokerBusy(f"Waiting used up the time for {what}; nothing was sent.")
        if not self.sending:
            name = type(exc).__name__
            return ConnectFailed(f"{what} could not be built ({name}); nothing was sent.")
        if isinstance(exc, _NOT_SENT):
            if timed_out:
                return ConnectFailed(
                    f"Connection timeout: no connection to the broker in time for {what}; "
                    "nothing was sent."
                )
            return ConnectFailed(f"Connection failed for {what}: {exc}; nothing was sent.")
        if timed_out:
            return OutcomeUnknown(f"Connection timeout: no complete answer to {what} in time.")
        return OutcomeUnknown(
            f"The connection broke before a complete answer to {what} ({type(exc).__name__})."
        )


class _Pool(httpx.BaseTransport):
    """The connections to one host in one process, over sockets with deadlines."""

    def __init__(self, key: _PoolKey, clock: Clock) -> None:
        origin, connect_timeout, size, verify = key
        self.key = key
        self.pid = os.getpid()
        self.users: set[int] = set()
        secure = origin.startswith("https:")
        context = httpx.create_ssl_context(verify=verify, trust_env=False) if secure else None
        url = httpx.URL(origin)
        self._connections = Connections(
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"
            ).origin,
            context,
            size,
            KEEPALIVE,
            DeadlineBackend(clock, connect_timeout),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = self._connections.send(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            ),
            request.extensions["timeout"]["pool"].remaining(),
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self._connections.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        self._answer.close()


_PoolKey = tuple[str, float, int, bool]


class _Pools:
    """Every pool of this process, with the transports (by id) that use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[_PoolKey, _Pool] = {}

    def take(self, key: _PoolKey, clock: Clock, user: int) -> _Pool:
        """The pool of a key; asking twice for one user counts once."""
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = _Pool(key, clock)
            pool.users.add(user)
            return pool

    def give_back(self, pool: _Pool, user: int) -> None:
        """One user less; the last one closes the connections."""
        with self._lock:
            pool.users.discard(user)
            if pool.users or self._pools.get(pool.key) is not pool:
                return
            del self._pools[pool.key]
        pool.close()

    def forget(self) -> None:
        """In a forked child: the sockets and the lock are the parent's."""
        self._lock = threading.Lock()
        self._pools = {}


_POOLS = _Pools()
os.register_at_fork(after_in_child=_POOLS.forget)


@lru_cache(maxsize=512)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


def _lower(response: httpx.Response) -> dict[str, str]:
    return dict(response.headers.items())


def _read_all(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in _unpacked(response):
        size += len(part)
        if size > MAX_BODY:
            raise OutcomeUnknown(f"The answer is larger than {MAX_BODY} bytes.")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unpacked(response: httpx.Response) -> Iterator[bytes]:
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    return unpacked(cast(httpx.SyncByteStream, response.stream), coding)
