"""A Redis of one's own, to be killed, paused and started again by the test that has it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from benchmarks.servers import free_port
from broker.redis_link import RedisLink
from services.redis_client import link_to
from tests.support.waiting import wait_until
from utils.clock import SystemClock


class RedisServer:
    """A redis-server without persistence on a free port."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = free_port()
        self.url = f"redis://{host}:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it (again), empty, and wait until it answers."""
        program = shutil.which("redis-server")
        assert program is not None
        self._process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", self.host, "--save", "",
             "--appendonly", "no", "--protected-mode", "no"],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def client(self) -> redis.Redis:
        """A new client."""
        return redis.Redis.from_url(self.url, socket_timeout=2.0)

    def link(self, answer: float = 0.5) -> RedisLink:
        """A new way to it, as a process of the gateway has one."""
        return link_to(self.url, SystemClock(), answer)

    def kill(self) -> None:
        """End it without a warning; what it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections stay, no answer comes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(host: str = "127.0.0.1") -> Iterator[RedisServer]:
    """A running server, killed at the end."""
    server = RedisServer(host)
    server.start()
    try:
        yield server
    finally:
        server.kill()
