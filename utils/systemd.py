"""Tell systemd how the service is: ready, reloading, stopping, alive (`sd_notify(3)`).

Where nobody listens (no `NOTIFY_SOCKET`) every call does nothing and costs nothing. A message that
cannot be delivered is no reason to disturb the service: it is dropped.

gunicorn has a notifier of its own, which calls the service ready before any worker can answer.
`take_over` therefore hides the address from it, under a name that worker processes inherit too.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

THEIRS, OURS = "NOTIFY_SOCKET", "OPENALGO_NOTIFY_SOCKET"

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def take_over(environ: MutableMapping[str, str] = os.environ) -> None:
    """Speak for this service from now on, in place of gunicorn. Safe to call twice."""
    address = environ.pop(THEIRS, "")
    if address:
        environ[OURS] = address


def notify(*lines: str, environ: MutableMapping[str, str] = os.environ) -> bool:
    """Send one message of these lines; whether it was delivered."""
    address = environ.get(OURS) or environ.get(THEIRS) or ""
    if not address:
        return False
    if address.startswith("@"):  # Linux's abstract names
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(1.0)
        try:
            channel.connect(address)
            channel.sendall("\n".join(lines).encode())
        except OSError:
            return False
    return True


def status(text: str) -> str:
    """The line that `systemctl status` shows."""
    return f"STATUS={text}"


def main_process(pid: int) -> str:
    """The line that makes another process of the service its main one."""
    return f"MAINPID={pid}"


def reloading() -> tuple[str, str]:
    """The lines that announce a reload; `READY` ends it."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_seconds(environ: MutableMapping[str, str] = os.environ) -> float | None:
    """Within how many seconds systemd wants to hear `ALIVE`; None where it does not.

    `WATCHDOG_PID` names the main process and is not asked: here the workers report, for which the
    unit says `NotifyAccess=all`.
    """
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isdigit() and int(text) > 0 else None
