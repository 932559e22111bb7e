"""The production layout in a temporary folder: releases, a link, variables, a real supervisord.

`supervisorctl` on PATH is a script that notes its arguments and hands them to the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.servers import Served
from tests.operations.serving import copy_project, free_port, wait_for
from utils.config import ROOT

PARTS = (
    "app.py", "blueprints", "broker", "cli", "config", "database", "migrations", "scripts",
    "services", "static", "templates", "utils",
)
SYMBOL = "RELIANCE"


class Prepared(Served):
    """A simulator, a migrated database with a user, a key and the contracts; nothing serves yet."""

    def __init__(self, folder: Path, *, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, environ=environ, contracts=("jainam_prop", "wisdom"))

    def restart(self) -> None:
        """The installation serves, not this."""
        self.gateway = _NoServer()  # type: ignore[assignment]  # what `Served` stops at its end


def say_version(folder: Path, version: str) -> None:
    """Have the code in a folder say this version."""
    file = folder / "utils" / "version.py"
    text = file.read_text(encoding="utf-8")
    old = text.partition('VERSION = "')[2].partition('"')[0]
    file.write_text(text.replace(f'"{old}"', f'"{version}"'), encoding="utf-8")


class _NoServer:
    def stop(self) -> None:
        pass


class Installed:
    """One installation with the release 0.9.0, and a checkout of 1.0.0 beside it."""

    def __init__(self, base: Path, variables: Mapping[str, str], key: str) -> None:
        self.base = base
        self.key = key
        self.variables = dict(variables)
        self.url = f"http://127.0.0.1:{variables['PORT']}"
        self.env_file = base / "etc" / "openalgo.env"
        self.state = base / "state"
        self.bin = base / "bin"
        self.calls = base / "calls"
        for folder in (self.env_file.parent, self.state, self.bin, base / "releases"):
            folder.mkdir(parents=True)
        self.env_file.write_text(
            "".join(f"{name}='{value}'\n" for name, value in sorted(variables.items())),
            encoding="utf-8",
        )
        self.env_file.chmod(0o640)
        first = self.base / "releases" / "0.9.0"
        self.checkout = base / "checkout"
        for folder, version in ((first, "0.9.0"), (self.checkout, "1.0.0")):
            folder.mkdir()
            copy_project(folder, *PARTS)
            say_version(folder, version)
        (first / ".venv").symlink_to(sys.prefix)
        (base / "current").symlink_to(Path("releases") / "0.9.0")
        self.git("init", "-q")
        self.commit("1.0.0")

    def git(self, *words: str) -> None:
        """Run git in the checkout."""
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        subprocess.run(["git", "-C", str(self.checkout), *identity, *words], check=True)

    def commit(self, version: str) -> None:
        """Commit what is in the checkout, under a tag."""
        say_version(self.checkout, version)
        self.git("add", "-A")
        self.git("commit", "-qm", f"Release {version}")
        self.git("tag", version)

    def deploy(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run deploy.sh out of the checkout; the packages are those of the tests."""
        return self.script(
            str(self.checkout / "scripts" / "deploy.sh"), "staging", "--app", str(self.base),
            "--env-file", str(self.env_file), "--state", str(self.state), "--venv", sys.prefix,
            "--method", "supervisor", "--yes", *options,
        )

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """A supervisord that keeps the gateway running."""
        conf = self.base / "supervisord.conf"
        serve = (
            f"set -a; . {self.env_file}; set +a; cd {self.base}/current; "
            f"exec {sys.executable} -m gunicorn --config config/gunicorn.py"
        )
        conf.write_text(
            f"[supervisord]\nlogfile={self.base}/supervisord.log\npidfile={self.base}/pid\n"
            f"[unix_http_server]\nfile={self.base}/sock\n"
            f"[supervisorctl]\nserverurl=unix://{self.base}/sock\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory="
            "supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[program:openalgo]\ncommand=/bin/sh -c '{serve}'\nstopasgroup=true\n"
            f"killasgroup=true\nstartsecs=0\nautorestart=false\nredirect_stderr=true\n"
            f"stdout_logfile={self.base}/gateway.out\n",
            encoding="utf-8",
        )
        self.stand_in("supervisorctl", f'exec /usr/bin/supervisorctl -c "{conf}" "$@"')
        process = subprocess.Popen(["/usr/bin/supervisord", "-n", "-c", str(conf)], env={
            name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"
        }, stdout=subprocess.DEVNULL)
        try:
            wait_for(self.answers)
            yield
        finally:
            process.terminate()
            process.wait(30)

    def stand_in(self, name: str, body: str) -> None:
        """A program on PATH that notes how it was called."""
        script = self.bin / name
        script.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{body}\n', encoding="utf-8"
        )
        script.chmod(0o755)

    def answers(self) -> bool:
        """Whether the gateway is ready."""
        return self.get("/health/ready")[0] == 200

    def version(self) -> str:
        """The version that is served."""
        return str(self.get("/health")[1].get("version"))

    def brokers(self) -> dict[str, bool]:
        """The brokers that are offered, and whether they are connected."""
        _, answer = self.get("/api/v1/brokers")
        return {row["name"]: row["connected"] for row in answer["data"]}

    def get(self, path: str) -> tuple[int, Any]:
        """GET with the key."""
        return self._request(urllib.request.Request(
            self.url + path, headers={"X-API-KEY": self.key}
        ))

    def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """POST with the key; `path` without the prefix."""
        return self._request(urllib.request.Request(
            f"{self.url}/api/v1/{path}", json.dumps({"apikey": self.key, **body}).encode(),
            {"Content-Type": "application/json"},
        ))

    def order(self, account: str, pricetype: str = "MARKET", price: str = "0") -> tuple[int, Any]:
        """Buy one share."""
        return self.post(
            "placeorder", account=account, strategy="drill", symbol=SYMBOL, exchange="NSE",
            action="BUY", pricetype=pricetype, product="MIS", quantity="1", price=price,
        )

    def script(
        self, name: str, *options: str, release: str = "current"
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts, as an operator with a bare environment would."""
        return subprocess.run(
            [str(self.base / release / "scripts" / name), *options],
            env={"PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin", "PYTHON": "/usr/bin/python3"
                 if Path("/usr/bin/python3").exists() else sys.executable},
            cwd="/", capture_output=True, text=True, check=False, timeout=120,
        )

    def rollback(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run rollback.sh on this installation."""
        return self.script(
            "rollback.sh", "--env-file", str(self.env_file), "--state", str(self.state), *options
        )

    @staticmethod
    def _request(request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")
        except OSError:
            return 0, {}


@contextmanager
def installed(folder: Path) -> Iterator[tuple[Installed, Prepared]]:
    """An installation that serves, and what stands behind it."""
    base = folder / "opt"
    base.mkdir()
    with ExitStack() as stack:
        data = folder / "data"
        data.mkdir()
        prepared = stack.enter_context(
            Prepared(data, environ={"PORT": str(free_port()), "ENVIRONMENT": "staging"})
        )
        installation = Installed(base, prepared.environ, prepared.key)
        stack.enter_context(installation.supervised())
        yield installation, prepared


def have_supervisor() -> bool:
    """Whether a supervisord is installed here."""
    return shutil.which("supervisord", path="/usr/bin") is not None


__all__ = ["ROOT", "SYMBOL", "Installed", "Prepared", "have_supervisor", "installed"]
