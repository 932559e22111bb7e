"""What a probe found: lines with a verdict, and an exit status."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]
_MARKS = {"ok": " ok ", "warn": "warn", "fail": "FAIL"}


@dataclass
class Report:
    """Findings in the order they were made."""

    lines: list[tuple[Verdict, str]] = field(default_factory=list)

    def add(self, verdict: Verdict, text: str) -> None:
        """One finding, shown at once."""
        self.lines.append((verdict, text))
        stream = sys.stderr if verdict == "fail" else sys.stdout
        print(f"[{_MARKS[verdict]}] {text}", file=stream, flush=True)

    def check(self, good: bool, text: str, otherwise: str = "", *, warn: bool = False) -> bool:
        """A finding that is good or not; what it is depends on `warn` where it is not."""
        if good:
            self.add("ok", text)
        else:
            self.add("warn" if warn else "fail", otherwise or text)
        return good

    @property
    def failures(self) -> list[str]:
        """What is wrong."""
        return [text for verdict, text in self.lines if verdict == "fail"]

    def status(self) -> int:
        """0 when nothing failed, else 1, after one line that sums it up."""
        count = len(self.failures)
        warnings = sum(verdict == "warn" for verdict, _ in self.lines)
        print(f"{len(self.lines)} checks, {count} failed, {warnings} warnings.")
        return 1 if count else 0
