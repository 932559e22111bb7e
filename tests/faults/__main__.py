"""The long proof: `python -m tests.faults` (or `make faults`). Prints a table; 0 when all held.

    --orders 2000 --kills 100 --seed 1 --database URL (an empty PostgreSQL database; SQLite else)
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults.audit import Report
from tests.faults.clients import Outcome
from tests.faults.fire import OneKey, killed, one_key, shooting_range, under_fire

_ORDERS_A_ROUND = 500
_KILLS_A_ROUND = 50
_PER_KILL = 12

Row = tuple[str, str, bool]


def rows_of_fire(report: Report) -> Iterator[Row]:
    """The lines of one round under fire."""
    figures = report.figures
    yield from _zeros(report)
    closed = figures["accepted_then_closed"] - figures["lost_while_away"]
    good = figures["accepted_then_closed_told_as_success"]
    yield "accepted, then closed: success in the request", f"{good} of {closed}", (
        good >= 0.95 * closed
    )
    yield from _settled(report)
    yield "sent by asking again", str(figures["sent_by_asking_again"]), (
        figures["sent_by_asking_again"] == 0
    )


def rows_of_kills(report: Report) -> Iterator[Row]:
    """The lines of one round of kills."""
    yield "kills", str(report.figures["kills"]), report.figures["kills"] > 0
    yield from _zeros(report)
    yield from _settled(report)


def rows_of_key(shared: OneKey) -> Iterator[Row]:
    """The lines of the many requests with one key."""
    outcomes = {told.outcome for told in shared.told}
    yield f"{len(shared.told)} requests with one key: orders", str(shared.executed), (
        shared.executed == 1 and outcomes <= {Outcome.ACCEPTED, Outcome.IN_FLIGHT}
    )
    yield "a replay, median", f"{shared.replay_median:.1f} ms", shared.replay_median <= 5.0


def _zeros(report: Report) -> Iterator[Row]:
    names = {
        "twice": "executed twice", "not_there": "told as accepted, and not there",
        "wrongly_failed": "told as failed, and there", "contradictions": "told both",
        "never_settled": "never settled", "lost_in_silence": "dropped without an alarm",
        "not_in_journal": "sent without a journal", "server_errors": "answered with a 500",
    }
    for name, title in names.items():
        found = getattr(report, name)
        yield title, str(len(found)), not found
        for line in found[:5]:
            print("   ", line)


def _settled(report: Report) -> Iterator[Row]:
    open_at_return = report.figures.get("open_at_return")
    of = "" if open_at_return is None else f", {open_at_return} were open"
    yield "all settled after", f"{report.figures['settled_after']} s{of}", report.figures["told"]


def _show(title: str, rows: Iterator[Row]) -> bool:
    held = True
    print(f"\n{title}")
    for name, value, good in rows:
        print(f"  {'✓' if good else '✗'} {name:<48} {value}", flush=True)
        held &= good
    return held


def main(argv: list[str] | None = None) -> int:
    """Run every round; each has a fresh gateway, because sessions may die three times only."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--orders", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", default="")
    chosen = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    environ = {"DATABASE_URL": chosen.database} if chosen.database else {}
    held = True
    for start in range(0, chosen.orders, _ORDERS_A_ROUND):
        count = min(_ORDERS_A_ROUND, chosen.orders - start)
        seed = chosen.seed + start
        with tempfile.TemporaryDirectory() as folder, shooting_range(
            Path(folder), environ
        ) as range_:
            report = under_fire(range_, orders=count, seed=seed)
        print(f"\n{report.figures}")
        held &= _show(f"{count} orders under fire, seed {seed}", rows_of_fire(report))
        if chosen.database:
            break  # a second gateway would find the first one's users
    for start in range(0, chosen.kills if not chosen.database else 0, _KILLS_A_ROUND):
        kills = min(_KILLS_A_ROUND, chosen.kills - start)
        with tempfile.TemporaryDirectory() as folder, shooting_range(Path(folder)) as range_:
            shared = one_key(range_, requests=200)
            report = killed(
                range_, orders=kills * _PER_KILL, kills=kills, seed=chosen.seed + start,
                master_too=True,
            )
        print(f"\n{report.figures}")
        held &= _show("one key", rows_of_key(shared))
        held &= _show(f"killed, seed {chosen.seed + start}", rows_of_kills(report))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
