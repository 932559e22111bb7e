"""The long proof: `python -m tests.faults` (or `make faults`). Prints a table; 0 when all held.

    --only fire,kills      these sections alone
    --orders 500           less of something (see `Sizes`)
    --write                put the figures into docs/reliability.md
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time

from tests.faults.sections import SECTIONS, Sizes
from tests.faults.table import show, write


def main(argv: list[str] | None = None) -> int:
    """Run the sections that were asked for, one after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default=",".join(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--write", action="store_true")
    for field in dataclasses.fields(Sizes):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=int, default=field.default)
    chosen = parser.parse_args(argv)
    names = [name.strip() for name in chosen.only.split(",")]
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {', '.join(unknown)}: take of {', '.join(SECTIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    sizes = Sizes(**{field.name: getattr(chosen, field.name)
                     for field in dataclasses.fields(Sizes)})
    broken = []
    for name in names:
        began = time.monotonic()
        section = SECTIONS[name]
        rows = show(section.title, section.rows(sizes))
        print(f"  ({name}: {time.monotonic() - began:.0f} s)", flush=True)
        broken += [f"{name}: {row.name}" for row in rows if not row.held]
        if chosen.write:
            write(name, section.title, rows)
    print(f"\n{'Broken: ' + '; '.join(broken) if broken else 'All held.'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
