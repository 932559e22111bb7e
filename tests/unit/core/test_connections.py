"""Connections to one host, and how a request leaves through one."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpcore
import pytest

from broker.connections import Connections
from broker.sockets import DeadlineBackend, DeadlineStream, Until
from tests.support.clocks import ManualClock
from tests.support.raw_server import CLOCK, answer, serve


@pytest.fixture
def pair() -> Iterator[tuple[DeadlineStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        yield DeadlineStream(ours, Until.after(CLOCK, 5.0)), theirs


def test_head_and_body_leave_as_one(pair: tuple[DeadlineStream, socket.socket]) -> None:
    stream, peer = pair
    stream.write(b"head ")
    stream.write(b"body")
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)
    peer.send(b"answer")
    assert stream.read(100) == b"answer"
    assert peer.recv(100) == b"head body"


def test_what_is_long_leaves_at_once_and_in_order(
    pair: tuple[DeadlineStream, socket.socket],
) -> None:
    stream, peer = pair
    stream.write(b"head ")
    stream.write(b"x" * 20_000)
    assert peer.recv(30_000, socket.MSG_WAITALL | socket.MSG_PEEK)[:6] == b"head x"


def test_an_answer_is_read_though_the_peer_takes_nothing_more(
    pair: tuple[DeadlineStream, socket.socket],
) -> None:
    stream, peer = pair
    stream.write(b"request")
    peer.send(b"refused")
    peer.shutdown(socket.SHUT_RD)
    assert stream.read(100) == b"refused"


def test_a_connection_idle_for_long_is_closed_by_the_next_call() -> None:
    with serve(answer(b"{}")) as server:
        port = int(server.url.rpartition(":")[2])
        origin = httpcore.Origin(b"http", b"127.0.0.1", port)
        made = Connections(origin, None, 4, 0.0, DeadlineBackend(ManualClock(), 5.0))
        request = httpcore.Request(
            "GET", httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=port, target=b"/"),
            headers={"host": "x"},
        )  # fmt: skip
        for _ in range(3):
            told = made.send(request, 1.0)
            assert b"".join(told) == b"{}"
            told.close()
        assert server.connections == 3
        made.close()


def test_an_answer_that_is_closed_twice_gives_its_connection_back_once() -> None:
    with serve(answer(b"{}")) as server:
        port = int(server.url.rpartition(":")[2])
        origin = httpcore.Origin(b"http", b"127.0.0.1", port)
        made = Connections(origin, None, 1, 20.0, DeadlineBackend(CLOCK, 5.0))
        request = httpcore.Request(
            "GET", httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=port, target=b"/"),
            headers={"host": "x"},
        )  # fmt: skip
        first = made.send(request, 1.0)
        assert b"".join(first) == b"{}"
        first.close()
        first.close()
        held = made.send(request, 1.0)
        with pytest.raises(httpcore.PoolTimeout):
            made.send(request, 0.0)
        made.close()
        held.close()
        assert server.connections == 1
