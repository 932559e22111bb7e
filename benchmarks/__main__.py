"""`python -m benchmarks`: start everything, measure in interleaved rounds, print the table.

`--write` also puts it into docs/benchmarks.md; `--quick` takes few rounds and a small contract, to
see that the benchmarks work. The exit status is 1 when a target was missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import measure, parts, safety
from benchmarks.report import Figure, table, write
from benchmarks.servers import ROOT, Stack

# Each on a gateway and a day of its own: what comes later in a day has longer books to read.
_DAYS = (
    (
        measure.master_contract,
        measure.memory_at_rest,
        measure.look_up,
        measure.search,
        measure.position_book,
        measure.order_book,
        measure.placing,
        measure.throughput,
        safety.journal_and_pacing,
        safety.replay,
        parts.slot,
        parts.key_check,
        parts.open_circuit,
    ),
    (measure.placing_while_loading,),
)


def main(argv: list[str] | None = None) -> int:
    """Measure; 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--quick", action="store_true", help="few rounds, a small contract")
    arguments = parser.parse_args(argv)
    effort = measure.QUICK if arguments.quick else measure.FULL
    figures: list[Figure] = []
    for figures_of_day in _DAYS:
        with (
            tempfile.TemporaryDirectory(prefix="openalgo-bench-") as folder,
            Stack(Path(folder), master=effort.master) as stack,
        ):
            for measured in figures_of_day:
                for figure in measured(stack, effort):
                    print(f"{figure.name}: {figure.measured}  {figure.target}", flush=True)
                    figures.append(figure)
    text = f"{_machine()}\n\n{table(figures)}"
    print(f"\n{text}")
    if arguments.write:
        write(ROOT / "docs" / "benchmarks.md", text)
    return 1 if any(figure.passed is False for figure in figures) else 0


def _machine() -> str:
    import os

    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = os.getloadavg()[0]
    return (
        f"Measured {now} on {os.cpu_count()} processors ({platform.machine()}), Python "
        f"{platform.python_version()}, load before the end {load:.1f}."
    )


if __name__ == "__main__":
    sys.exit(main())
