"""Transport: what a call sends and gives, sharing of connections, streams, threads and forks."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import socket
import threading
import time
from decimal import Decimal

import httpx
import pytest

from broker import transport as module
from broker.errors import ConnectFailed
from broker.transport import Transport
from tests.support.raw_server import CLOCK, answer, in_, serve, transport


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


def test_no_descriptor_is_left_open() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    with serve(answer(b"{}")) as server:
        with transport(server.url) as http:
            http.send("GET", "/", deadline=in_(5))
        before = opened()
        for _ in range(20):
            with transport(server.url) as http:
                http.send("GET", "/", deadline=in_(5))
                with http.stream("GET", "/", deadline=in_(5)) as reply:
                    next(reply)
        # What the server's own side still closes may lag behind.
        deadline = time.monotonic() + 10
        while opened() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert opened() <= before


def test_shared_pool_survives_a_race_and_is_closed_by_its_last_user() -> None:
    with serve(answer(b"{}")) as server:
        http = Transport(server.url, clock=CLOCK)
        barrier = threading.Barrier(8)

        def work() -> None:
            barrier.wait()
            http.send("GET", "/", deadline=in_(5))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert any(server.url in key for key in module._POOLS._pools)
        http.close()
        http.close()
        assert not any(server.url in key for key in module._POOLS._pools)


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


def test_errors_in_the_callers_block_pass_unchanged() -> None:
    with serve(answer(b"abc")) as server, transport(server.url) as http:
        with pytest.raises(KeyError, match="mine"):
            with http.stream("GET", "/m", deadline=in_(5)):
                raise KeyError("mine")


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
