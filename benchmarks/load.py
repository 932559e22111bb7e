"""A small load generator: raw HTTP/1.1 over kept connections, timed one request at a time.

It does as little as it can between two requests, so that on two cores it is never what is measured.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to be sent; `answer_has` is what a good answer contains."""

    method: str
    path: str
    body: bytes = b""
    answer_has: bytes = b""

    def encode(self, host: str) -> bytes:
        """The request's bytes."""
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass
class Sample:
    """Seconds of each request, and how long the whole took."""

    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    def add(self, other: Sample) -> None:
        """Join another round to this one."""
        self.seconds += other.seconds
        self.elapsed += other.elapsed

    def percentile(self, share: float) -> float:
        """Milliseconds within which `share` (0 to 1) of the requests were answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    @property
    def median(self) -> float:
        return self.percentile(0.5)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / self.elapsed if self.elapsed else 0.0


class BadAnswer(RuntimeError):
    """The server did not answer as expected: the round would measure something else."""


class Connection:
    """One kept connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), 30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, request: bytes) -> tuple[int, bytes]:
        """Send one request; status and body of its answer."""
        self._socket.sendall(request)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        head = data[:end].lower()
        body = data[end + 4 :]
        at = head.find(b"content-length:")
        if at >= 0:
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            parts, have = [body], len(body)
            while have < length:
                part = self._receive()
                parts.append(part)
                have += len(part)
            body = b"".join(parts)
        else:
            while not body.endswith(b"0\r\n\r\n"):
                body += self._receive()
        return int(head[9:12]), body

    def _receive(self) -> bytes:
        part = self._socket.recv(262_144)
        if not part:
            raise BadAnswer("the server hung up")
        return part


def _run(url: str, calls: Sequence[Call], pause: float, seconds: list[float]) -> None:
    connection = Connection(url)
    requests = [call.encode(connection.host) for call in calls]
    try:
        for call, request in zip(calls, requests, strict=True):
            if pause:
                time.sleep(pause)
            started = time.perf_counter()
            status, body = connection.send(request)
            seconds.append(time.perf_counter() - started)
            if status != 200 or call.answer_has not in body:
                raise BadAnswer(f"{call.method} {call.path}: {status} {body[:300]!r}")
    finally:
        connection.close()


def back_to_back(url: str, calls: Sequence[Call], *, pause: float = 0.0) -> Sample:
    """One client sends the calls one after the other, `pause` seconds between them."""
    sample = Sample()
    started = time.perf_counter()
    _run(url, calls, pause, sample.seconds)
    sample.elapsed = time.perf_counter() - started
    return sample


def together(url: str, calls: Sequence[Call], clients: int) -> Sample:
    """`clients` clients share the calls out and send them at the same time."""
    parts: list[list[float]] = [[] for _ in range(clients)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            _run(url, calls[number::clients], 0.0, parts[number])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    if failures:
        raise failures[0]
    return Sample([one for part in parts for one in part], elapsed)
