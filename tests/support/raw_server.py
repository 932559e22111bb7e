"""A server on loopback that does exactly what a test says, byte by byte, and a transport to it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from broker.base import Deadline
from broker.testing.clocks import RealClock
from broker.transport import Transport

CLOCK = RealClock()
Behaviour = Callable[[socket.socket, bytes], bool]


@dataclass
class Secured:
    """A behaviour behind TLS."""

    context: ssl.SSLContext
    behaviour: Behaviour

    def __call__(self, peer: socket.socket, request: bytes) -> bool:
        return self.behaviour(peer, request)


@dataclass
class Server:
    """Answers each request by calling `behaviour`; a true return keeps the connection."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0


def read_request(peer: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            while len(rest) < int(line.split(b":")[1]):
                rest += peer.recv(65536)
    return head + b"\r\n\r\n" + rest


@contextmanager
def serve(behaviour: Behaviour) -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}")
    peers: list[socket.socket] = []

    def talk(peer: socket.socket) -> None:
        with suppress(OSError):
            if isinstance(behaviour, Secured):
                peer = behaviour.context.wrap_socket(peer, server_side=True)
        with peer, suppress(OSError):
            while request := read_request(peer):
                server.requests.append(request)
                if not behaviour(peer, request):
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.connections += 1
                peers.append(peer)
                threading.Thread(target=talk, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for peer in peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)


def answer(body: bytes, *, status: str = "200 OK", extra: bytes = b"") -> Behaviour:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode() + extra + b"\r\n"

    def behave(peer: socket.socket, request: bytes) -> bool:
        peer.sendall(head + body)
        return True

    return behave


def raw(data: bytes) -> Behaviour:
    def behave(peer: socket.socket, request: bytes) -> bool:
        peer.sendall(data)
        return False

    return behave


def drip(before: bytes, piece: bytes, every: float) -> Behaviour:
    """Send `before`, then `piece` again and again until the peer goes away."""

    def behave(peer: socket.socket, request: bytes) -> bool:
        peer.sendall(before)
        gone = threading.Event()
        while True:
            peer.sendall(piece)
            gone.wait(every)

    return behave


@contextmanager
def transport(url: str, **options: object) -> Iterator[Transport]:
    made = Transport(url, clock=CLOCK, **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()


def in_(seconds: float) -> Deadline:
    return Deadline(CLOCK, seconds)


def secured(certificate: Path, behaviour: Behaviour) -> Behaviour:
    """The behaviour behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    return Secured(context, behaviour)
