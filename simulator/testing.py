"""Start a simulator for tests on a free port, and use its control API.

    with start(master="small") as sim:
        sim.control("faults", {"rules": [{"route": "POST /orders", "fault": "half_body"}]})
        sim.truth("jainam-b")["orders"]

`start` runs a process of its own (as users do); `threaded` a thread of this process (quicker).

Needs only the standard library.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from simulator.app import Server
from simulator.exchange import Exchange, Options
from simulator.market.master import SMALL
from simulator.profiles import builtin_credentials

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent


class SimulatorFailed(RuntimeError):
    """The simulator did not start, or refused a control request."""


class Simulator:
    """A running simulator: `url`, control API, truth."""

    def __init__(self, url: str) -> None:
        self.url = url

    def control(self, path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        """POST `/_sim/<path>` with a body, GET without; raises when the simulator refuses."""
        target = f"/_sim/{path}"
        if query:
            target = f"{target}?{urlencode(query)}"
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            if body is None:
                connection.request("GET", target)
            else:
                connection.request("POST", target, json.dumps(body).encode())
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise SimulatorFailed(f"{path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)

    def truth(self, profile: str, **query: Any) -> Any:
        """`{"orders": […], "faults": […], "accounts": […]}` of one profile."""
        return self.control("truth", None, profile=profile, **query)

    def orders(self, profile: str, tag: str | None = None) -> list[dict[str, Any]]:
        """Every order request the profile ever received, or those with one tag."""
        query = {} if tag is None else {"tag": tag}
        found: list[dict[str, Any]] = self.truth(profile, **query)["orders"]
        return found

    def counts(self, profile: str) -> dict[str, int]:
        """Requests received, by route."""
        found: dict[str, int] = self.control("requests", None, profile=profile)["counts"]
        return found

    def reset(self, profile: str | None = None) -> None:
        """Forget orders, accounts, faults and quirks (of one profile, or all)."""
        self.control("reset", {} if profile is None else {"profile": profile})

    def faults(self, *rules: dict[str, Any], seed: int = 1) -> None:
        """Replace the fault plan; none given clears it."""
        self.control("faults", {"seed": seed, "rules": list(rules)})

    def stop(self) -> int:
        """Stop it; returns the exit status."""
        return 0


class ProcessSimulator(Simulator):
    """A simulator in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        super().__init__(url)
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        status = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


class ThreadSimulator(Simulator):
    """A simulator in a thread of this process; `exchange` is its inside (mind the thread)."""

    def __init__(self, options: Options) -> None:
        self._loop = asyncio.new_event_loop()
        self.exchange = Exchange(options, defer=self._defer)
        self._server = Server(self.exchange)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        port = self._run(self._server.start("127.0.0.1", 0))
        super().__init__(f"http://127.0.0.1:{port}")

    def _defer(self, delay: float, action: Callable[[], None]) -> None:
        self._loop.call_later(delay, action)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> int:
        self._run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        return 0


def credential(profile: str, label: str | None = None) -> dict[str, Any]:
    """The invented login of a profile: the first one, or the one with that label."""
    for item in builtin_credentials():
        if item.profile == profile and label in (None, item.label):
            return item.public()
    raise KeyError(f"{profile} {label}")


def launch(
    *,
    master: str = "small",
    limits: str = "published",
    latency: str = "off",
    port: int = 0,
    profiles: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
) -> ProcessSimulator:
    """Start a simulator and wait until it listens; the caller stops it."""
    command = [sys.executable, "-m", "simulator", "--port", str(port), "--master", master]
    command += ["--limits", limits, "--latency", latency, "--parent-pid", str(os.getpid())]
    for profile in profiles:
        command += ["--profile", profile]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    stdout = process.stdout
    line = stdout.readline() if stdout is not None else b""
    try:
        url = json.loads(line)["url"]
    except (ValueError, KeyError):
        process.kill()
        ProcessSimulator(process, "").stop()
        raise SimulatorFailed(f"the simulator did not start: {line!r}") from None
    return ProcessSimulator(process, url)


@contextmanager
def start(**options: Any) -> Iterator[ProcessSimulator]:
    """`launch` as a context manager."""
    simulator = launch(**options)
    try:
        yield simulator
    finally:
        simulator.stop()


@contextmanager
def threaded(options: Options | None = None) -> Iterator[ThreadSimulator]:
    """A simulator in this process; the small master unless `options` say otherwise."""
    simulator = ThreadSimulator(options or Options(size=SMALL))
    try:
        yield simulator
    finally:
        simulator.stop()
