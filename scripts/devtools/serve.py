"""`make run` from the moment when everything is installed: one process that owns all the others.

It migrates the database, starts the simulator where the sandbox applies, serves the gateway under
gunicorn and loads the master contract behind the first answer. It waits for signals and for the
end of its children; whatever ends it ends them too, and they end by themselves when it is killed.
Runs inside the virtual environment: `python -m scripts.devtools.serve`.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from database.engine import Database
from scripts.devtools import instances
from scripts.devtools.say import Failed, say, step
from utils import sandbox
from utils.config import ROOT, ConfigurationError, Settings, load_settings

_START_SECONDS = 60.0
_STOP_SECONDS = 18.0  # gunicorn's graceful_timeout (15 s) and a little
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_READY_PATH = "/health/live"


class _Stop(Exception):
    """A signal asked for the end."""


class Signals:
    """What the signals said, looked at only where it is safe to stop.

    A handler that raises would raise anywhere, for instance in a callback of a fork, where Python
    swallows it and the wish to stop is lost. Here the signals write into a pipe, which is read
    between steps and waited for in the end.
    """

    def __init__(self) -> None:
        self._wanted = False
        self._reading, writing = os.pipe()
        os.set_blocking(writing, False)
        os.set_blocking(self._reading, False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def _stop(self, number: int, frame: Any) -> None:
        self._wanted = True

    def check(self) -> None:
        """Raise `_Stop` when a signal asked for the end."""
        if self._wanted:
            raise _Stop

    def wait(self, seconds: float | None = None) -> None:
        """Sleep until a signal, also that of a child's end, or for `seconds`; then `check`."""
        self.check()
        select.select([self._reading], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._reading, 4096)
        self.check()


class Server:
    """The processes of one gateway, in the order in which they were started."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], signals: Signals) -> None:
        self.settings = settings
        self._signals = signals
        self._environ = {**environ, "LOG_CONSOLE_LEVEL": settings.log_console_level}
        self._cleanup = ExitStack()

    def close(self) -> None:
        """End every child, the last one first."""
        self._cleanup.close()

    def serve(self) -> int:
        """Start everything and stay until something ends; the exit status of the gateway."""
        simulator = self._launch_simulator()
        with step("preparing the database"):
            self._migrate()
        self._signals.check()
        if simulator is not None:
            with step("starting the simulator"):
                self._connect_simulator(simulator)
            self._signals.check()
        with step("starting the gateway"):
            gateway = self._start_gateway()
            self._wait_until_ready(gateway)
        self._welcome()
        loads = self._master_contract_commands()
        return self._watch(gateway, simulator, loads)

    def _launch_simulator(self) -> subprocess.Popen[str] | None:
        sections = self.settings.broker_sections().values()
        if not self.settings.sandbox or any(section.credentials() for section in sections):
            return None  # an operator's own simulator is left to them
        process = sandbox.launch(self.settings)
        self._cleanup.callback(sandbox.stop_process, process, 5.0)
        return process

    def _connect_simulator(self, process: subprocess.Popen[str]) -> None:
        connected = sandbox.connect(self.settings, process)
        self._cleanup.callback(connected.stop)
        self._environ.update(connected.environment)

    def _migrate(self) -> None:
        database = Database(self.settings.database_url.get_secret_value())
        try:
            database.upgrade()
        finally:
            database.dispose()

    def _start_gateway(self) -> subprocess.Popen[bytes]:
        gateway = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"],
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self._cleanup.callback(sandbox.stop_process, gateway, _STOP_SECONDS)
        return gateway

    def _wait_until_ready(self, gateway: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if gateway.poll() is not None:
                raise Failed(
                    f"The gateway did not start; {self.settings.log_dir / 'error.log'} says why."
                )
            if _answers(self._reachable_host(), self.settings.port):
                return
            self._signals.wait(0.03)
        raise Failed(f"The gateway did not answer within {_START_SECONDS:.0f} s.")

    def _reachable_host(self) -> str:
        host = self.settings.host
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised

    def _welcome(self) -> None:
        host = self._reachable_host()
        address = f"[{host}]" if ":" in host else host
        flask = _relative(Path(sys.executable).with_name("flask"))
        mode = _mode(self.settings)
        say(
            f"\n  OpenAlgo brokers serves http://{address}:{self.settings.port}\n"
            f"  {mode}\n\n"
            f"  First use: open the address and create the administrator, or in another terminal:\n"
            f"    {flask} --app app users create NAME --admin\n"
            f"    {flask} --app app api-key create NAME     (prints the key once)\n"
            f"  Stop with Ctrl-C.\n"
        )

    def _master_contract_commands(self) -> list[list[str]]:
        """One command for each broker that can log in; each does nothing when today's is there."""
        names = [
            name
            for name in _broker_names()
            if self.settings.sandbox or self.settings.broker(name).has_credentials
            if self.settings.broker(name).enabled
            if not self.settings.enabled_brokers or name in self.settings.enabled_brokers
        ]
        flask = [sys.executable, "-m", "flask", "--app", "app"]
        return [[*flask, "master-contract", "download", name, "--if-stale"] for name in names]

    def _watch(
        self,
        gateway: subprocess.Popen[bytes],
        simulator: subprocess.Popen[str] | None,
        loads: list[list[str]],
    ) -> int:
        load: subprocess.Popen[bytes] | None = None
        while True:
            if load is None and loads:
                load = self._start_load(loads.pop(0))
            status = gateway.poll()
            if status is not None:
                say(f"The gateway ended by itself (status {status}).")
                return 1
            if simulator is not None and simulator.poll() is not None:
                say("The simulator ended by itself: stopping, since no order could be placed.")
                return 1
            if load is not None and load.poll() is not None:
                if load.returncode != 0:
                    say("The master contract was not loaded; the command above says why.")
                load = None
                continue
            self._signals.wait()

    def _start_load(self, command: list[str]) -> subprocess.Popen[bytes]:
        load = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self._cleanup.callback(sandbox.stop_process, load, 5.0)
        return load


