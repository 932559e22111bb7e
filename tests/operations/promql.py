"""What PromQL expressions name, and whether Prometheus can read them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from utils.config import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
OF_PROMETHEUS = {"up", "ALERTS", "ALERTS_FOR_STATE"}

_KEYWORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless",
             "bool", "offset", "inf", "nan"}  # fmt: skip
_LISTS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_DASHBOARD_VARIABLE = re.compile(r"\$__(rate_interval|interval|range)|\$\{?[a-z_]+\}?")


def tool(name: str) -> str:
    """The path of a program; a clear failure where it is missing."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


def run(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it says."""
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **options
    )


def rules() -> list[dict[str, Any]]:
    """Every rule, of all files."""
    found = []
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found += group["rules"]
    return found


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in an expression: neither functions nor labels nor keywords."""
    text = re.sub(r"\{[^}]*\}", "", re.sub(r'"[^"]*"', "", expression))
    text = _DASHBOARD_VARIABLE.sub("5m", _LISTS.sub("", text))
    text = re.sub(r"\[[^\]]*\]", "", text)
    return {
        match[0]
        for match in _NAME.finditer(text)
        if match[0] not in _KEYWORDS
        and not text[match.end():].lstrip().startswith("(")
        and not text[: match.start()].endswith(tuple("0123456789"))
    }


def check_expressions(expressions: Iterable[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Have promtool read expressions, as the rules of a file."""
    known = [
        {"record": f"checked:expression:{number}", "expr": _DASHBOARD_VARIABLE.sub("5m", text)}
        for number, text in enumerate(expressions)
    ]
    path = folder / "expressions.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": known}]}), "utf-8")
    return run(tool("promtool"), "check", "rules", path)
