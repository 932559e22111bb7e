"""Stand-ins for what a test machine has not: systemd, supervisord, Docker, and a `sudo`.

`install(folder, …)` writes commands of those names into a folder for the front of PATH. Each checks
the unit, section or service that it is given against the project's own files and fails as the real
one would when it is not there; what it would start is started for real, in the project's folder.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.operations.serving import gone, wait_for

RELEASE = "/opt/openalgo/current"
NAMES = ("sudo", "systemctl", "supervisorctl", "docker-compose")


def install(folder: Path) -> None:
    """Write the commands; the environment names the project (GUIDE_PROJECT) and the port (PORT)."""
    folder.mkdir()
    for name in NAMES:
        script = folder / name
        script.write_text(
            f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tests.operations.stand_ins {name} "
            '"$@"\n'
        )
        script.chmod(0o755)


class Refused(Exception):
    """What the real command would refuse, in a sentence."""


def _project() -> Path:
    return Path(os.environ["GUIDE_PROJECT"])


def _ini(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


def _here(command: str) -> list[str]:
    """A command of the production layout as it is in the project's folder."""
    words = shlex.split(command.replace(RELEASE, str(_project())))
    program = Path(words[0])
    if not program.exists():
        raise Refused(f"{program} does not exist")
    return words


def _serve(words: list[str]) -> None:
    """Start a server in place of the one that runs, and wait until it is ready."""
    pid_file = _project() / "run" / "guide.pid"
    stop(pid_file)
    pid_file.parent.mkdir(exist_ok=True)
    with (_project() / "run" / "guide.log").open("ab") as log:
        process = subprocess.Popen(
            words, cwd=_project(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    pid_file.write_text(str(process.pid))
    deadline = time.monotonic() + 60
    while not _ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Refused(f"{words[0]} did not come up")
        time.sleep(0.05)


def stop(pid_file: Path) -> None:
    """End the server that a stand-in has started, if one runs."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    pid_file.unlink()
    try:
        server = psutil.Process(pid)
        family = [server, *server.children(recursive=True)]
        server.terminate()
    except psutil.NoSuchProcess:
        return
    # Whoever started it is gone: a process that has ended may stay a zombie.
    wait_for(lambda: gone(family))


def _ready() -> bool:
    try:
        url = f"http://127.0.0.1:{os.environ['PORT']}/health/ready"
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (OSError, urllib.error.URLError):
        return False


def sudo(words: list[str]) -> None:
    """Run the rest as it is."""
    os.execvp(words[0], words)


def python(words: list[str]) -> None:
    """`python app.py` serves until it is stopped: here in the background. All else as it is."""
    if words[:1] == ["app.py"]:
        _serve([sys.executable, *words])
    else:
        os.execv(sys.executable, [sys.executable, *words])


def systemctl(words: list[str]) -> None:
    """`restart` and `reload` of a unit that deploy/systemd has, by its own command line."""
    verb, unit = words
    path = _project() / "deploy" / "systemd" / f"{unit.removesuffix('.service')}.service"
    if not path.is_file():
        raise Refused(f"Unit {unit}.service not found.")
    service = _ini(path)["Service"]
    if verb == "restart":
        _serve(_here(service["ExecStart"]))
    elif verb != "reload" or "ExecReload" not in service:
        raise Refused(f"Unknown command verb '{verb}', or the unit cannot do it.")


def supervisorctl(words: list[str]) -> None:
    """`restart` of a program that deploy/supervisor has, by its own command line."""
    verb, name = words
    (path,) = (_project() / "deploy" / "supervisor").glob("*.conf")
    found = _ini(path)
    if verb != "restart" or not found.has_section(f"program:{name}"):
        raise Refused(f"{name}: ERROR (no such process)")
    _serve(_here(found[f"program:{name}"]["command"]))


def docker_compose(words: list[str]) -> None:
    """`restart` of a service that docker-compose.yml has; the image's own command is run."""
    verb, name = words
    compose = yaml.safe_load((_project() / "docker-compose.yml").read_text(encoding="utf-8"))
    if verb != "restart" or name not in compose["services"]:
        raise Refused(f"no such service: {name}")
    _serve(_image_command(compose["services"][name]))


def _image_command(service: dict[str, Any]) -> list[str]:
    """What a service runs: its own command, or that of the stage of the image it is built from."""
    if "command" in service:
        command = service["command"]
        return _in_image(shlex.split(command) if isinstance(command, str) else list(command))
    stage = service["build"]["target"]
    image = (_project() / "Dockerfile").read_text(encoding="utf-8")
    stages = {part.split("\n")[0].rpartition(" AS ")[2]: part for part in image.split("\nFROM ")}
    text = stages[stage]
    (found,) = [line for line in text.splitlines() if line.startswith("CMD ")]
    return _in_image(json.loads(found.removeprefix("CMD ")))


def _in_image(words: list[str]) -> list[str]:
    """A program of the image's PATH, as the project's environment has it."""
    return [str(_project() / ".venv" / "bin" / Path(words[0]).name), *words[1:]]


_COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "sudo": sudo, "python": python, "systemctl": systemctl, "supervisorctl": supervisorctl,
    "docker-compose": docker_compose,
}  # fmt: skip


def main(name: str, words: list[str]) -> int:
    """Be that command; its exit status."""
    try:
        _COMMANDS[name](words)
    except Refused as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
