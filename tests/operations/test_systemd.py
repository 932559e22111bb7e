"""The service under systemd: what it tells, when it counts as alive, and the units themselves.

A socket stands in for systemd; the gateway is the real one, under gunicorn.
"""

from __future__ import annotations

import configparser
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import cli
from tests.operations.serving import copy_project, free_port, gone, wait_for
from tests.support.notify_socket import NotifySocket, notify_socket
from tests.support.stacks import environment
from utils.config import ROOT

UNITS = ROOT / "deploy" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
EXPOSURE = 2.0
"""What `systemd-analyze security` may say at most; its "OK" ends at 5."""


class Service:
    """gunicorn with the project's configuration, told of a notification socket."""

    def __init__(
        self, folder: Path, heard: NotifySocket, *words: str, program: Path | None = None,
        folder_of_release: Path = ROOT, **environ: str,
    ) -> None:
        self.port = free_port()
        gunicorn = program or Path(sys.executable).with_name("gunicorn")
        self.process = subprocess.Popen(
            [gunicorn, "--config", "config/gunicorn.py", *words],
            cwd=folder_of_release,
            env={
                **os.environ, **environment(), "PWD": str(folder_of_release),
                "NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": "800000",
                "PORT": str(self.port), "LOG_DIR": str(folder / "log"),
                "LOG_CONSOLE_LEVEL": "CRITICAL", "STATE_DIR": str(folder / "run"),
                "DATABASE_URL": f"sqlite:///{folder / 'openalgo.db'}",
                **{name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")},
                **environ,
            },
        )  # fmt: skip

    def status(self, path: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return int(answer.status)


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[NotifySocket]:
    with notify_socket(tmp_path) as found:
        yield found


def end(*pids: int) -> None:
    """End what a test may have left behind."""
    for pid in pids:
        if psutil.pid_exists(pid):
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            for process in family:
                process.kill()


def test_ready_alive_reloading_replaced_stopping(tmp_path: Path, heard: NotifySocket) -> None:
    service = Service(tmp_path, heard)
    masters = [service.process.pid]
    try:
        ready = heard.hears("READY")
        assert service.status("/health/ready") == 200  # no wait: ready means ready
        assert ready.lines["MAINPID"] == str(masters[0])
        first = ready.pid
        assert psutil.Process(first).ppid() == masters[0]  # a worker said it, not gunicorn
        assert heard.hears("WATCHDOG").pid == first

        mark = len(heard.messages)
        service.process.send_signal(signal.SIGHUP)
        assert heard.hears("RELOADING", mark).pid == masters[0]
        second = heard.hears("READY", mark).pid
        assert second != first
        wait_for(lambda: not psutil.pid_exists(first))
        mark = len(heard.messages)
        assert heard.hears("WATCHDOG", mark).pid == second

        mark = len(heard.messages)
        service.process.send_signal(signal.SIGUSR2)
        replaced = heard.hears("READY", mark)
        masters.append(int(replaced.lines["MAINPID"]))
        assert masters[1] != masters[0]
        assert service.process.wait(30) == 0  # the old master was told to end, and did
        assert service.status("/health/ready") == 200
        assert heard.saying("STOPPING") == []

        mark = len(heard.messages)
        new_master = psutil.Process(masters[1])
        new_master.terminate()
        assert heard.hears("STOPPING", mark).pid == masters[1]
        wait_for(lambda: gone([new_master]))
    finally:
        end(*masters)


SERVED = (
    "app.py", "blueprints", "broker", "cli", "config", "database", "migrations", "services",
    "static", "templates", "utils",
)  # fmt: skip


def release(folder: Path, version: str) -> Path:
    """A release as deploy/README.md lays it out, whose programs name it in their first line."""
    made = folder / "releases" / version
    programs = made / ".venv" / "bin"
    programs.mkdir(parents=True)
    copy_project(made, *SERVED)
    python = f'#!/bin/sh\nRELEASE={version} exec {sys.executable} "$@"\n'
    gunicorn = f"#!{programs}/python\nfrom gunicorn.app.wsgiapp import run\nrun()\n"
    for name, text in (("python", python), ("gunicorn", gunicorn)):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    return made


def test_a_new_release_takes_over_and_one_that_does_not_start_does_not(
    tmp_path: Path, heard: NotifySocket
) -> None:
    first, broken, second = (release(tmp_path, name) for name in ("v1", "broken", "v2"))
    (broken / "app.py").write_text("raise RuntimeError('broken on purpose')\n", encoding="utf-8")
    current = tmp_path / "current"
    current.symlink_to(first)

    def point_to(made: Path) -> None:
        (tmp_path / "next").symlink_to(made)
        (tmp_path / "next").rename(current)

    service = Service(
        tmp_path, heard, program=current / ".venv/bin/gunicorn", folder_of_release=current
    )
    master, new = psutil.Process(service.process.pid), None
    try:
        worker = heard.hears("READY").pid
        assert master.cwd() == str(first) and master.environ()["RELEASE"] == "v1"

        point_to(broken)
        mark = len(heard.messages)
        master.send_signal(signal.SIGUSR2)
        wait_for(lambda: len(master.children()) > 1)
        wait_for(lambda: len(master.children()) == 1)
        assert service.status("/health/ready") == 200
        assert heard.saying("READY", mark) == heard.saying("STOPPING", mark) == []
        wait_for(lambda: heard.saying("WATCHDOG", mark))
        assert {message.pid for message in heard.saying("WATCHDOG", mark)} == {worker}

        point_to(second)
        mark = len(heard.messages)
        master.send_signal(signal.SIGUSR2)
        new = psutil.Process(int(heard.hears("READY", mark, 60).lines["MAINPID"]))
        assert service.process.wait(30) == 0
        assert new.cwd() == str(second) and new.environ()["RELEASE"] == "v2"
        assert service.status("/health/ready") == 200
    finally:
        end(service.process.pid, *([new.pid] if new else []))


def test_a_worker_whose_order_path_hangs_stops_feeding_and_is_replaced(
    tmp_path: Path, heard: NotifySocket
) -> None:
    service = Service(
        tmp_path, heard, "--timeout", "3", "tests.operations.hanging:create()",
        WEB_THREADS="2", JAINAM_API_TIMEOUT="1",
    )
    held = []
    try:
        first = heard.hears("WATCHDOG").pid
        for _ in range(2):
            held.append(socket.create_connection(("127.0.0.1", service.port)))
            held[-1].sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        mark = len(heard.messages)
        second = heard.hears("READY", mark, 60).pid
        assert second != first
        fed = [message.pid for message in heard.saying("WATCHDOG", mark)]
        assert fed.count(first) <= 2  # what was on its way when the last thread was taken
        assert heard.hears("WATCHDOG", len(heard.messages)).pid == second
        log = (tmp_path / "log" / "error.log").read_text(encoding="utf-8")
        assert "work does not get through" in log and "for_ever.wait" in log
    finally:
        for connection in held:
            connection.close()
        end(service.process.pid)
        service.process.wait(10)


# The units -------------------------------------------------------------------------------------


def parsed(unit: Path) -> configparser.ConfigParser:
    """A unit's sections; of a key that comes twice the last one."""
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read(unit, encoding="utf-8")
    return found


def commands(unit: Path) -> list[str]:
    """What a unit runs, without the path of the release."""
    return [
        line.partition("=")[2] for line in unit.read_text(encoding="utf-8").splitlines()
        if line.startswith("Exec")
    ]


@pytest.mark.systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """With the paths of this installation, since systemd looks whether the programs are there."""
    here = {"/opt/openalgo/current/.venv/bin": str(Path(sys.executable).parent),
            "/opt/openalgo/current": str(ROOT)}  # fmt: skip
    for unit in UNITS.iterdir():
        text = unit.read_text(encoding="utf-8")
        for name, path in here.items():
            text = text.replace(name, path)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.glob("*.[st]*")))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "openalgo" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


