"""A stand-in for systemd's notification socket: what services said, and which process said it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram: its sender's process, and its lines by name."""

    pid: int
    lines: dict[str, str]


@dataclass
class NotifySocket:
    """What has arrived so far."""

    address: str
    messages: list[Message] = field(default_factory=list)

    def saying(self, name: str, since: int = 0) -> list[Message]:
        """Messages with a line of this name, from number `since` on."""
        return [message for message in list(self.messages)[since:] if name in message.lines]

    def hears(self, name: str, since: int = 0, seconds: float = 30.0) -> Message:
        """Wait for a message with a line of this name."""
        wait_until(lambda: bool(self.saying(name, since)), seconds)
        return self.saying(name, since)[0]


@contextmanager
def notify_socket(folder: Path) -> Iterator[NotifySocket]:
    """A listening socket; its address goes into NOTIFY_SOCKET of whoever is tested."""
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        channel.settimeout(0.2)
        heard = NotifySocket(str(path))
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                try:
                    data, ancillary, _, _ = channel.recvmsg(4096, socket.CMSG_SPACE(12))
                except TimeoutError:
                    continue
                pid = struct.unpack("3i", ancillary[0][2])[0]
                lines = dict(line.split("=", 1) for line in data.decode().splitlines())
                heard.messages.append(Message(pid, lines))

        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        try:
            yield heard
        finally:
            ended.set()
            reader.join()
            path.unlink()
