"""The sections of the proof, by name: each runs at the size asked for and gives lines."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import pacing_hosts, pacing_one_host
from tests.faults.audit import Report
from tests.faults.fire import Range, shooting_range, under_fire
from tests.faults.keys import Keyed, many_with_one_key
from tests.faults.kills import killed, killing_range, plan_kills, targets_of
from tests.faults.model import explore
from tests.faults.opened import left_open
from tests.faults.storage import (
    Drill,
    clock_set_back,
    database_gone,
    full_disk,
    read_only,
    redis_gone,
)
from tests.faults.swapping import shrunk, swapped
from tests.faults.table import Row, at_most, of_books, zero
from tests.support.databases import scratch_postgres_url
from tests.support.redis_server import redis_server

_ORDERS_A_ROUND = 500
_KILLS_A_ROUND = 25


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. Orders and kills are those of one kind of storage."""

    orders: int = 2_000
    kills: int = 50
    intents: int = 500
    requests: int = 200
    look_ups: int = 10_000
    examples: int = 60
    seconds: int = 60
    seed: int = 1


Rows = Iterator[Row]


@dataclass(frozen=True, slots=True)
class Section:
    """One table."""

    title: str
    rows: Callable[[Sizes], Rows]


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one gateway."""
    with tempfile.TemporaryDirectory(prefix="openalgo-faults-") as name:
        yield Path(name)


@contextmanager
def stored(kind: str) -> Iterator[Range]:
    """A gateway on SQLite, or on an empty database of the PostgreSQL server and its own Redis."""
    with ExitStack() as stack:
        environ = {}
        if kind == "postgres":
            environ["DATABASE_URL"] = stack.enter_context(scratch_postgres_url())
            environ["REDIS_URL"] = stack.enter_context(redis_server()).url
        yield stack.enter_context(shooting_range(stack.enter_context(folder()), environ))


def fire_on(kind: str, orders: int, seed: int) -> list[Report]:
    """So many orders in rounds, each with a gateway of its own: a session dies only so often."""
    reports = []
    for start in range(0, orders, _ORDERS_A_ROUND):
        with stored(kind) as range_:
            count = min(_ORDERS_A_ROUND, orders - start)
            reports.append(under_fire(range_, orders=count, seed=seed + start))
        print(reports[-1].figures, flush=True)
    return reports


def rows_of_fire(reports: list[Report]) -> Rows:
    """The lines of rounds under fire."""
    orders = sum(report.figures["orders"] for report in reports)
    faults: Counter[str] = sum(
        (Counter(report.figures["faults"]) for report in reports), Counter()
    )
    share = 100 * sum(faults.values()) / sum(
        report.figures["requests at the venue"] for report in reports
    )
    yield Row("orders; requests that met a fault", f"{orders}; {share:.0f} %", orders > 0)
    yield from of_books(*reports)
    closed = sum(
        report.figures["accepted_then_closed"] - report.figures["lost_while_away"]
        for report in reports
    )
    good = sum(report.figures["accepted_then_closed_told_as_success"] for report in reports)
    yield Row(
        "accepted, then closed: success in the request (≥ 95 %)", f"{good} of {closed}",
        good >= 0.95 * closed,
    )
    again = sum(report.figures["sent_by_asking_again"] for report in reports)
    yield Row("sent by asking again under the key", str(again), again == 0)


def _fire(kind: str) -> Callable[[Sizes], Rows]:
    def rows(sizes: Sizes) -> Rows:
        yield from rows_of_fire(fire_on(kind, sizes.orders, sizes.seed))

    return rows


def kill_on(kind: str, kills: int, seed: int) -> list[Report]:
    """So many kills in rounds."""
    reports = []
    for start in range(0, kills, _KILLS_A_ROUND):
        deck = plan_kills(min(_KILLS_A_ROUND, kills - start), seed + start, targets_of(kind))
        with folder() as path, killing_range(path, kind) as (range_, executioner):
            reports.append(killed(range_, executioner, deck, seed + start))
        print(reports[-1].figures, flush=True)
    return reports


def rows_of_kills(reports: list[Report]) -> Rows:
    """The lines of rounds of kills."""
    targets: Counter[str] = sum(
        (Counter(report.figures["targets"]) for report in reports), Counter()
    )
    orders = sum(report.figures["orders"] for report in reports)
    words = ", ".join(f"{count} × {name}" for name, count in sorted(targets.items()))
    yield Row(f"kills, under {orders} orders", words, bool(targets))
    yield from of_books(*reports)


def _kills(kind: str) -> Callable[[Sizes], Rows]:
    def rows(sizes: Sizes) -> Rows:
        yield from rows_of_kills(kill_on(kind, sizes.kills, sizes.seed))

    return rows


def opened(sizes: Sizes) -> Rows:
    """Intents that a crash left open, on both kinds of storage."""
    for kind in ("sqlite", "postgres"):
        with stored(kind) as range_:
            found = left_open(range_, sizes.intents)
        yield Row(f"{kind}: settled as they are", f"{found.right} of {found.of}",
                  found.right == found.of)
        yield at_most(f"{kind}: those in the book", found.there, 10.0)
        yield at_most(f"{kind}: those that never arrived", found.missing, 20.0)


def keys(sizes: Sizes) -> Rows:
    """Many requests under one key."""
    with stored("sqlite") as range_:
        found = many_with_one_key(range_, sizes.requests)
    for name, keyed, orders in (
        ("an order", found.single, 1), ("a basket of 3", found.basket, 3),
        ("a split in 4", found.split, 4),
    ):
        yield _keyed(f"{sizes.requests} requests for {name}", keyed, orders)
    yield Row("another body under the key", str(found.mismatch), found.mismatch == 422)


def _keyed(name: str, keyed: Keyed, orders: int) -> Row:
    statuses = ", ".join(f"{count} × {code}" for code, count in sorted(keyed.statuses.items()))
    good = (
        keyed.executed == orders and set(keyed.statuses) <= {200, 409} and len(keyed.answers) == 1
    )
    return Row(name, f"{keyed.executed} at the venue ({statuses})", good)


def swap(sizes: Sizes) -> Rows:
    """The master contract, swapped and shrunk."""
    for kind in ("sqlite", "postgres"):
        with folder() as path:
            found = swapped(kind, path, sizes.look_ups)
        yield zero(
            f"{kind}: misses and mixtures in {found.asked} look-ups over {found.swaps} swaps",
            found.wrong,
        )
    with stored("sqlite") as range_:
        told = shrunk(range_)
    yield Row("30 % fewer rows of an exchange: refused", str(told.refused), told.refused)
    yield Row("the old contract stayed in use", str(told.kept), told.kept)
    yield Row("taken when forced", str(told.forced), told.forced)


def pacing(sizes: Sizes) -> Rows:
    """Limits, locks and the end of one host."""
    yield from pacing_one_host.rows(sizes.seconds)


def two_hosts(sizes: Sizes) -> Rows:
    """Two hosts, the kill switch, and Redis gone and back."""
    yield from pacing_hosts.rows(sizes.seconds)


def storage(_: Sizes) -> Rows:
    """Storage that fails and comes back, and a clock that is set back."""
    drills: dict[str, Callable[[], Drill]] = {
        "full disk": full_disk, "read-only database": read_only, "database gone": database_gone,
        "Redis gone": redis_gone,
    }
    for name, drill in drills.items():
        try:
            found = drill()
        except PermissionError as error:
            yield Row(name, f"left out: {error}", True)
            continue
        yield from _drilled(name, found)
    shifted = clock_set_back()
    yield Row("clock set back by an hour: entries accepted", str(shifted.accepted),
              shifted.accepted > 0)
    yield at_most("clock set back: a lost order settled", shifted.settled, 25.0)
    yield zero("clock set back: the books disagree", shifted.report.wrong().items())


def _drilled(name: str, found: Drill) -> Rows:
    yield Row(f"{name}: entries refused, none at the venue", f"{found.reached_venue} there",
              found.refused and not found.reached_venue)
    yield Row(f"{name}: a cancel goes through", str(found.cancelled), found.cancelled)
    yield at_most(f"{name}: entries again after", found.recovered, 20.0)
    yield Row(f"{name}: the cancel is in the journal", str(found.cancel_in_journal),
              found.cancel_in_journal)
    yield zero(f"{name}: the books disagree", found.report.wrong().items())


def model(sizes: Sizes) -> Rows:
    """Steps that hypothesis deals, against the real services."""
    with folder() as path:
        explore(path, sizes.examples)
    yield Row("examples of up to 12 orders, changes, fills and faults", str(sizes.examples), True)


SECTIONS: dict[str, Section] = {
    "fire": Section("Orders at a fifth of faults, on SQLite", _fire("sqlite")),
    "fire-postgres": Section(
        "Orders at a fifth of faults, on PostgreSQL and Redis", _fire("postgres")
    ),
    "kills": Section("kill -9 at named points, on SQLite", _kills("sqlite")),
    "kills-postgres": Section(
        "kill -9 at named points, on PostgreSQL and Redis", _kills("postgres")
    ),
    "opened": Section("Intents that a crash left open", opened),
    "keys": Section("One idempotency key", keys),
    "storage": Section("Storage fails and comes back; the clock is set back", storage),
    "model": Section("A model of orders, cancels, modifications, fills and faults", model),
    "swap": Section("The master contract swaps under look-ups", swap),
    "pacing": Section("Three times the allowance, on one host with four workers", pacing),
    "hosts": Section("Three times the allowance, on two hosts with one Redis", two_hosts),
}
