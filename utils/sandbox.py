"""The sandbox's other half: a simulator on loopback as a child of whoever serves the gateway.

`scripts/dev.py run` and `python app.py` start it; gunicorn never does. The gateway is told by
variables, the same as an operator would set: `SANDBOX`, `<BROKER>_BASE_URL` and the credentials.
They also go to `run/<PORT>/sandbox.env`, so that commands in another terminal find the simulator.
The simulator is a separate program and is only spoken to: nothing of it is imported.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.config import ROOT, Settings
from utils.envfile import write_private
from utils.settings.kinds import loopback_url

_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_CREDENTIALS = {
    "INTERACTIVE_API_KEY": "interactive_key",
    "INTERACTIVE_API_SECRET": "interactive_secret",
    "MARKET_API_KEY": "market_key",
    "MARKET_API_SECRET": "market_secret",
}


class SandboxError(RuntimeError):
    """The simulator did not start; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running simulator: its address, and the variables that lead the gateway to it."""

    url: str
    environment: Mapping[str, str]
    process: subprocess.Popen[str]
    file: Path

    def stop(self) -> None:
        """End the simulator and forget its address. Safe to call twice."""
        self.file.unlink(missing_ok=True)
        stop_process(self.process, _STOP_SECONDS)


def stop_process(process: subprocess.Popen[Any], seconds: float) -> None:
    """SIGTERM, `seconds` of patience, then SIGKILL to its whole process group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
    process.wait()


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something could listen on `port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def sandbox_file(port: int) -> Path:
    """Where the processes of the gateway on `port` find the simulator."""
    return ROOT / "run" / str(port) / "sandbox.env"


def launch(settings: Settings) -> subprocess.Popen[str]:
    """Start the simulator's process without waiting for it; `connect` does that.

    It takes `SIMULATOR_PORT`, or a free port where that one is taken, and ends with this process.
    Its books of the day outlive it: a gateway that is started again finds its orders there.
    """
    port = settings.simulator_port if port_is_free(settings.simulator_port) else 0
    log = _log_file(settings.port)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "simulator", "--host", "127.0.0.1", "--port", str(port)),
                *("--master", settings.simulator_master, "--limits", settings.broker_limits),
                *("--parent-pid", str(os.getpid()), "--state", str(_state_file(settings.port))),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            start_new_session=True,
        )


def connect(settings: Settings, process: subprocess.Popen[str]) -> Sandbox:
    """Wait until the simulator listens, ask it for its credentials, and write them down.

    Raises `SandboxError` when it ends first.
    """
    url = _announced_url(process, _log_file(settings.port))
    credentials = _get_json(f"{url}/_sim/credentials")
    environment = sandbox_environment(settings, url, credentials)
    path = sandbox_file(settings.port)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Quoted with single quotes: a dotenv file takes everything between them as it is.
    write_private(path, "".join(f"{name}='{value}'\n" for name, value in environment.items()))
    return Sandbox(url, environment, process, path)


def start(settings: Settings) -> Sandbox:
    """Launch the simulator and wait until it answers."""
    process = launch(settings)
    try:
        return connect(settings, process)
    except BaseException:
        stop_process(process, _STOP_SECONDS)
        raise


def sandbox_environment(
    settings: Settings, url: str, credentials: Mapping[str, Any]
) -> dict[str, str]:
    """The variables that lead every broker section to the simulator at `url`.

    credentials: what the simulator prints, `{profile: [login, …]}`. A Jainam Prop account gets the
    profile of its cluster and the login of its kind of dealer; a broker without clusters the
    first login of the profile that has none.
    """
    if not loopback_url(url):
        raise SandboxError("The simulator is not on this machine.")
    environment = {"SANDBOX": "true"}
    for prefix, section in settings.broker_sections().items():
        cluster = getattr(section, "symphony_server", "").lower()
        kind = getattr(section, "account_type", "").lower()
        login = _login(credentials, cluster, kind)
        name = prefix.upper()
        environment[f"{name}_BASE_URL"] = url
        for ending, key in _CREDENTIALS.items():
            environment[f"{name}_{ending}"] = login[key]
        if kind == "normal" and not section.client_id:
            environment[f"{name}_CLIENT_ID"] = login["client_codes"][0]
    return environment


def _login(credentials: Mapping[str, Any], cluster: str, kind: str) -> Mapping[str, Any]:
    for profile, logins in credentials.items():
        fits_cluster = profile.endswith(f"-{cluster}") if cluster else "investor" in _roles(logins)
        for login in logins:
            if fits_cluster and (not kind or login["role"] == kind):
                found: Mapping[str, Any] = login
                return found
    raise SandboxError(f"The simulator has no login for cluster {cluster!r}, dealer {kind!r}.")


def _roles(logins: Any) -> set[str]:
    return {login["role"] for login in logins}


def _log_file(port: int) -> Path:
    return sandbox_file(port).with_name("simulator.log")


def _state_file(port: int) -> Path:
    return sandbox_file(port).with_name("simulator-state.sqlite")


def _announced_url(process: subprocess.Popen[str], log: Path) -> str:
    """The address in the simulator's first line; the rest of its output is read away."""
    output = process.stdout
    assert output is not None  # noqa: S101 - `launch` asked for a pipe
    impatience = threading.Timer(_START_SECONDS, process.kill)
    impatience.start()
    line = output.readline()
    impatience.cancel()
    try:
        url = str(json.loads(line)["url"]).rstrip("/")
    except (ValueError, KeyError, TypeError):
        raise SandboxError(f"The simulator did not start; {log} says why.") from None
    threading.Thread(target=output.read, name="simulator-output", daemon=True).start()
    return url


def _get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=_START_SECONDS) as answer:  # noqa: S310 - loopback http
        return json.loads(answer.read())
