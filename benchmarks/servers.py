"""The processes that are measured: simulator, gateway, bare route; each on loopback.

`Served` (simulator and gateway alone) also serves the tests that want the whole gateway.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.bare import TOKEN, UPSTREAM
from simulator.testing import Simulator, credential, launch

ROOT = Path(__file__).resolve().parent.parent
PROFILE = "jainam-b"
SECOND_PROFILE = "generic-json"
PROFILES = {"JAINAM": PROFILE, "WISDOM": SECOND_PROFILE}
_UNLIMITED = "1000000 per second"
_START_SECONDS = 60.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pin(process: int, cpus: frozenset[int]) -> None:
    """Keep a process on these processors, where the system can."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, cpus)


@dataclass(frozen=True, slots=True)
class Cpus:
    """Who runs where: the server that is measured has a processor of its own if there are two."""

    server: frozenset[int]
    rest: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> Cpus:
        """The last processor for the servers, the others for simulator and load."""
        found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(found) < 2:
            return cls(frozenset(), frozenset())
        return cls(frozenset(found[-1:]), frozenset(found[:-1]))


class Gunicorn:
    """A gunicorn with the project's configuration, ready to answer."""

    def __init__(
        self,
        environ: Mapping[str, str],
        port: int,
        probe: str,
        wsgi: str = "",
        *,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """`within` begins the command: where the server runs, when that is not simply here."""
        self.url = f"http://{host}:{port}"
        script = str(Path(sys.executable).with_name("gunicorn"))  # not -m: SIGUSR2 runs it again
        command = [script, "--config", "config/gunicorn.py"]
        self.process = subprocess.Popen(
            [*within, *command, *([wsgi] if wsgi else [])],
            cwd=ROOT,
            env={**os.environ, **environ, "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.url + probe):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{wsgi or 'the gateway'} did not start")
            time.sleep(0.05)

    def workers(self) -> list[psutil.Process]:
        """The processes that serve."""
        return psutil.Process(self.process.pid).children()

    def pin(self, cpus: frozenset[int]) -> None:
        """Keep the whole server on these processors."""
        for process in (psutil.Process(self.process.pid), *self.workers()):
            pin(process.pid, cpus)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 (loopback)
            return True
    except OSError:
        return False


def post(url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
    """POST JSON and read JSON; for what is not measured."""
    request = urllib.request.Request(  # noqa: S310 (loopback)
        url,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **(headers or {})},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (loopback)
        return json.load(answer)


def get(url: str, headers: Mapping[str, str]) -> Any:
    """GET JSON; for what is not measured."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 (loopback)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (loopback)
        return json.load(answer)


def _new_key(user: str, scope: str) -> tuple[str, ...]:
    return ("api-key", "create", user, "--scope", scope)


class Served(AbstractContextManager["Served"]):
    """A simulator and a gateway under gunicorn, with a user and a key, over one folder.

    `environ` changes or adds variables; `contracts` names the brokers to load before it serves;
    `user` is the administrator that is made with a key, None leaves that to the pages; `wsgi` is
    served instead of the gateway's own entry; `profiles` of the simulator, by the prefix of the
    broker's settings, are the accounts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        master: str = "small",
        limits: str = "published",
        environ: Mapping[str, str] | None = None,
        contracts: Sequence[str] = ("jainam_prop",),
        user: str | None = "boss",
        wsgi: str = "",
        profiles: Mapping[str, str] = PROFILES,
    ) -> None:
        self.folder = folder
        self.profiles = profiles
        self.user = user
        self.wsgi = wsgi
        self.cleanup = ExitStack()
        self._options = (master, limits, dict(environ or {}), tuple(contracts))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.cleanup.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.cleanup.close()

    def start(self) -> None:
        """Start everything; what was started is ended by `cleanup`."""
        master, limits, changes, contracts = self._options
        cache = ("--cache-dir", str(ROOT / ".cache" / "simulator"))
        self.simulator: Simulator = launch(master=master, limits=limits, arguments=cache)
        self.cleanup.callback(self.simulator.stop)
        port = free_port()
        self.environ = self._environ(port) | changes
        self._fill(contracts)
        self.restart()
        self.cleanup.callback(lambda: self.gateway.stop())

    def _fill(self, contracts: Sequence[str]) -> None:
        """Make the database, the user with a key, and load the contracts."""
        commands: list[tuple[Sequence[str], str]] = [(("db", "upgrade"), "")]
        if self.user is not None:
            password = secrets.token_urlsafe(16) + "\n"
            create = ("users", "create", self.user, "--admin", "--password-stdin")
            commands += [(create, password), (_new_key(self.user, "admin"), "")]
        commands += [(("master-contract", "download", broker), "") for broker in contracts]
        said = json.loads(self._python("benchmarks.commands", stdin=json.dumps(commands)))
        if self.user is not None:
            self.key = str(said[2]).strip()

    def restart(self) -> None:
        """Start the gateway on its port; whoever calls this again has ended the one before."""
        port = int(self.environ["PORT"])
        self.gateway = Gunicorn(self.environ, port, "/health/live", self.wsgi)

    @property
    def url(self) -> str:
        return self.gateway.url

    def new_key(self, user: str, scope: str, *options: str) -> str:
        """An API key of a user that is there."""
        return self.flask(*_new_key(user, scope), *options).strip()

    def flask(self, *arguments: str, stdin: str = "") -> str:
        """Run a command of the gateway; what it printed."""
        return self._python("flask", "--app", "app", *arguments, stdin=stdin)

    def _python(self, *arguments: str, stdin: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environ},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def _environ(self, port: int) -> dict[str, str]:
        environ = {
            "ENVIRONMENT": "development",
            "SANDBOX": "true",
            "PORT": str(port),
            "DATABASE_URL": f"sqlite:///{self.folder / 'openalgo.db'}",
            "SECRET_KEY": secrets.token_hex(32),
            "API_KEY_PEPPER": secrets.token_hex(32),
            "BACKUP_KEY": secrets.token_hex(32),
            "LOG_DIR": str(self.folder / "log"),
            "LOG_CONSOLE_LEVEL": "ERROR",
            "API_RATE_LIMIT": _UNLIMITED,
            "ORDER_RATE_LIMIT": _UNLIMITED,
            "SMART_ORDER_RATE_LIMIT": _UNLIMITED,
        }
        for prefix, profile in self.profiles.items():
            login = credential(profile)
            environ[f"{prefix}_BASE_URL"] = self.simulator.url
            for name in ("interactive", "market"):
                environ[f"{prefix}_{name.upper()}_API_KEY"] = login[f"{name}_key"]
                environ[f"{prefix}_{name.upper()}_API_SECRET"] = login[f"{name}_secret"]
        return environ


class Stack(Served):
    """What the benchmarks measure: no limits, a bare route beside, the server on its own CPU."""

    def __init__(self, folder: Path, *, master: str) -> None:
        super().__init__(
            folder,
            master=master,
            limits="off",
            environ={"BROKER_LIMITS": "off", "JAINAM_RATE_LIMIT": "1000000"},
            contracts=(),
            profiles={"JAINAM": PROFILE},
        )

    def start(self) -> None:
        """Start the gateway and, under a login of its own, the bare route."""
        cpus = self.cpus = Cpus.of_this_machine()
        pin(os.getpid(), cpus.rest)
        super().start()
        bare = {**self.environ, UPSTREAM: self.simulator.url, TOKEN: self._bare_session()}
        self.bare = Gunicorn(bare, free_port(), "/orders", "benchmarks.bare:create_app()")
        self.cleanup.callback(self.bare.stop)
        for server in (self.gateway, self.bare):
            server.pin(cpus.server)
        self._wait_for_symbols()

    def _wait_for_symbols(self) -> None:
        """Until the gateway has loaded the contract that it finds missing at its start."""
        url = f"{self.gateway.url}/api/v1/master_contract/jainam_prop"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            found = get(url, {"X-API-KEY": self.key})["data"]
            if [job["state"] for job in found["history"]] == ["done"]:
                return
            time.sleep(0.1)
        raise RuntimeError("the gateway did not load its master contract")

    def _bare_session(self) -> str:
        logins = self.simulator.control("credentials")[PROFILE]
        role = credential(PROFILE)["role"]
        own = [one for one in logins if one["role"] == role][1]
        answer = post(
            f"{self.simulator.url}/interactive/user/session",
            {"appKey": own["interactive_key"], "secretKey": own["interactive_secret"],
             "source": "WEBAPI"},
        )  # fmt: skip
        return str(answer["result"]["token"])
