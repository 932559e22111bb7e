"""Hosts on one machine: network namespaces, each with a wire to here and a name of its own.

A host reaches this machine by its wire, and this machine's loopback services (simulator,
PostgreSQL) under the same loopback address, as they would be reached through a tunnel. What the
processes of one host share by files is for the test to keep apart (`STATE_DIR`).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

_CLONE_NEWNET = 0x40000000
_NET = "10.219"


def fault() -> str | None:
    """Why this machine cannot make hosts; None when it can."""
    if os.geteuid() != 0:
        return "no right to make network namespaces (run as root)"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "no ip or no unshare (install iproute2 and util-linux)"
    name = f"oa-{uuid.uuid4().hex[:8]}"
    made = _ip("netns", "add", name, check=False)
    if made.returncode != 0:
        return f"no network namespaces ({made.stderr.strip()})"
    _ip("netns", "delete", name)
    return None


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ip", *arguments], check=check, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


class NetHost:
    """One host: `here` is this machine's address on the wire, `address` its own."""

    def __init__(self, number: int) -> None:
        self.name = f"oa-{uuid.uuid4().hex[:8]}"
        self.number = number
        block = uuid.uuid4().int % 250
        self.here = f"{_NET}.{block}.{4 * number + 1}"
        self.address = f"{_NET}.{block}.{4 * number + 2}"

    def open(self) -> None:
        """Make the namespace and the wire."""
        inner, outer = f"{self.name}i", f"{self.name}o"
        _ip("netns", "add", self.name)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        _ip("link", "set", inner, "netns", self.name)
        _ip("address", "add", f"{self.here}/30", "dev", outer)
        _ip("link", "set", outer, "up")
        _ip("-n", self.name, "address", "add", f"{self.address}/30", "dev", inner)
        for device in (inner, "lo"):
            _ip("-n", self.name, "link", "set", device, "up")

    def close(self) -> None:
        """Take both away."""
        _ip("netns", "delete", self.name, check=False)
        _ip("link", "delete", f"{self.name}o", check=False)

    @property
    def within(self) -> list[str]:
        """The beginning of a command that runs on this host."""
        return [
            "ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c",
            f'hostname {self.name} && exec "$@"', "sh",
        ]

    def listen(self, port: int) -> socket.socket:
        """A socket that listens on this host's loopback, for a process of this machine."""
        libc = ctypes.CDLL(None, use_errno=True)
        found: list[socket.socket] = []

        def enter() -> None:  # a thread of its own: the namespace is the thread's
            with open(f"/run/netns/{self.name}") as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET) == 0:
                    found.append(socket.create_server(("127.0.0.1", port)))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        assert found, f"the namespace {self.name} cannot be entered"
        return found[0]


class Tunnel:
    """Carries connections from hosts' loopback ports to the same ports of this machine."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[asyncio.Server] = []

    def open(self, host: NetHost, port: int) -> None:
        """Let `127.0.0.1:port` of the host be that of this machine."""
        listening = host.listen(port)

        async def serve() -> asyncio.Server:
            return await asyncio.start_server(
                lambda reader, writer: self._carry(reader, writer, port), sock=listening
            )

        self._servers.append(asyncio.run_coroutine_threadsafe(serve(), self._loop).result(10))

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    def close(self) -> None:
        """End it."""
        def stop() -> None:
            for server in self._servers:
                server.close()
            self._loop.stop()

        self._loop.call_soon_threadsafe(stop)
        self._thread.join(10)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@contextmanager
def hosts(count: int, ports: Sequence[int]) -> Iterator[list[NetHost]]:
    """So many hosts, each of which reaches these loopback ports of this machine."""
    with ExitStack() as cleanup:
        tunnel = Tunnel()
        cleanup.callback(tunnel.close)
        made = []
        for number in range(count):
            host = NetHost(number)
            cleanup.callback(host.close)
            host.open()
            for port in ports:
                tunnel.open(host, port)
            made.append(host)
        yield made
