"""`scripts/dev.py` in a copy of the project: stop, reset, upgrade, help and the Makefile."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from scripts.devtools import checks, commands
from scripts.devtools.environment import DEV, RUNTIME
from scripts.devtools.say import Failed
from utils.config import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the scripts need."""
    for name in ("scripts", "utils"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def dev(project: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/dev.py", *arguments],
        cwd=project,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


def populate(project: Path) -> None:
    for name in ("db", "run", "log"):
        (project / name).mkdir()
        (project / name / "file").touch()
    (project / ".env").write_text("PORT=5003\n", encoding="utf-8")


class TestReset:
    def test_it_asks_first(self, project: Path) -> None:
        populate(project)
        done = dev(project, "reset", stdin="no\n")
        assert done.returncode == 1
        assert "deletes db, run, log" in done.stdout
        assert "nothing was deleted" in done.stdout
        assert (project / "db/file").exists()

    def test_yes_deletes_the_state_and_keeps_env(self, project: Path) -> None:
        populate(project)
        assert dev(project, "reset", stdin="yes\n").returncode == 0
        left = {path.name for path in project.iterdir()}
        assert left == {"scripts", "utils", "Makefile", ".env"}

    def test_all_deletes_env_too(self, project: Path) -> None:
        populate(project)
        (project / "db/file").unlink()
        (project / "db").rmdir()
        (project / "db").symlink_to(project / "log")
        assert dev(project, "reset", "--yes", "--all").returncode == 0
        assert {path.name for path in project.iterdir()} == {"scripts", "utils", "Makefile"}

    def test_a_foreign_database_is_left_alone(self, project: Path) -> None:
        populate(project)
        (project / ".env").write_text("DATABASE_URL=postgresql://h/db\n", encoding="utf-8")
        assert "left alone" in dev(project, "reset", "--yes").stdout

    def test_nobody_at_the_terminal_means_no(self, project: Path) -> None:
        populate(project)
        assert dev(project, "reset").returncode == 130
        assert (project / "db/file").exists()

    def test_nothing_to_delete(self, project: Path) -> None:
        assert "nothing to delete" in dev(project, "reset").stdout


class TestStop:
    def test_the_port_comes_from_env(self, project: Path) -> None:
        populate(project)
        done = dev(project, "stop")
        assert done.returncode == 0
        assert "no gateway runs on port 5003" in done.stdout
        assert dev(project, "stop", "--all").stdout == ""


class TestUpgrade:
    def test_a_clone_that_went_its_own_way_is_left_alone(self, project: Path) -> None:
        def git(folder: Path, *arguments: str) -> None:
            identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
            subprocess.run(["git", *identity, *arguments], cwd=folder, check=True,
                           capture_output=True)  # fmt: skip

        git(project, "init", "-b", "main")
        git(project, "add", ".")
        git(project, "commit", "-m", "one")
        clone = project.parent / f"{project.name}-clone"
        git(project, "clone", "-q", str(project), str(clone))
        for folder in (project, clone):
            (folder / "file").write_text(folder.name, encoding="utf-8")
            git(folder, "add", ".")
            git(folder, "commit", "-m", "two")
        done = dev(clone, "upgrade")
        assert done.returncode == 1
        assert "`git pull --ff-only` failed" in done.stdout
        assert not (clone / ".venv").exists()


def test_a_command_is_needed(project: Path) -> None:
    assert dev(project).returncode == 2
    assert dev(project, "dance").returncode == 2
    assert dev(project, "stop", "--dance").returncode == 2


def test_the_makefile_lists_and_calls_every_command(project: Path) -> None:
    listed = subprocess.run(
        ["make", "-s"], cwd=project, capture_output=True, text=True, check=True
    ).stdout
    targets = set(re.findall(r"^  make (\w+)", listed, re.M))
    usage = dev(project, "--help").stdout
    names = set(re.findall(r"\{([\w,]+)\}", usage)[0].split(","))
    assert targets == names | {"help"}


def test_the_checks_run_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = Path(sys.executable)
    titles = [step.title for step in checks.steps(python, tests=True, pytest_arguments=())]
    assert titles == ["style", "format", "types", "imports", "tests"]
    assert [step.title for step in checks.steps(python, tests=False, pytest_arguments=())] == (
        titles[:-1]
    )
    (alone,) = checks.steps(python, tests=True, pytest_arguments=("-k", "x"))
    assert alone.command[1:] == ("-m", "pytest", "-k", "x")


def test_every_check_runs_and_one_failure_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    python = sys.executable

    def steps(*arguments: object, **options: object) -> list[checks.Step]:
        return [
            checks.Step("bad", (python, "-c", "raise SystemExit(3)")),
            checks.Step("good", (python, "-c", "print('ran')")),
        ]

    monkeypatch.setattr(checks, "steps", steps)
    assert checks.check(tmp_path, Path(python), tests=True) == 1
    out = capfd.readouterr().out
    assert "ran" in out
    assert "✗ bad" in out
    assert "✓ good" in out


class FakeEnvironment:
    """Stands in for the virtual environment; `wanted` is what was asked for."""

    wanted: str = ""
    python = Path(sys.executable)

    def __init__(self, root: Path) -> None:
        self.root = root

    def ensure(self, lock: str) -> None:
        type(self).wanted = lock


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The commands in an empty folder, with nothing to install."""
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(commands, "Environment", FakeEnvironment)
    for name in ("ENVIRONMENT", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "API_KEY_PEPPER"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_setup_installs_and_writes_the_secrets(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["setup"]) == 0
    assert FakeEnvironment.wanted == RUNTIME
    assert "SECRET_KEY=" in (prepared / ".env").read_text(encoding="utf-8")
    assert "wrote SECRET_KEY, API_KEY_PEPPER, BACKUP_KEY to .env" in capsys.readouterr().out
    assert commands.main(["setup", "--dev"]) == 0
    assert FakeEnvironment.wanted == DEV


def test_secrets_are_demanded_in_production_not_made(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert commands.main(["setup"]) == 0
    assert not (prepared / ".env").exists()


def test_upgrade_migrates(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    status = 0

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, status if "flask" in command else 1, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert commands.main(["upgrade"]) == 0
    assert asked[-1][1:] == ["-m", "flask", "--app", "app", "db", "upgrade"]
    assert "no upstream" in capsys.readouterr().out
    status = 1
    assert commands.main(["upgrade"]) == 1
    assert "was not migrated" in capsys.readouterr().out


def test_the_other_commands_call_their_tools(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def check(root: Path, python: Path, **options: object) -> int:
        seen.append(options)
        return 0

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        seen.append(command[1:])
        return subprocess.CompletedProcess(command, 5, "", "")

    def execute(path: str, command: list[str]) -> None:
        seen.append(command[1:])
        raise Failed("replaced")

    monkeypatch.setattr(commands, "check", check)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("os.execv", execute)
    monkeypatch.chdir(prepared)
    assert commands.main(["test", "-k", "x"]) == 0
    assert commands.main(["lint"]) == 0
    assert commands.main(["bench", "--quick"]) == 5
    with pytest.raises(Failed):
        commands.run(Namespace())
    assert seen == [
        {"tests": True, "pytest_arguments": ["-k", "x"]},
        {"tests": False},
        ["-m", "benchmarks", "--quick"],
        ["-m", "scripts.devtools.serve"],
    ]
