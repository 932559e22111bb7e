"""The import rules: kept where packages exist, silent about those that do not, loud when broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts.architecture import present_contracts, to_toml
from utils.config import ROOT


def config() -> dict[str, object]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, object] = pyproject["tool"]["importlinter"]
    return found


def package(root: Path, name: str, text: str = "") -> None:
    (root / name).mkdir()
    (root / name / "__init__.py").write_text(text, encoding="utf-8")


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    (root / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/architecture.py", root / "scripts")
    shutil.copy(ROOT / "pyproject.toml", root)
    command = [sys.executable, "scripts/architecture.py"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_missing_packages_are_left_out(tmp_path: Path) -> None:
    package(tmp_path, "broker")
    package(tmp_path, "utils")
    reduced = present_contracts(config(), tmp_path)
    assert reduced["root_packages"] == ["broker", "utils"]
    sources = {name for contract in reduced["contracts"] for name in contract["source_modules"]}
    assert sources == {"broker", "utils"}
    library = reduced["contracts"][0]
    assert library["forbidden_modules"][0] == "utils"
    assert "flask" in library["forbidden_modules"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    package(tmp_path, "broker")
    package(tmp_path, "services")
    reduced = present_contracts(config(), tmp_path)
    assert tomllib.loads(to_toml(reduced)) == {"tool": {"importlinter": reduced}}


def test_an_empty_project_breaks_no_rule(tmp_path: Path) -> None:
    assert lint(tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "contract"),
    [
        ("broker", "import utils", "broker is a library"),
        ("broker", "import flask", "broker is a library"),
        ("simulator", "import broker", "the simulator shares nothing"),
        ("services", "import flask", "services are free of HTTP"),
        ("services", "import httpx", "httpx is imported by broker.transport alone"),
        ("blueprints", "import database", "blueprints are only HTTP"),
        ("database", "import services", "database imports utils and the models"),
        ("utils", "import services", "utils imports nothing of ours"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, name: str, text: str, contract: str) -> None:
    for each in ("broker", "database", "services", "blueprints", "simulator", "utils"):
        package(tmp_path, each, f"{text}\n" if each == name else "")
    done = lint(tmp_path)
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert len(broken) == 1
    assert contract in broken[0]
