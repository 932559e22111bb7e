"""The project's documents as tests need them: fenced blocks, sections, quoted symptoms, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT_GUIDE = ROOT / "docs" / "bmad" / "deployment-guide.md"

_HEADING = re.compile(r"^(#{1,6}) (.+?)\s*$")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the word after the fence, the line it begins at, its text."""

    language: str
    line: int
    text: str


@cache
def blocks(path: Path) -> tuple[Block, ...]:
    """The fenced blocks of a document, in order."""
    found: list[Block] = []
    lines: list[str] = []
    language, begin = "", 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fence = line.strip()
        if begin and fence == "```":
            found.append(Block(language, begin, "\n".join(lines) + "\n"))
            begin = 0
        elif begin:
            lines.append(line)
        elif fence.startswith("```"):
            language, begin, lines = fence[3:].strip(), number + 1, []
    assert not begin, f"{path.name}: the fence at line {begin - 1} is never closed"
    return tuple(found)


def without_blocks(path: Path) -> list[str]:
    """The lines of a document that are not inside a fenced block."""
    kept, inside = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("```"):
            inside = not inside
        elif not inside:
            kept.append(line)
    return kept


def headings(path: Path) -> list[str]:
    """The headings of a document, without their marks."""
    return [found[2] for line in without_blocks(path) if (found := _HEADING.match(line))]


def anchor(heading: str) -> str:
    """What a link to this heading says after `#`, as GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


def section(path: Path, heading: str) -> str:
    """The text under a heading, up to the next one of the same or a higher level."""
    level, kept = 0, []
    for line in path.read_text(encoding="utf-8").splitlines():
        found = _HEADING.match(line)
        if found and level and len(found[1]) <= level:
            break
        if found and found[2] == heading:
            level = len(found[1])
        elif level:
            kept.append(line)
    assert level, f"{path.name} has no section {heading!r}"
    return "\n".join(kept)


def symptoms(heading: str) -> list[str]:
    """The messages that a section of the troubleshooting guide quotes as its symptom.

    A quotation that begins or ends with … stands for the part that it gives.
    """
    text = " ".join(section(DEPLOYMENT_GUIDE, heading).split())
    symptom = text.split("**Symptom**", 1)[1].split("**Cause**", 1)[0]
    return [quoted.strip("… ") for quoted in re.findall(r'"([^"]+)"', symptom)]


def links(path: Path) -> list[str]:
    """The targets of a document's links that lead into the repository."""
    found = [target for line in without_blocks(path) for target in _LINK.findall(line)]
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]
