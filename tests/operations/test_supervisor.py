"""A real supervisord with the shipped file: it starts the gateway, keeps it up, ends it gently."""

from __future__ import annotations

import configparser
import getpass
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.servers import Served, post
from tests.operations.serving import gone, wait_for
from tests.operations.test_nginx import ORDER
from tests.support.programs import program
from utils.config import ROOT

pytestmark = pytest.mark.supervisor

SHIPPED = ROOT / "deploy" / "supervisor" / "openalgo.conf"
_AROUND = """
[unix_http_server]
file={folder}/supervisor.sock
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/supervisor.sock
[include]
files = {folder}/openalgo.conf
"""


class Supervisor:
    """A running supervisord and its control program."""

    def __init__(self, folder: Path) -> None:
        self._file = str(folder / "supervisord.conf")

    def control(self, *words: str) -> str:
        done = subprocess.run(
            [program("supervisorctl"), "-c", self._file, *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    def state(self) -> str:
        return self.control("status", "openalgo").split()[1]

    def pid(self) -> int:
        return int(self.control("pid", "openalgo"))


@contextmanager
def supervised(folder: Path, environ: dict[str, str]) -> Iterator[Supervisor]:
    text = SHIPPED.read_text(encoding="utf-8")
    for old, new in {
        "/opt/openalgo/current/.venv/bin": str(Path(sys.executable).parent),
        "directory=/opt/openalgo/current": f"directory={ROOT}",
        "user=openalgo": f"user={getpass.getuser()}",
        "/var/log/openalgo": str(folder),
        "startsecs=5": "startsecs=1",
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "openalgo.conf").write_text(text, encoding="utf-8")
    user = "user=root" if os.geteuid() == 0 else ""
    around = _AROUND.format(folder=folder, user=user)
    (folder / "supervisord.conf").write_text(around, encoding="utf-8")
    process = subprocess.Popen(
        [program("supervisord"), "--nodaemon", "-c", str(folder / "supervisord.conf")],
        env={**os.environ, **environ}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: (folder / "supervisor.sock").exists() or process.poll() is not None)
        yield Supervisor(folder)
    finally:
        process.terminate()  # it ends its program first
        process.wait(30)


def answers(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_started_restarted_after_a_kill_and_stopped_gracefully(tmp_path: Path) -> None:
    environ = {"WISDOM_ENABLED": "false", "JAINAM_API_TIMEOUT": "8"}
    with Served(tmp_path, environ=environ) as served:
        served.gateway.stop()
        port = served.environ["PORT"]
        with supervised(tmp_path, served.environ) as supervisor:
            wait_for(lambda: answers(port), 60)
            wait_for(lambda: supervisor.state() == "RUNNING")
            first = psutil.Process(supervisor.pid())
            family = [first, *first.children()]
            first.kill()
            wait_for(lambda: gone(family))  # the workers do not outlive their master
            wait_for(lambda: supervisor.state() == "RUNNING", 60)
            wait_for(lambda: answers(port), 60)
            second = supervisor.pid()
            assert second != first.pid

            family = psutil.Process(second).children()
            supervisor.control("signal", "HUP", "openalgo")
            wait_for(lambda: gone(family), 60)
            wait_for(lambda: answers(port), 60)  # requests wait while the new worker starts
            assert supervisor.pid() == second

            told: list[dict[str, Any]] = []
            slow = {"route": "POST /orders", "fault": "slow", "seconds": 2}
            served.simulator.faults(slow)
            body = {"apikey": served.key, **ORDER}
            order = threading.Thread(
                target=lambda: told.append(post(f"{served.url}/api/v1/placeorder", body))
            )
            order.start()
            wait_for(lambda: served.simulator.control("faults")["applied"])
            supervisor.control("stop", "openalgo")  # while the order is at the broker
            order.join()
            assert told[0]["status"] == "success" and told[0]["orderid"]
            wait_for(lambda: supervisor.state() == "STOPPED")
            assert not answers(port)
        log = (tmp_path / "log" / "app.log").read_text(encoding="utf-8")
        assert json.loads(log.splitlines()[-1])["message"].startswith("Shutting down")


def test_the_file_holds_no_setting_and_gives_workers_their_time() -> None:
    found = configparser.ConfigParser(interpolation=None)
    found.read(SHIPPED, encoding="utf-8")
    section = found["program:openalgo"]
    assert section["user"] == "openalgo" and section["autorestart"] == "true"
    assert signal.Signals[f"SIG{section['stopsignal']}"] is signal.SIGTERM
    assert section["stopasgroup"] == "false" and int(section["stopwaitsecs"]) > 15
    names = {pair.partition("=")[0] for pair in section["environment"].split(",")}
    assert names == {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
