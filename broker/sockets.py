"""Sockets that obey one total deadline, for the connection pool of `broker.transport`.

HTTP libraries apply a time-out to each single socket operation, so a peer that sends one byte a
second is never cut off. Here the time-out that travels with a request is an `Until`, a point in
time: every connect, handshake, read and write asks it anew for what is left.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol

import httpcore

_TOGETHER = 16 * 1024
"""Bytes that are held back at most: more than an order has."""

MAX_WAIT = 600.0
"""Seconds; stands in for an operation that carries no time-out, so that none waits for ever."""


class _Monotonic(Protocol):
    def monotonic(self) -> float: ...


class Until(float):
    """A point in monotonic time that passes for a time-out in seconds where a number is wanted.

    As a float it is what was left when it was made; `remaining()` is what is left now.
    """

    __slots__ = ("_at", "_clock")
    _at: float
    _clock: _Monotonic

    @classmethod
    def after(cls, clock: _Monotonic, seconds: float) -> Until:
        """The point `seconds` from now."""
        until = cls(max(0.0, seconds))
        until._clock = clock
        until._at = clock.monotonic() + seconds
        return until

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - self._clock.monotonic())


def _left(timeout: float | None) -> float:
    """Seconds left of a time-out; raises TimeoutError when nothing is, as a socket would."""
    if timeout is None:
        return MAX_WAIT
    seconds = timeout.remaining() if isinstance(timeout, Until) else timeout
    if seconds <= 0.0:
        raise TimeoutError("timed out")
    return seconds


class DeadlineStream(httpcore.NetworkStream):
    """One connected socket. Errors are httpcore's, as its connection pool expects them.

    `handshake` is when a TLS handshake on it must be over: the time for connecting is one.
    """

    def __init__(self, sock: socket.socket, handshake: Until) -> None:
        self._sock = sock
        self._handshake = handshake
        self._held = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Up to `max_bytes`; empty when the peer has closed."""
        if self._held:
            held, self._held = self._held, b""
            # Who hung up early may have said why: the answer is read all the same.
            with suppress(httpcore.WriteError):
                self._send(held, timeout)
        try:
            self._sock.settimeout(_left(timeout))
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of `buffer`, or an error after an unknown part of it.

        A little is held back until more comes or an answer is read: a request's head and body then
        leave as one.
        """
        buffer, self._held = self._held + buffer, b""
        if len(buffer) <= _TOGETHER:
            self._held = buffer
        else:
            self._send(buffer, timeout)

    def _send(self, buffer: bytes, timeout: float | None) -> None:
        try:
            view = memoryview(buffer)
            while view:
                self._sock.settimeout(_left(timeout))
                view = view[self._sock.send(view) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the socket at once."""
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Shake hands; whatever goes wrong counts as a failure to connect."""
        try:
            self._sock.settimeout(_left(self._handshake))
            sock = ssl_context.wrap_socket(self._sock, server_hostname=server_hostname)
            return DeadlineStream(sock, self._handshake)
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error

    def get_extra_info(self, info: str) -> Any:
        """What the pool asks: whether an idle connection has bytes, or its end, waiting."""
        if info == "is_readable":
            return _is_readable(self._sock)
        if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket):
            return self._sock
        return None


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections within `connect_timeout` seconds in all: look-up, TCP and TLS."""

    def __init__(self, clock: _Monotonic, connect_timeout: float) -> None:
        self._clock = clock
        self._connect_timeout = connect_timeout

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; all of them share the time."""
        try:
            until = Until.after(self._clock, min(self._connect_timeout, _left(timeout)))
            return DeadlineStream(_connect(host, port, until), until)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error


def _connect(host: str, port: int, until: Until) -> socket.socket:
    failure = OSError(f"{host} has no address")
    for family, address in _resolve(host, port, until):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left(until))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _resolve(host: str, port: int, until: Until) -> list[tuple[int, Any]]:
    """Addresses of a host. The system's look-up knows no time-out, so a thread does the waiting."""
    if _is_address(host):
        return _look_up(host, port)
    done = threading.Event()
    found: list[tuple[int, Any]] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(_look_up(host, port))
        except OSError as error:
            failed.append(error)
        done.set()

    threading.Thread(target=look_up, name="dns", daemon=True).start()
    if not done.wait(_left(until)):
        raise TimeoutError("the host name could not be looked up in time")
    if failed:
        raise failed[0]
    return found


def _look_up(host: str, port: int) -> list[tuple[int, Any]]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in rows]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_readable(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
