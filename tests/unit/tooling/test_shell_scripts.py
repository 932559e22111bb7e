"""The shell scripts: strict, executable, and nothing that shellcheck objects to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from utils.config import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))


def test_shellcheck_has_nothing_to_say() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    others = (ROOT / ".ci" / "run", ROOT / "deploy" / "install-release.sh")
    files = [*SCRIPTS, *(ROOT / "scripts" / "lib").glob("*.sh"), *others]
    done = subprocess.run(
        [str(shellcheck), "-x", *map(str, files)], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_runs_strictly_and_says_what_it_is_for(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/bin/sh"
    assert lines[1].startswith("# ")
    assert "set -eu" in lines
    assert script.stat().st_mode & 0o111 == 0o111


def test_the_scripts_that_the_issue_names_are_there() -> None:
    assert {path.stem for path in SCRIPTS} >= {
        "deploy", "rollback", "backup", "restore_database", "verify_database", "verify_backups",
        "verify_infrastructure", "health_check", "smoke_test",
    }


@pytest.mark.parametrize(
    "name", ["deploy.sh", "rollback.sh", "health_check.sh", "smoke_test.sh",
             "verify_infrastructure.sh"],
)
def test_help_needs_no_installation(name: str) -> None:
    done = subprocess.run(
        [str(ROOT / "scripts" / name), "--help"], cwd="/", capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
