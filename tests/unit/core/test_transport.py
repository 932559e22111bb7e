"""Transport against a scripted server on loopback: every way a call can end, and the deadline."""

from __future__ import annotations

import gzip
import logging
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

from broker import transport as module
from broker.base import Deadline
from broker.errors import BrokerBusy, ConnectFailed, Fate, OutcomeUnknown
from broker.transport import Transport


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("the transport never sleeps")


CLOCK = RealClock()
Behaviour = Callable[[socket.socket, bytes], bool]


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


def test_reply_carries_status_headers_body_and_time() -> None:
    with serve(answer(b'{"a":1}', status="400 Bad Request", extra=b"X-Thing: 7\r\n")) as server:
        with transport(server.url) as http:
            reply = http.send("GET", "/x", params={"id": "1&b=2"}, deadline=in_(5))
    assert (reply.status, reply.body, reply.text) == (400, b'{"a":1}', '{"a":1}')
    assert reply.headers["x-thing"] == "7"
    assert reply.is_json_like
    assert 0 < reply.elapsed < 5
    assert server.requests[0].startswith(b"GET /x?id=1%26b%3D2 HTTP/1.1\r\n")


def test_html_is_not_json_like() -> None:
    with serve(answer(b" <html>")) as server, transport(server.url) as http:
        assert not http.send("GET", "/", deadline=in_(5)).is_json_like


def test_json_numbers_are_exact_and_headers_are_sent() -> None:
    body = {"price": Decimal("1500.05"), "trigger": Decimal("10.00"), "id": 2885, "text": "M&M é"}
    with serve(answer(b"{}")) as server, transport(server.url + "/root/") as http:
        http.send("POST", "/orders", json=body, headers={"authorization": "t"}, deadline=in_(5))
        http.send("POST", "/orders", json=b'{"ready":1}', deadline=in_(5))
    first, second = server.requests
    assert first.startswith(b"POST /root/orders HTTP/1.1\r\n")
    assert b"authorization: t\r\n" in first
    assert first.endswith(
        b'{"price":1500.05,"trigger":10,"id":2885,"text":"M&M \\u00e9"}'
    )
    assert second.endswith(b'{"ready":1}')


@pytest.mark.parametrize("value", [float("nan"), Decimal("NaN"), object()])
def test_what_has_no_json_form_is_not_sent(value: object) -> None:
    with serve(answer(b"{}")) as server, transport(server.url) as http:
        with pytest.raises(ConnectFailed, match="nothing was sent"):
            http.send("POST", "/orders", json={"price": value}, deadline=in_(5))
    assert server.requests == []


def test_connections_are_kept_and_shared_between_transports_of_one_host() -> None:
    with serve(answer(b"{}")) as server, transport(server.url) as a, transport(server.url) as b:
        for _ in range(3):
            a.send("GET", "/a", deadline=in_(5))
            b.send("GET", "/b", deadline=in_(5))
        assert server.connections == 1
        a.close()
        b.send("GET", "/b", deadline=in_(5))
        assert server.connections == 1
        b.close()
        b.send("GET", "/b", deadline=in_(5))
        assert server.connections == 2


def test_refused_connection_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with transport(f"http://127.0.0.1:{port}") as http:
        with pytest.raises(ConnectFailed, match=r"refused; nothing was sent\.") as caught:
            http.send("POST", "/orders", json={}, deadline=in_(5))
    assert caught.value.fate is Fate.NOT_SENT


def test_unknown_host_is_not_sent() -> None:
    with transport("http://no-such-host.invalid") as http:
        with pytest.raises(ConnectFailed, match="nothing was sent"):
            http.send("POST", "/orders", json={}, deadline=in_(10))


def test_slow_host_look_up_keeps_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("broker.sockets._look_up", lambda host, port: never.wait(5) and [])
    started = time.monotonic()
    with transport("http://slow.example", connect_timeout=0.2) as http:
        with pytest.raises(ConnectFailed, match=r"^Connection timeout"):
            http.send("POST", "/orders", json={}, deadline=in_(3))
    never.set()
    assert time.monotonic() - started < 1.5