@pytest.mark.systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_the_services_expose_little(unit: Path) -> None:
    threshold = str(int(EXPOSURE * 10))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={threshold}", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None and float(found[1]) <= EXPOSURE


def _calls(group: str) -> set[str]:
    """The system calls of a group, and of the groups in it."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", group],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.strip() for line in done.stdout.splitlines()[1:]]
    names = {line for line in lines if line and not line.startswith(("#", "@"))}
    return names.union(*(_calls(line) for line in lines if line.startswith("@")))


USED = {
    "accept4", "bind", "clone", "connect", "epoll_wait", "execve", "fallocate", "fdatasync",
    "flock", "fsync", "futex", "getrandom", "kill", "listen", "mmap", "pwrite64", "rename",
    "sendto", "setpriority", "socket", "unlink", "wait4",
}  # fmt: skip
"""What a trace of the gateway showed at its work, of what a filter could plausibly lack."""


@pytest.mark.systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_the_filter_of_system_calls_lets_the_work_be_done(unit: Path) -> None:
    allowed: set[str] = set()
    lines = re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(encoding="utf-8"), re.M)
    for line in lines:  # the first one is a list of what is allowed, each later one changes it
        names = set[str]()
        for word in line.lstrip("~").split():
            names |= _calls(word) if word.startswith("@") else {word}
        allowed = allowed - names if line.startswith("~") else allowed | names
    assert allowed >= USED
    assert not allowed & {"mount", "ptrace", "reboot", "init_module", "chroot"}


def test_the_time_outs_contain_one_another() -> None:
    service = parsed(UNITS / "openalgo.service")["Service"]
    configuration = (ROOT / "config" / "gunicorn.py").read_text(encoding="utf-8")

    def of_gunicorn(name: str) -> int:
        found = re.search(rf"^{name} = (\d+)$", configuration, re.M)
        assert found is not None
        return int(found[1])

    request = 10
    assert request < of_gunicorn("graceful_timeout") < int(service["TimeoutStopSec"])
    assert request < of_gunicorn("timeout") < int(service["WatchdogSec"])
    assert of_gunicorn("keepalive") > 120
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "all")
    assert service["KillMode"] == "mixed" and service["Restart"] == "always"


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_holds_no_setting_and_writes_only_its_state(unit: Path) -> None:
    service = parsed(unit)["Service"]
    environ = re.findall(r"^Environment=(.*)$", unit.read_text(encoding="utf-8"), re.M)
    names = {pair.partition("=")[0] for line in environ for pair in line.split()}
    assert names <= {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PWD"}
    assert service["User"] == "openalgo" and service["ProtectSystem"] == "strict"
    writable = "/var/lib/openalgo /var/log/openalgo"
    if unit.stem in ("openalgo", "openalgo-backup"):  # who makes backups
        writable += " -/var/backups/openalgo"
    assert service["ReadWritePaths"] == writable


@pytest.mark.parametrize("timer", sorted(UNITS.glob("*.timer")), ids=lambda timer: timer.stem)
def test_a_timer_starts_a_command_that_exists(timer: Path) -> None:
    """The command line finds it, its options included; commands that read stale by themselves."""
    from flask import Flask

    app = Flask("commands")
    cli.register(app)
    (command,) = commands(timer.with_suffix(".service"))
    program, *words = command.split()
    assert program == "/opt/openalgo/current/.venv/bin/flask" and words[:2] == ["--app", "app"]
    group = app.cli.commands[words[2]]
    found = group.commands[words[3]]  # type: ignore[attr-defined]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words[4:] if word.startswith("--")} <= options
    assert "--if-stale" in words or words[2:4] == ["orders", "reconcile"]
    assert parsed(timer)["Timer"]["OnCalendar"]
