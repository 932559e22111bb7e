"""The commands of `scripts/dev.py`: what each does, and that the Makefile has them all."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from scripts.devtools import checks, commands, instances
from scripts.devtools.environment import DEV, RUNTIME
from scripts.devtools.say import Failed
from tests.unit.tooling.holding import held
from utils.config import ROOT
from utils.envfile import GENERATED


class FakeEnvironment:
    """Stands in for the virtual environment; `wanted` is what was asked for."""

    wanted: str = ""
    python = Path(sys.executable)

    def __init__(self, root: Path) -> None:
        self.root = root

    def ensure(self, lock: str) -> None:
        type(self).wanted = lock


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The commands in an empty folder, with nothing to install and a clean environment."""
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(commands, "Environment", FakeEnvironment)
    for name in ("ENVIRONMENT", "DATABASE_URL", "REDIS_URL", "PORT", *GENERATED):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def populate(project: Path) -> None:
    for name in ("db", "run", "log"):
        (project / name).mkdir()
        (project / name / "file").touch()
    (project / ".env").write_text("PORT=5003\n", encoding="utf-8")


def answer(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Let the person at the terminal type `text`, or be absent."""

    def read(prompt: str) -> str:
        if text is None:
            raise EOFError
        return text

    monkeypatch.setattr("builtins.input", read)


def left(project: Path) -> set[str]:
    return {path.name for path in project.iterdir()}


class TestReset:
    @pytest.mark.parametrize(("typed", "status"), [("no", 1), ("", 1), (None, 130)])
    def test_only_yes_deletes(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        typed: str | None,
        status: int,
    ) -> None:
        populate(project)
        answer(monkeypatch, typed)
        assert commands.main(["reset"]) == status
        assert "deletes db, run, log" in capsys.readouterr().out
        assert left(project) == {"db", "run", "log", ".env"}

    def test_yes_deletes_the_state_and_keeps_env(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        populate(project)
        answer(monkeypatch, "yes")
        assert commands.main(["reset"]) == 0
        assert left(project) == {".env"}

    def test_all_deletes_env_too_and_follows_no_link(self, project: Path) -> None:
        populate(project)
        (project / "kept").mkdir()
        (project / "kept/file").touch()
        (project / ".cache").symlink_to(project / "kept")
        assert commands.main(["reset", "--yes", "--all"]) == 0
        assert left(project) == {"kept"}
        assert (project / "kept/file").exists()

    def test_a_foreign_database_is_left_alone(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        populate(project)
        (project / ".env").write_text("DATABASE_URL=postgresql://h/db\n", encoding="utf-8")
        assert commands.main(["reset", "--yes"]) == 0
        assert "left alone" in capsys.readouterr().out

    def test_nothing_to_delete(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert commands.main(["reset"]) == 0
        assert "nothing to delete" in capsys.readouterr().out

    def test_a_running_gateway_is_stopped_first(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = instances.lock_path(project, "5003")
        with held(path) as process:
            assert commands.main(["reset", "--yes"]) == 0
            assert process.wait(5) == -signal.SIGTERM
        assert "the gateway on port 5003 has stopped" in capsys.readouterr().out
        assert left(project) == set()


class TestStop:
    def test_the_port_comes_from_env(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        populate(project)
        assert commands.main(["stop"]) == 0
        assert "no gateway runs on port 5003" in capsys.readouterr().out
        assert commands.main(["stop", "--all"]) == 0
        with held(instances.lock_path(project, "6007")):
            assert commands.main(["stop"]) == 0
            assert "PORT=6007 make stop ends it" in capsys.readouterr().out
        with held(instances.lock_path(project, "5003")):
            assert commands.main(["stop"]) == 0
        assert "the gateway on port 5003 has stopped" in capsys.readouterr().out


class TestUpgrade:
    def test_a_clone_that_went_its_own_way_is_left_alone(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def git(folder: Path, *arguments: str) -> None:
            identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
            subprocess.run(
                ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True
            )

        def commit(folder: Path) -> None:
            (folder / "file").write_text(folder.name, encoding="utf-8")
            git(folder, "add", ".")
            git(folder, "commit", "-m", folder.name)

        origin, clone = project / "origin", project / "clone"
        origin.mkdir()
        git(origin, "init", "-b", "main")
        commit(origin)
        git(project, "clone", "-q", str(origin), str(clone))
        (origin / "more").touch()
        commit(origin)
        commit(clone)
        FakeEnvironment.wanted = ""
        monkeypatch.setattr(commands, "ROOT", clone)
        assert commands.main(["upgrade"]) == 1
        assert "`git pull --ff-only` failed" in capsys.readouterr().out
        assert FakeEnvironment.wanted == ""

    def test_it_migrates(
        self,
        project: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        asked: list[list[str]] = []
        status = 0

        def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
            asked.append(command)
            return subprocess.CompletedProcess(command, status if "flask" in command else 1, "")

        with held(instances.lock_path(project, "5003")):
            monkeypatch.setattr(subprocess, "run", run)
            assert commands.main(["upgrade"]) == 0
        assert asked[-1][1:] == ["-m", "flask", "--app", "app", "db", "upgrade"]
        out = capsys.readouterr().out
        assert "no upstream" in out
        assert "port 5003 still runs the old version" in out
        status = 1
        assert commands.main(["upgrade"]) == 1
        assert "was not migrated" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["dance"], ["stop", "--dance"], ["setup", "x"]])
def test_a_command_that_is_none_is_refused(project: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        commands.main(arguments)
    assert caught.value.code == 2


def test_the_makefile_lists_and_calls_every_command() -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = set(re.findall(r"^  make (\w+)", listed.stdout, re.M))
    usage = subprocess.run(
        [sys.executable, "scripts/dev.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = set(re.findall(r"\{([\w,]+)\}", usage)[0].split(","))
    assert targets == names | {"help"}
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"@$(DEV) {name}" in recipes for name in names)


def test_the_checks_run_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = Path(sys.executable)
    titles = [step.title for step in checks.steps(python, tests=True, pytest_arguments=())]
    assert titles == ["style", "types", "imports", "security", "tests"]
    assert [step.title for step in checks.steps(python, tests=False, pytest_arguments=())] == (
        titles[:-1]
    )
    for measure, measured in (("1", True), ("0", False)):
        monkeypatch.setenv("MEASURE_COVERAGE", measure)
        *_, tests = checks.steps(python, tests=True, pytest_arguments=())
        assert ("--cov" in tests.command) is measured
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


def test_setup_installs_and_writes_the_secrets(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["setup"]) == 0
    assert FakeEnvironment.wanted == RUNTIME
    assert "SECRET_KEY=" in (project / ".env").read_text(encoding="utf-8")
    assert "wrote SECRET_KEY, API_KEY_PEPPER, BACKUP_KEY to .env" in capsys.readouterr().out
    assert commands.main(["setup", "--dev"]) == 0
    assert FakeEnvironment.wanted == DEV


def test_secrets_are_demanded_in_production_not_made(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert commands.main(["setup"]) == 0
    assert not (project / ".env").exists()


def test_the_other_commands_call_their_tools(
    project: Path, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.chdir(project)
    assert commands.main(["test", "-k", "x"]) == 0
    assert commands.main(["lint"]) == 0
    assert commands.main(["bench", "--quick"]) == 5
    assert commands.main(["faults", "--kills", "1"]) == 5
    assert commands.main(["soak", "--minutes", "1"]) == 5
    with pytest.raises(Failed):
        commands.run(Namespace())
    assert seen == [
        {"tests": True, "pytest_arguments": ["-k", "x"]},
        {"tests": False},
        ["-m", "benchmarks", "--quick"],
        ["-m", "tests.faults", "--kills", "1"],
        ["-m", "tests.operations.soak", "--minutes", "1"],
        ["-m", "scripts.devtools.serve"],
    ]
