"""The table of the proof: on the terminal, and between the markers of docs/reliability.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.audit import Report

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"

_ZEROS = {
    "twice": "executed twice", "not_there": "told as accepted, and not there",
    "wrongly_failed": "told as failed, and there", "contradictions": "told both",
    "never_settled": "never settled", "lost_in_silence": "dropped by the venue without an alarm",
    "not_in_journal": "sent without a journal", "server_errors": "answered with a 500",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was looked at, what was found, and whether it is as it must be."""

    name: str
    found: str
    held: bool


def zero(name: str, found: Iterable[object]) -> Row:
    """A line for what must not be; the first finds are printed."""
    listed = list(found)
    for line in listed[:5]:
        print("   ", line, flush=True)
    return Row(name, str(len(listed)), not listed)


def at_most(name: str, seconds: float, limit: float, unit: str = "s") -> Row:
    """A line for a figure that has a limit."""
    return Row(f"{name} (≤ {limit:g} {unit})", f"{seconds:.1f} {unit}", seconds <= limit)


def of_books(*reports: Report) -> Iterator[Row]:
    """What the comparison of the three books found in all rounds together."""
    for name, title in _ZEROS.items():
        yield zero(title, [line for report in reports for line in getattr(report, name)])
    longest = max(report.figures["settled_after"] for report in reports)
    told = all(report.figures["told"] for report in reports)
    yield Row("all settled, or an alarm; the last after", f"{longest} s", told)


def show(title: str, rows: Iterable[Row]) -> list[Row]:
    """Print the lines as they come."""
    shown = []
    print(f"\n{title}", flush=True)
    for row in rows:
        print(f"  {'✓' if row.held else '✗'} {row.name:<56} {row.found}", flush=True)
        shown.append(row)
    return shown


def write(name: str, title: str, rows: Iterable[Row], document: Path = DOCUMENT) -> None:
    """Put a section's lines between its markers, which must stand in the document."""
    begin, end = f"<!-- faults: {name} -->", f"<!-- end of faults: {name} -->"
    text = document.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{document} has no place for the section '{name}'")
    lines = [f"| {title} | | |", "|---|---|---|"]
    lines += [
        f"| {row.name} | {row.found} | {'held' if row.held else '**broken**'} |" for row in rows
    ]
    table = "\n".join(lines)
    document.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
