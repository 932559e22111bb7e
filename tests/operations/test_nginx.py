"""nginx in front: the real one with the shipped file, before the real gateway and bad ones."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers import Served
from tests.operations.proxy import Proxy, check, nginx, prepare
from tests.operations.serving import free_port, wait_for
from tests.support import raw_server

pytestmark = pytest.mark.nginx

CALL = {"Content-Type": "application/json"}
ORDER = {
    "strategy": "front", "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY",
    "product": "MIS", "pricetype": "MARKET", "quantity": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def ask(
    proxy: Proxy, method: str, path: str, body: dict[str, Any] | bytes | None = None, *,
    source: str = "127.0.0.1", server: str = "127.0.0.1", secure: bool = True,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own, from an address of this machine."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    port = proxy.https if secure else proxy.http
    common: dict[str, Any] = {"timeout": 30, "source_address": (source, 0)}
    context = proxy.trust()
    context.check_hostname = server == "127.0.0.1"
    connection = (
        http.client.HTTPSConnection(server, port, context=context, **common) if secure
        else http.client.HTTPConnection(server, port, **common)
    )
    try:
        connection.request(method, path, data, {**CALL, **(headers or {})})
        got = connection.getresponse()
        return Answer(got.status, got.read(), dict(got.getheaders()))
    finally:
        connection.close()


@dataclass(frozen=True)
class Front:
    """nginx before the whole gateway."""

    proxy: Proxy
    served: Served


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    environ = {"TRUSTED_PROXIES": "127.0.0.1", "API_RATE_LIMIT": "10 per minute",
               "WISDOM_ENABLED": "false"}  # fmt: skip
    with Served(tmp_path_factory.mktemp("gateway"), environ=environ) as served:
        port = int(served.environ["PORT"])
        with nginx(tmp_path_factory.mktemp("nginx"), port, free_port()) as proxy:
            yield Front(proxy, served)


@contextmanager
def before(folder: Path, behaviour: raw_server.Behaviour) -> Iterator[tuple[Proxy, Any]]:
    """nginx before a server that does what the test says, as gateway and as feed."""
    with raw_server.serve(behaviour) as server:
        port = int(server.url.rpartition(":")[2])
        with nginx(folder, port, port) as proxy:
            yield proxy, server


def test_nginx_accepts_the_file(tmp_path: Path) -> None:
    done = check(prepare(tmp_path, free_port(), free_port()))
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_an_order_goes_through(front: Front) -> None:
    answer = ask(front.proxy, "POST", "/api/v1/placeorder", {"apikey": front.served.key, **ORDER})
    assert answer.status == 200, answer.body
    assert answer.json()["status"] == "success"
    wait_for(lambda: answer.headers["X-Request-ID"] in front.proxy.logs())  # logged after it


def test_in_the_clear_pages_are_led_to_https_and_calls_are_refused(front: Front) -> None:
    page = ask(front.proxy, "GET", "/login?next=/", secure=False)
    assert (page.status, page.headers["Location"]) == (301, "https://127.0.0.1/login?next=/")
    call = ask(front.proxy, "POST", "/api/v1/placeorder", {"apikey": "x"}, secure=False)
    assert call.status == 403


def test_the_gateway_knows_the_callers_address_and_no_invented_one(front: Front) -> None:
    wrong = {"apikey": "a-wrong-key-from-somewhere"}
    forged = {"X-Forwarded-For": "203.0.113.9"}
    statuses = [
        ask(front.proxy, "POST", "/api/v1/ping", wrong, source="127.0.0.2", headers=forged).status
        for _ in range(11)
    ]
    assert statuses == [403] * 10 + [429]  # limits count by the address behind the proxy
    other = ask(front.proxy, "POST", "/api/v1/ping", wrong, source="127.0.0.3")
    assert other.status == 403
    wait_for(lambda: {"127.0.0.2", "127.0.0.3"} <= _callers(front.served))  # written behind them
    assert "203.0.113.9" not in _callers(front.served)


def _callers(served: Served) -> set[str]:
    """The addresses in the gateway's access log."""
    lines = (served.folder / "log" / "access.log").read_text(encoding="utf-8").splitlines()
    return {json.loads(line)["remote"] for line in lines}


def _own_address() -> str | None:
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        found = str(probe.getsockname()[0])
    return None if found.startswith("127.") else found


