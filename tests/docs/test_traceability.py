"""`docs/traceability.md` and the story name files and tests that exist, for every line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.named_tests import NAMED, ROOT, missing_tests

PAGE = ROOT / "docs" / "traceability.md"
STORY = ROOT / "docs" / "bmad" / "stories" / "1.11.md"

_ROW = re.compile(r"^\| (\d)\.(\d+) \| (.+?) \| (.+) \| (.+) \|$", re.MULTILINE)
_PATH = re.compile(r"`([\w./-]+)`")


def rows() -> list[tuple[str, str, str, str]]:
    """Number, requirement, what fulfils it, what shows it."""
    text = PAGE.read_text(encoding="utf-8")
    found = [(f"{a}.{b}", *rest) for a, b, *rest in _ROW.findall(text)]
    table_lines = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    assert len(found) == len(table_lines)
    return found  # the regular expression has five groups


def _is_path(word: str) -> bool:
    return "/" in word or word in {path.name for path in ROOT.iterdir()}


def test_every_seed_has_its_rows() -> None:
    seeds = {number.partition(".")[0] for number, *_ in rows()}
    assert seeds == set("01234")


@pytest.mark.parametrize("page", [PAGE, STORY], ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    assert missing_tests(page.read_text(encoding="utf-8")) == []


def test_every_file_that_is_named_exists() -> None:
    missing = [
        f"{number}: {word}"
        for number, _, by, _ in rows()
        for word in _PATH.findall(by)
        if _is_path(word) and not (ROOT / word).exists()
    ]
    assert missing == []


def test_every_line_is_fulfilled_and_shown_or_declined_with_a_reason() -> None:
    for number, requirement, by, shown in rows():
        if by.startswith("declined: "):
            assert len(by) > len("declined: ") + 20, (number, requirement)
        else:
            assert _PATH.search(by), (number, requirement)
            assert NAMED.search(shown), (number, requirement)


def test_the_story_names_what_exists() -> None:
    text = STORY.read_text(encoding="utf-8")
    missing = [
        word
        for word in re.findall(r"`((?:docs|scripts|deploy|tests|\.github|\.ci)/[\w./-]*)`", text)
        if not (ROOT / word).exists()
    ]
    assert missing == []
    assert "- [ ]" not in text
    assert text.count("- [x]") >= 30
