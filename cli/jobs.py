"""The scheduled work: do it in a process of its own, and see who does it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import click

from cli.support import as_json, command, dump, fail, gateway, table
from utils import systemd
from utils.logging import configure_logging
from utils.metrics import serve_counted

_UNWATCHED = 60.0  # seconds, where nobody set a time within which to report


@click.group()
def jobs() -> None:
    """Scheduled work."""


@jobs.command("run")
@click.option(
    "--metrics", "metrics_at", metavar="HOST:PORT", default="",
    help="Serve this process's metrics there; keep the address away from strangers.",
)  # fmt: skip
@command
def run(metrics_at: str) -> None:
    """Do the scheduled work until a signal ends this process; serves no requests.

    For a process of its own beside web workers with RUN_JOBS=false. Any number may run: one works,
    the others wait for its lease.
    """
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    here = gateway()
    configure_logging(here.settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if metrics_at:
        host, _, port = metrics_at.rpartition(":")
        try:
            serve_counted(host.strip("[]") or "127.0.0.1", int(port))
        except (OSError, ValueError, OverflowError) as error:
            fail(f"Metrics can't be served at '{metrics_at}': {error}.")
    here.start_background(leads=True)
    systemd.notify(systemd.READY, systemd.status("doing the scheduled work"))
    interval = systemd.watchdog_seconds() or _UNWATCHED
    try:
        while not ended.wait(interval / 3):
            if here.scheduler.works():
                systemd.notify(systemd.ALIVE)
    finally:
        systemd.notify(systemd.STOPPING)
        here.close()


@jobs.command("list")
@as_json
@command
def list_jobs(as_json: bool) -> None:
    """List the scheduled work, and which process does it."""
    scheduler = gateway().scheduler
    leader = scheduler.leader()
    rows: list[dict[str, Any]] = [
        {"name": work.name, "seconds": work.seconds, "by": _words(leader if work.leased else "*")}
        for work in scheduler.list()
    ]
    if as_json:
        dump({"leader": leader, "jobs": rows})
    else:
        table(rows, ("name", "seconds", "by"), "Nothing is scheduled.")


def _words(leader: str | None) -> str:
    """A holder as people read it: machine and process."""
    if leader == "*":
        return "every process"
    if leader is None:
        return "nobody"
    parts = leader.split(":")
    return f"{parts[0]}, process {parts[2]}" if len(parts) == 4 else leader