def test_what_is_for_this_machine_stays_on_it(front: Front) -> None:
    assert ask(front.proxy, "GET", "/health/live").status == 200
    assert ask(front.proxy, "GET", "/metrics").status == 404
    assert ask(front.proxy, "GET", "/metrics/").status == 404
    assert ask(front.proxy, "GET", "/metrics/api?days=7").status == 404
    own = _own_address()
    if own is None:
        pytest.skip("this machine has no address but loopback")
    stranger = ask(front.proxy, "GET", "/health", server=own, source=own)
    assert stranger.status == 403 and b"checks" not in stranger.body


def test_keys_in_queries_are_in_no_log(front: Front, tmp_path: Path) -> None:
    ask(front.proxy, "GET", "/api/v1/brokers?apikey=canary-in-a-query")
    ask(front.proxy, "GET", "/login?apikey=canary-in-a-query", secure=False)
    wait_for(lambda: _paths(front.proxy) >= {"/api/v1/brokers", "/login"})
    with nginx(tmp_path, free_port(), free_port()) as alone:
        assert ask(alone, "GET", "/api/v1/brokers?apikey=canary-in-a-query").status == 504
        wait_for(lambda: "/api/v1/brokers" in _paths(alone))
        assert "canary" not in front.proxy.logs() + alone.logs()


def _paths(proxy: Proxy) -> set[str]:
    """The paths in the access log; every line of it is JSON."""
    log = (proxy.folder / "openalgo.access.log").read_text(encoding="utf-8")
    return {json.loads(line)["path"] for line in log.splitlines()}


def test_nothing_is_sent_twice_to_a_gateway_that_dies(tmp_path: Path) -> None:
    def die(peer: socket.socket, request: bytes) -> bool:
        return False  # it read the order, and is gone

    with before(tmp_path, die) as (proxy, server):
        for number, method in enumerate(("POST", "GET", "PUT", "DELETE"), start=1):
            answer = ask(proxy, method, "/api/v1/placeorder", {"apikey": "x"})
            assert answer.status == 504
            assert answer.json()["code"] == "outcome_unknown"
            assert len(server.requests) == number == server.connections
        head = server.requests[0].decode().lower()
        assert "connection: close" in head and "x-forwarded-for: 127.0.0.1\r\n" in head
        assert "x-forwarded-proto: https" in head


def test_the_gateways_own_errors_pass_as_they_are(tmp_path: Path) -> None:
    own = b'{"status":"error","code":"outcome_unknown","reference":"R-1"}'
    with before(tmp_path, raw_server.answer(own, status="504 Gateway Timeout")) as (proxy, _):
        answer = ask(proxy, "POST", "/api/v1/placeorder", {})
        assert (answer.status, answer.body) == (504, own)


def test_too_much_is_refused(tmp_path: Path) -> None:
    with before(tmp_path, raw_server.answer(b"{}")) as (proxy, server):
        large = ask(proxy, "POST", "/api/v1/placeorder", b"x" * (1024 * 1024 + 1))
        assert large.status == 413 and large.json()["status"] == "error"
        assert server.requests == []
        connection = http.client.HTTPSConnection(
            "127.0.0.1", proxy.https, context=proxy.trust(), timeout=30
        )
        statuses = []
        for _ in range(1500):
            connection.request("GET", "/api/v1/ping")
            got = connection.getresponse()
            body = got.read()
            statuses.append(got.status)
            if got.status == 429:
                assert json.loads(body)["code"] == "rate_limit"
                assert got.getheader("Retry-After") == "1"
                break
        connection.close()
        assert statuses[:200] == [200] * 200 and statuses[-1] == 429


def test_a_websocket_is_passed_on_and_stays_open(tmp_path: Path) -> None:
    def echo(peer: socket.socket, request: bytes) -> bool:
        assert b"upgrade: websocket" in request.lower()
        peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     b"Connection: upgrade\r\n\r\n")  # fmt: skip
        while data := peer.recv(1024):
            peer.sendall(data)
        return False

    with before(tmp_path, echo) as (proxy, _):
        plain = socket.create_connection(("127.0.0.1", proxy.https), timeout=10)
        with proxy.trust().wrap_socket(plain, server_hostname="127.0.0.1") as channel:
            channel.sendall(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            _until(channel.recv, b"101 Switching Protocols")
            channel.sendall(b"a price")
            _until(channel.recv, b"a price")


def _until(receive: Callable[[int], bytes], wanted: bytes) -> None:
    data = b""
    while wanted not in data:
        piece = receive(4096)
        assert piece, data
        data += piece