def _end_with_parent() -> None:
    """Called in a new child: have the kernel send it SIGTERM when this process is gone (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)


def _mode(settings: Settings) -> str:
    if settings.sandbox:
        return "SANDBOX: orders go to the simulator on this machine, never to an exchange"
    connected = [
        section for section in settings.broker_sections().values() if section.credentials()
    ]
    if all(section.on_loopback for section in connected):
        return "TEST: orders go to the address on this machine that <BROKER>_BASE_URL names"
    return "LIVE: orders go to the broker, with real money"


def _relative(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _broker_names() -> list[str]:
    """Brokers by their `plugin.json`, as the registry finds them."""
    files = sorted((ROOT / "broker").glob("*/plugin.json"))
    return [json.loads(file.read_text(encoding="utf-8"))["name"] for file in files]


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2.0)
    try:
        connection.request("GET", _READY_PATH)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _load(environ: Mapping[str, str]) -> Settings:
    try:
        return load_settings(environ=environ)
    except ConfigurationError as error:
        raise Failed(str(error)) from None


def run(environ: Mapping[str, str], signals: Signals) -> int:
    """Serve until a signal or a child's end; the exit status. `Failed` is for people to read."""
    environ = {"LOG_CONSOLE_LEVEL": "WARNING", **environ}
    settings = _load(environ)
    try:
        lock = instances.take(instances.lock_path(ROOT, str(settings.port)))
    except instances.Running as already:
        raise Failed(
            f"The gateway on port {settings.port} runs already ({already}): "
            f"`PORT={settings.port} make stop` ends it, another PORT starts another one."
        ) from None
    with lock:
        sandbox.sandbox_file(settings.port).unlink(missing_ok=True)
        if not sandbox.port_is_free(settings.port, settings.host):
            raise Failed(
                f"Port {settings.port} on {settings.host} is taken by another program: "
                f"choose a free one, for instance PORT={settings.port + 1}."
            )
        server = Server(_load(environ), environ, signals)
        try:
            return server.serve()
        except _Stop:
            say("\n  Stopping …")
            return 0
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C does not wait
            server.close()


def main() -> int:
    """Serve with the process's environment."""
    signals = Signals()
    try:
        return run(os.environ, signals)
    except (Failed, sandbox.SandboxError) as error:
        say(f"\n{error}")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
