"""The figures, held against their targets: a table on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN = "<!-- figures: made by `make bench` -->"
END = "<!-- end of figures -->"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: what was measured, how, and the target. `passed` None: there is no target."""

    name: str
    measured: str
    target: str = ""
    passed: bool | None = None


def at_most(name: str, value: float, limit: float, unit: str, *, note: str = "") -> Figure:
    """A figure that should not exceed `limit`."""
    shown = f"{value:.2f} {unit}" + (f" ({note})" if note else "")
    return Figure(name, shown, f"≤ {limit:g} {unit}", value <= limit)


def at_least(name: str, value: float, limit: float, unit: str, *, note: str = "") -> Figure:
    """A figure that should reach `limit`."""
    shown = f"{value:.2f} {unit}" + (f" ({note})" if note else "")
    return Figure(name, shown, f"≥ {limit:g} {unit}", value >= limit)


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    words = {True: "reached", False: "**missed**", None: ""}
    lines = ["| Figure | Measured | Target | |", "|---|---|---|---|"]
    lines += [
        f"| {figure.name} | {figure.measured} | {figure.target} | {words[figure.passed]} |"
        for figure in figures
    ]
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Put `text` between the markers of the document; both must stand in it."""
    document = path.read_text(encoding="utf-8")
    before, found, rest = document.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{path} has no place for the figures")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
