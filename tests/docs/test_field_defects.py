"""`docs/field-defects.md` names tests that exist, for every line; and those of the project itself.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import measure
from benchmarks.load import Sample
from tests.support.named_tests import NAMED, ROOT, missing_tests

PAGE = ROOT / "docs" / "field-defects.md"
NOT_BUILT = {32, 33, 34}

_LINE = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)


def lines() -> dict[int, str]:
    """What pins each defect, by its number."""
    found = _LINE.findall(PAGE.read_text(encoding="utf-8"))
    assert [int(number) for number, _, _ in found] == list(range(1, 41))
    return {int(number): pinned for number, _, pinned in found}


def test_every_named_test_exists() -> None:
    assert missing_tests("\n".join(lines().values())) == []


def test_every_line_has_a_test_or_says_that_the_thing_is_not_built() -> None:
    for number, pinned in lines().items():
        if number in NOT_BUILT:
            assert pinned.startswith("not built yet"), number
        else:
            assert NAMED.search(pinned), number


def test_defect_37_the_overhead_is_measured_against_a_bare_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The benchmark fails an order that costs more than twice what a mere forwarding route takes.
    """
    ours = {"broker", "services", "database", "blueprints", "utils", "app"}
    assert not ours & _imports(ROOT / "benchmarks" / "bare.py")
    for milliseconds, wanted in ((2.0, True), (10.0, False)):
        samples = Sample([0.001] * 100, 0.1), Sample([milliseconds / 1000] * 100, 0.1)
        monkeypatch.setattr(measure, "interleaved", lambda *_, found=samples: found)
        monkeypatch.setattr(measure, "bare_order", lambda stack: None)
        monkeypatch.setattr(measure, "gateway_order", lambda stack: None)
        stack: Any = None
        median, slow = measure.placing(stack, measure.QUICK)
        assert (median.passed, slow.passed) == (wanted, wanted)


def test_defect_40_few_packages_and_an_ordinary_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    locked = re.findall(
        r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert 20 < len(set(locked)) <= 65, f"{len(set(locked))} packages to run it"
    heavy = {"numpy", "pandas", "scipy", "eventlet", "gevent", "numba", "matplotlib"}
    assert not heavy & {name.lower() for name in locked}


def _imports(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found
