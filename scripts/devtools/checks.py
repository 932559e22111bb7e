"""What `make test` checks: style, types, architecture, then the tests.

With MEASURE_COVERAGE=1, which `.ci/run` sets, the tests' coverage is measured too, and too little
of it fails them. It takes half as long again, so who works on a change runs them without.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.devtools.say import say


@dataclass(frozen=True, slots=True)
class Step:
    """One check: what it is called and the command that does it."""

    title: str
    command: tuple[str, ...]


def steps(python: Path, *, tests: bool, pytest_arguments: Sequence[str]) -> list[Step]:
    """The checks to run, the quick ones first. Arguments for pytest leave the others out."""
    tool = str(python), "-m"
    if pytest_arguments:
        return [Step("tests", (*tool, "pytest", *pytest_arguments))]
    lint = [
        Step("style", (*tool, "ruff", "check", ".")),
        Step("types", (*tool, "mypy")),
        Step("imports", (str(python.with_name("lint-imports")),)),
        Step("security", (*tool, "bandit", "-q", "-ll", "-c", "pyproject.toml", "-r", ".")),
    ]
    if not tests:
        return lint
    # One worker more than a small machine has processors: many tests wait for a server or a clock.
    parallel = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
    coverage = ("--cov", "--cov-report=term") if os.environ.get("MEASURE_COVERAGE") == "1" else ()
    return [*lint, Step("tests", (*tool, "pytest", *parallel, *coverage))]


def check(root: Path, python: Path, *, tests: bool, pytest_arguments: Sequence[str] = ()) -> int:
    """Run every check, also after one that failed; 0 when all passed. The summary comes last."""
    results = []
    for number, step in enumerate(
        steps(python, tests=tests, pytest_arguments=pytest_arguments), start=1
    ):
        say(f"\n[{number}] {step.title}: {' '.join(step.command[1:])}")
        started = time.monotonic()
        status = subprocess.run(step.command, cwd=root, check=False).returncode
        results.append((step.title, status, time.monotonic() - started))
    say("")
    for title, status, seconds in results:
        say(f"  {'✓' if status == 0 else '✗'} {title} ({seconds:.0f} s)")
    return 0 if all(status == 0 for _, status, _ in results) else 1
