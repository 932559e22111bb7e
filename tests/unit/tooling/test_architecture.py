"""The import rules of pyproject.toml are loud when they are broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from utils.config import ROOT

_PACKAGES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "tool"
]["importlinter"]["root_packages"]


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
    for package in _PACKAGES:
        (tmp_path / package).mkdir()
        source = f"{text}\n" if package == name else ""
        (tmp_path / package / "__init__.py").write_text(source, encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert len(broken) == 1
    assert contract in broken[0]