def test_connecting_that_hangs_is_not_sent() -> None:
    """A listener whose queue is full accepts nothing more: the kernel drops the handshake."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        with transport(
            f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.2
        ) as http:
            with pytest.raises(ConnectFailed, match=r"^Connection timeout"):
                http.send("POST", "/orders", json={}, deadline=in_(3))
        for filler in fillers:
            filler.close()


def test_failed_handshake_is_not_sent() -> None:
    with serve(raw(b"")) as server:
        url = server.url.replace("http:", "https:")
        with transport(url, connect_timeout=0.3) as http:
            with pytest.raises(ConnectFailed, match="nothing was sent"):
                http.send("POST", "/orders", json={}, deadline=in_(3))


def test_full_pool_is_not_sent() -> None:
    release = threading.Event()

    def hold(peer: socket.socket, request: bytes) -> bool:
        release.wait(5)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    with serve(hold) as server, transport(server.url, pool_size=1) as http:
        first = threading.Thread(target=lambda: http.send("GET", "/", deadline=in_(5)))
        first.start()
        while not server.requests:
            time.sleep(0.005)
        with pytest.raises(ConnectFailed, match=r"^Connection timeout"):
            http.send("POST", "/orders", json={}, deadline=in_(0.2))
        release.set()
        first.join()
    assert len(server.requests) == 1


def test_passed_deadline_sends_nothing() -> None:
    with serve(answer(b"{}")) as server, transport(server.url) as http:
        with pytest.raises(BrokerBusy, match="nothing was sent"):
            http.send("POST", "/orders", json={}, deadline=in_(0))
    assert server.requests == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
        + gzip.compress(b"x" * 1000)[:-9],
    ],
    ids=[
        "closed", "half-head", "half-body", "half-chunk", "nonsense", "no-gzip", "br", "half-gzip",
    ],
)
def test_all_after_the_first_byte_is_unknown_and_sent_once(data: bytes) -> None:
    with serve(raw(data)) as server, transport(server.url) as http:
        with pytest.raises(OutcomeUnknown) as caught:
            http.send("POST", "/orders", json={}, deadline=in_(5))
    assert caught.value.fate is Fate.UNKNOWN
    assert len(server.requests) == 1


def test_reset_is_unknown() -> None:
    def reset(peer: socket.socket, request: bytes) -> bool:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        return False

    with serve(reset) as server, transport(server.url) as http:
        with pytest.raises(OutcomeUnknown, match="POST /orders"):
            http.send("POST", "/orders", json={}, deadline=in_(5))
    assert len(server.requests) == 1


def test_reused_connection_that_dies_is_unknown() -> None:
    count = iter(range(9))

    def second_closes(peer: socket.socket, request: bytes) -> bool:
        if next(count) == 1:
            return False
        return answer(b"{}")(peer, request)

    with serve(second_closes) as server, transport(server.url) as http:
        http.send("GET", "/", deadline=in_(5))
        with pytest.raises(OutcomeUnknown):
            http.send("POST", "/orders", json={}, deadline=in_(5))
        assert http.send("GET", "/", deadline=in_(5)).status == 200
    assert len(server.requests) == 3


def test_idle_connection_that_was_closed_is_replaced_before_sending() -> None:
    closed = threading.Event()

    def closes_after(peer: socket.socket, request: bytes) -> bool:
        answer(b"{}")(peer, request)
        peer.shutdown(socket.SHUT_WR)
        closed.set()
        return True

    with serve(closes_after) as server, transport(server.url) as http:
        http.send("GET", "/", deadline=in_(5))
        assert closed.wait(5)
        assert http.send("POST", "/orders", json={}, deadline=in_(5)).status == 200
    assert server.connections == 2


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["silence", "headers", "body", "chunks"],
)
def test_deadline_holds_against_a_dripping_peer(before: bytes, piece: bytes) -> None:
    with serve(drip(before, piece, 0.02)) as server, transport(server.url) as http:
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown, match=r"^Connection timeout"):
            http.send("POST", "/orders", json={}, deadline=in_(0.5))
        assert 0.45 < time.monotonic() - started < 1.0
    assert len(server.requests) == 1


def test_timeout_share_leaves_time_for_the_caller() -> None:
    with serve(drip(b"", b"", 0.02)) as server, transport(server.url) as http:
        deadline = in_(1.0)
        with pytest.raises(OutcomeUnknown):
            http.send("POST", "/orders", json={}, deadline=deadline, timeout_share=0.3)
        assert 0.4 < deadline.remaining() < 0.75


def test_oversized_answer_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY", 1000)
    bomb = gzip.compress(b"0" * 5_000_000)
    with serve(answer(bomb, extra=b"Content-Encoding: gzip\r\n")) as server:
        with transport(server.url) as http, pytest.raises(OutcomeUnknown, match="larger than"):
            http.send("GET", "/", deadline=in_(5))


def test_gzip_is_unpacked() -> None:
    body = b'{"rows":[' + b"1," * 200_000 + b"1]}"
    packed = gzip.compress(body)
    with serve(answer(packed, extra=b"Content-Encoding: gzip\r\n")) as server:
        with transport(server.url) as http:
            assert http.send("GET", "/", deadline=in_(5)).body == body


def test_redirect_is_an_answer_not_followed() -> None:
    there = answer(b"", status="302 Found", extra=b"Location: http://elsewhere.invalid/\r\n")
    with serve(there) as server, transport(server.url) as http:
        assert http.send("GET", "/", deadline=in_(5)).status == 302
    assert len(server.requests) == 1


def test_stream_gives_status_then_pieces() -> None:
    body = bytes(range(256)) * 8000
    with serve(answer(gzip.compress(body), extra=b"Content-Encoding: gzip\r\n")) as server:
        with transport(server.url) as http:
            with http.stream("POST", "/master", json={"a": 1}, deadline=in_(5)) as reply:
                assert reply.status == 200
                assert reply.headers["content-encoding"] == "gzip"
                pieces = list(reply)
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= 256 * 1024


def test_stream_that_is_left_early_does_not_poison_the_next_call() -> None:
    with serve(answer(b"x" * 3_000_000)) as server, transport(server.url) as http:
        with http.stream("GET", "/master", deadline=in_(5)) as reply:
            assert len(next(reply)) > 0
        assert len(http.send("GET", "/", deadline=in_(5)).body) == 3_000_000
    assert server.connections == 2


def test_stream_errors_come_as_outcomes() -> None:
    cut = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    with serve(cut) as server, transport(server.url) as http:
        with http.stream("GET", "/m", deadline=in_(5)) as reply, pytest.raises(OutcomeUnknown):
            list(reply)
        dead = server.url
    with transport(dead) as http, pytest.raises(ConnectFailed):
        with http.stream("GET", "/m", deadline=in_(5)):
            pytest.fail("there is no server")


def test_stream_keeps_its_deadline() -> None:
    trickle = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x", 0.02)
    with serve(trickle) as server, transport(server.url) as http:
        with http.stream("GET", "/m", deadline=in_(0.4)) as reply:
            with pytest.raises(OutcomeUnknown, match=r"^Connection timeout"):
                list(reply)


def test_errors_in_the_callers_block_pass_unchanged() -> None:
    with serve(answer(b"abc")) as server, transport(server.url) as http:
        with pytest.raises(KeyError, match="mine"):
            with http.stream("GET", "/m", deadline=in_(5)):
                raise KeyError("mine")


def test_no_secret_reaches_a_message_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = []
    with serve(raw(b"")) as server, transport(server.url) as http:
        for headers in ({"authorization": "canary-1"}, {"authorization": "canary-1\n"}):
            with pytest.raises((ConnectFailed, OutcomeUnknown)) as caught:
                http.send(
                    "POST", "/orders?token=canary-2", params={"token": "canary-3"},
                    json={"secretKey": "canary-4"}, headers=headers, deadline=in_(5),
                )
            texts.append(str(caught.value))
            assert caught.value.__suppress_context__
    assert "canary" not in "".join(texts) + caplog.text


def test_requests_of_many_threads_do_not_mix() -> None:
    def echo(peer: socket.socket, request: bytes) -> bool:
        body = request.split(b" ")[1]
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True

    wrong: list[str] = []

    def work(http: Transport, name: int) -> None:
        for n in range(40):
            path = f"/{name}-{n}"
            if http.send("GET", path, deadline=in_(20)).text != path:
                wrong.append(path)

    with serve(echo) as server, transport(server.url) as http:
        threads = [threading.Thread(target=work, args=(http, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(server.requests) == 320


def _send_in_child(http: Transport, result: multiprocessing.Queue[int]) -> None:
    result.put(http.send("GET", "/child", deadline=in_(5)).status)


def test_forked_child_opens_its_own_connection() -> None:
    context = multiprocessing.get_context("fork")
    with serve(answer(b"{}")) as server, transport(server.url) as http:
        http.send("GET", "/parent", deadline=in_(5))
        result: multiprocessing.Queue[int] = context.Queue()
        child = context.Process(target=_send_in_child, args=(http, result))
        child.start()
        assert result.get(timeout=10) == 200
        child.join()
        http.send("GET", "/parent", deadline=in_(5))
    assert server.connections == 2


def test_base_url_is_checked() -> None:
    for url in ("ftp://x", "localhost:1", "http://"):
        with pytest.raises(ValueError, match="base URL"):
            Transport(url, clock=CLOCK)


def test_handler_replaces_the_network() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/down":
            raise httpx.ConnectError("no", request=request)
        return httpx.Response(200, json={"ok": True})

    with transport("https://venue.example", handler=httpx.MockTransport(handle)) as http:
        assert http.send("GET", "/up", deadline=in_(1)).body == b'{"ok":true}'
        with pytest.raises(ConnectFailed):
            http.send("GET", "/down", deadline=in_(1))
