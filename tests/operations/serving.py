"""A `make run` under test: its output, its processes, its answers."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from utils.config import ROOT


def copy_project(folder: Path, *names: str) -> Path:
    """Copy parts of the project, so that a run in the copy leaves the original as it is."""
    for name in names:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Poll until it is true; its value. Fails loudly when it never is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)
    return value


class Run:
    """One `make run`: its output so far, its children, its answers."""

    def __init__(self, project: Path, environ: dict[str, str]) -> None:
        self.port = int(environ["PORT"])
        self.project = project
        self.environ = environ
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scripts.devtools.serve"],
            cwd=project,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def ready(self) -> Run:
        wait_for(lambda: "Stop with Ctrl-C" in self.output or self.process.poll() is not None)
        assert self.process.poll() is None, self.output
        return self

    def says(self, text: str) -> bool:
        """Whether the output has `text`; fails with the output when it can't come any more."""
        found = text in self.output
        assert found or ("not loaded" not in self.output and self.process.poll() is None), (
            self.output
        )
        return found

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.ended()

    def ended(self, seconds: float = 30) -> int:
        status = self.process.wait(seconds)
        self._reader.join(10)
        return status

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def running(project: Path, **environ: str) -> Iterator[Run]:
    base = {name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")}
    port = environ.get("PORT", str(free_port()))
    run = Run(
        project,
        {
            **base,
            "PORT": port,
            "SIMULATOR_PORT": str(free_port()),
            "SIMULATOR_MASTER": "small",
            "DATABASE_URL": f"sqlite:///db/{port}/openalgo.db",
            "LOG_DIR": f"log/{port}",
            **environ,
        },
    )
    try:
        yield run
    finally:
        family = run.family() if run.process.poll() is None else []
        run.process.kill()
        run.process.wait()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def gone(processes: list[psutil.Process]) -> bool:
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )


def names(processes: list[psutil.Process]) -> str:
    return " ".join(" ".join(process.cmdline()) for process in processes)
