"""Transport: every way in which a call can fail, what is known then, and the deadline."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker import transport as module
from broker.errors import BrokerBusy, ConnectFailed, Fate, OutcomeUnknown
from tests.support.raw_server import answer, drip, in_, raw, secured, serve, transport


@pytest.mark.parametrize("value", [float("nan"), Decimal("NaN"), object()])
def test_what_has_no_json_form_is_not_sent(value: object) -> None:
    with serve(answer(b"{}")) as server, transport(server.url) as http:
        with pytest.raises(ConnectFailed, match="nothing was sent"):
            http.send("POST", "/orders", json={"price": value}, deadline=in_(5))
    assert server.requests == []


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost that no authority signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_speaks_tls_and_keeps_the_deadline_behind_it(certificate: Path) -> None:
    replies = iter([answer(b"{}"), drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.02)])
    behave = secured(certificate, lambda peer, request: next(replies)(peer, request))
    with serve(behave) as server:
        url = server.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
        with transport(url, verify=False) as http:
            assert http.send("GET", "/", deadline=in_(5)).body == b"{}"
            with pytest.raises(OutcomeUnknown, match=r"^Connection timeout"):
                http.send("GET", "/", deadline=in_(0.3))
    assert server.connections == 1


def test_unknown_certificate_is_refused_before_anything_is_sent(certificate: Path) -> None:
    with serve(secured(certificate, answer(b"{}"))) as server:
        with transport(server.url.replace("http:", "https:")) as http:
            with pytest.raises(ConnectFailed, match=r"certificate verify failed.*nothing was sent"):
                http.send("POST", "/orders", json={}, deadline=in_(5))
    assert server.requests == []


def test_request_that_cannot_be_written_in_time_is_unknown() -> None:
    release = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            held.append(listener.accept()[0])
            release.wait(10)

        thread = threading.Thread(target=accept)
        thread.start()
        with transport(f"http://127.0.0.1:{listener.getsockname()[1]}") as http:
            with pytest.raises(OutcomeUnknown, match=r"^Connection timeout"):
                http.send("POST", "/", json=b'"' + b"x" * 30_000_000 + b'"', deadline=in_(0.4))
        release.set()
        thread.join()
        held[0].close()


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
        assert 0.45 < time.monotonic() - started < 5.0
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
