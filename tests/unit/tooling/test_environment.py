"""The virtual environment: made once, filled from the right lock, left alone when current."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.devtools import environment as module
from scripts.devtools.environment import DEV, LOCKS, RUNTIME, SERVER, Environment, lock_for_serving
from scripts.devtools.say import Failed
from utils.config import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with three locks."""
    for lock in LOCKS:
        (tmp_path / lock).write_text(f"# {lock}\n", encoding="utf-8")
    return tmp_path


class Recorder:
    """Stands in for subprocesses: remembers commands, makes the interpreter's file."""

    def __init__(self, failing: str = "") -> None:
        self.commands: list[list[str]] = []
        self._failing = failing

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        failed = bool(self._failing) and self._failing in " ".join(command)
        return subprocess.CompletedProcess(command, int(failed), "", "the reason")

    def installed(self) -> list[str]:
        return [Path(command[-1]).name for command in self.commands if "install" in command]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(subprocess, "run", made.run)
    return made


WITHOUT_UV = {"OPENALGO_UV": "off"}


def test_a_second_run_installs_nothing(project: Path, recorder: Recorder) -> None:
    Environment(project, WITHOUT_UV).ensure(RUNTIME)
    assert [command[1:3] for command in recorder.commands] == [["-m", "venv"], ["-m", "pip"]]
    assert "--require-hashes" in recorder.commands[-1]
    recorder.commands.clear()
    Environment(project, WITHOUT_UV).ensure(RUNTIME)
    assert recorder.commands == []


def test_a_changed_lock_is_installed(project: Path, recorder: Recorder) -> None:
    Environment(project, WITHOUT_UV).ensure(RUNTIME)
    (project / RUNTIME).write_text("# newer\n", encoding="utf-8")
    Environment(project, WITHOUT_UV).ensure(RUNTIME)
    assert recorder.installed() == [RUNTIME, RUNTIME]


def test_a_larger_lock_covers_the_smaller_and_is_kept(project: Path, recorder: Recorder) -> None:
    environment = Environment(project, WITHOUT_UV)
    environment.ensure(RUNTIME)
    environment.ensure(DEV)
    environment.ensure(SERVER)
    environment.ensure(RUNTIME)
    assert recorder.installed() == [RUNTIME, DEV]
    (project / DEV).write_text("# newer\n", encoding="utf-8")
    environment.ensure(RUNTIME)
    assert recorder.installed() == [RUNTIME, DEV, DEV]


@pytest.mark.parametrize("stamp", ["", "[]", '{"lock": "other.txt"}'])
def test_a_broken_stamp_means_install(project: Path, recorder: Recorder, stamp: str) -> None:
    environment = Environment(project, WITHOUT_UV)
    environment.ensure(RUNTIME)
    (environment.folder / "lock-stamp.json").write_text(stamp, encoding="utf-8")
    environment.ensure(RUNTIME)
    assert recorder.installed() == [RUNTIME, RUNTIME]


def test_a_failed_install_leaves_no_stamp(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Recorder(failing="pip install")
    monkeypatch.setattr(subprocess, "run", failing.run)
    environment = Environment(project, WITHOUT_UV)
    with pytest.raises(Failed, match="the reason"):
        environment.ensure(RUNTIME)
    assert not (environment.folder / "lock-stamp.json").exists()


def test_an_environment_of_a_python_that_is_gone_is_made_anew(
    project: Path, recorder: Recorder
) -> None:
    environment = Environment(project, WITHOUT_UV)
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(project / "gone")
    (environment.folder / "leftover").touch()
    environment.ensure(RUNTIME)
    assert environment.python.is_file()
    assert not (environment.folder / "leftover").exists()


def test_uv_is_used_where_it_is(
    project: Path, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tools = tmp_path_factory.mktemp("tools")
    uv = tools / "uv"
    uv.write_text("#!/bin/sh\n", encoding="utf-8")
    uv.chmod(0o755)
    Environment(project, {"PATH": str(tools)}).ensure(RUNTIME)
    assert [command[0] for command in recorder.commands] == [str(uv), str(uv)]


def test_pip_steps_in_when_uv_fails(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    failing = Recorder(failing="uv pip install")
    monkeypatch.setattr(subprocess, "run", failing.run)
    monkeypatch.setattr(module, "_find_uv", lambda environ: "uv")
    Environment(project, {}).ensure(RUNTIME)
    assert [command[1:3] for command in failing.commands] == [
        ["venv", "--quiet"],
        ["pip", "install"],
        ["-m", "ensurepip"],
        ["-m", "pip"],
    ]


def test_a_python_without_venv_gets_one_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name == "ensurepip" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    version = "{}.{}".format(*sys.version_info)
    with pytest.raises(Failed) as caught:
        Environment(project, WITHOUT_UV).ensure(RUNTIME)
    assert f"sudo apt install python{version}-venv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_real_environment_is_made(project: Path) -> None:
    environment = Environment(project, {**os.environ, **WITHOUT_UV})
    environment.ensure(RUNTIME)
    shown = subprocess.run(
        [str(environment.python), "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(shown.stdout.strip()) == environment.folder
    stamp = json.loads((environment.folder / "lock-stamp.json").read_text(encoding="utf-8"))
    assert stamp["lock"] == RUNTIME


@pytest.mark.parametrize(
    ("environ", "lock"),
    [
        ({}, RUNTIME),
        ({"DATABASE_URL": "sqlite:///db/x.db"}, RUNTIME),
        ({"DATABASE_URL": "postgresql://h/db"}, SERVER),
        ({"DATABASE_URL_FILE": "/run/secrets/url"}, SERVER),
        ({"REDIS_URL": "redis://h"}, SERVER),
    ],
)
def test_shared_storage_brings_its_clients(environ: dict[str, str], lock: str) -> None:
    assert lock_for_serving(environ) == lock


def test_the_locks_contain_one_another_and_every_package_is_hashed() -> None:
    pins = []
    for lock in LOCKS:
        text = (ROOT / lock).read_text(encoding="utf-8")
        assert "://" not in text
        lines = text.replace("\\\n", " ").splitlines()
        wanted = [line for line in lines if line and not line.startswith((" ", "#"))]
        assert wanted
        assert all("--hash=sha256:" in line for line in wanted), lock
        pins.append({line.split()[0] for line in wanted})
    assert pins[0] < pins[1] < pins[2]


def test_the_old_python_gets_one_sentence() -> None:
    program = (
        "import runpy, sys; sys.version_info = (3, 10, 9);"
        "runpy.run_path('scripts/dev.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11 or newer, and this is Python 3.10" in done.stderr


def test_every_old_python_understands_the_entry() -> None:
    source = (ROOT / "scripts/dev.py").read_text(encoding="utf-8")
    assert ast.parse(source, feature_version=(3, 4))
