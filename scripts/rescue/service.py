"""Stops and starts the gateway, under whatever keeps it running."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from scripts.rescue.installation import Installation, tool
from scripts.rescue.run import CommandFailed, run
from scripts.rescue.statuses import Failed, Status

METHODS = ("systemd", "supervisor", "docker", "git")
NAME = "openalgo"
_SECONDS = 40.0


def detect(installation: Installation) -> str:
    """What keeps the gateway running here, by asking each for a service of this name."""
    compose = installation.app / "docker-compose.yml"
    questions: list[tuple[str, Sequence[str]]] = [
        ("systemd", ("systemctl", "cat", f"{NAME}.service")),
        ("supervisor", ("supervisorctl", "status", NAME)),
    ]
    if compose.is_file() and installation.base is None:
        questions.append(("docker", (*compose_command(installation), "ps", "--services")))
    for method, command in questions:
        if tool(command[0]) is None:
            continue
        try:
            answer = run(command, seconds=5.0)
        except CommandFailed as error:
            if method == "supervisor" and f"{NAME} " in str(error):
                return method  # a stopped program: its status is not 0
            continue
        if method != "docker" or NAME in answer.split():
            return method
    return "git"


class Service:
    """The gateway's service. `stop` and `start` are commands of the operator's, if given."""

    def __init__(
        self, installation: Installation, method: str, *, names: Sequence[str] = (NAME,),
        stop: str = "", start: str = "",
    ) -> None:
        self._method = method
        self._names = list(names)
        self._own_commands = not (stop or start)
        self._stop, self._start = _commands(installation, method, names)
        if stop:
            self._stop = [shlex.split(stop)]
        if start:
            self._start = [shlex.split(start)]

    @property
    def by_hand(self) -> bool:
        """Whether nobody here can start it: the operator has to."""
        return not self._start

    def stop(self) -> None:
        """Stop it; `Failed` when that was refused."""
        self._run(self._stop, "stopped")

    def start(self) -> None:
        """Start it; `Failed` when that was refused."""
        self._run(self._start, "started")

    def replace(self) -> None:
        """Have the code of now served: without a gap where that is possible, else by a restart.

        Under systemd a running service is told by SIGUSR2 to start a second master, which takes the
        socket over (deploy/README.md); if it does not come up, the old one goes on.
        """
        if self._method == "systemd" and self._own_commands and self._runs():
            units = [f"{name}.service" for name in self._names]
            signal = ["systemctl", "kill", "--kill-whom=main", "-s", "USR2", units[0]]
            self._run([signal], "replaced")
            if units[1:]:
                self._run([["systemctl", "restart", *units[1:]]], "restarted")
            return
        self.stop()
        self.start()

    def _runs(self) -> bool:
        try:
            run(["systemctl", "is-active", "--quiet", f"{self._names[0]}.service"], seconds=10.0)
        except CommandFailed:
            return False
        return True

    def _run(self, commands: Sequence[Sequence[str]], what: str) -> None:
        for command in commands:
            try:
                run(command, seconds=_SECONDS)
            except CommandFailed as error:
                raise Failed(Status.NOT_STARTED, f"The service was not {what}: {error}") from None


def compose_command(installation: Installation) -> list[str]:
    """How compose is called for this installation."""
    program = ["docker-compose"] if tool("docker-compose") else ["docker", "compose"]
    folder = installation.app
    return [
        *program, "--project-directory", str(folder), "-f", str(folder / "docker-compose.yml"),
        "--env-file", str(installation.env_file),
    ]


def _commands(
    installation: Installation, method: str, names: Sequence[str]
) -> tuple[list[list[str]], list[list[str]]]:
    if method == "systemd":
        units = [f"{name}.service" for name in names]
        return [["systemctl", "stop", *units]], [["systemctl", "start", *units]]
    if method == "supervisor":
        return (
            [["supervisorctl", "stop", *names]],
            [["supervisorctl", "start", *names]],
        )
    if method == "docker":
        compose = compose_command(installation)
        return (
            [[*compose, "stop", *names]],
            [[*compose, "up", "-d", "--no-deps", *names]],
        )
    return [], []


def application_command(
    installation: Installation, method: str, release: Path, words: Sequence[str]
) -> tuple[list[str], Path | None]:
    """How a command of the application is run, and in which folder."""
    if method == "docker":
        command = [*compose_command(installation), "run", "--rm", "--no-deps", "-T", NAME]
        return [*command, "flask", "--app", "app", *words], None
    python = installation.python(release)
    if python is None:
        raise CommandFailed(f"{release} has no virtual environment")
    return [str(python), "-m", "flask", "--app", "app", *words], release


def application_environ(installation: Installation) -> dict[str, str]:
    """The environment of such a command: the service's variables, and nothing of this script's."""
    found = {"LOG_CONSOLE_LEVEL": "ERROR", **installation.variables}
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        found.pop(name, None)
    return found
