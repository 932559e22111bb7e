"""One host, four workers, no server: limits under load, a reload in the middle, and the end.

    python -c "from tests.faults.pacing_one_host import rows; print(*rows(), sep='\\n')"
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import PROFILE, Served
from tests.faults.audit import Books
from tests.faults.pacing_load import READS, Client, Figures, Load, Seen, measure
from tests.faults.wishes import wishes
from tests.support.waiting import wait_until

WORKERS = 4
GRACE = 15.0
"""Seconds that gunicorn grants what is in flight (`graceful_timeout`)."""

SMART, TARGET = "INFY", 40
"""The symbol that smart orders bring to this position, again and again, from many threads."""

Row = tuple[str, str, bool]


@contextmanager
def gateway(folder: Path) -> Iterator[Served]:
    """Four workers on SQLite; locks and counts lie in files."""
    environ = {
        "WEB_CONCURRENCY": str(WORKERS), "JAINAM_RATE_LIMIT": "25", "WISDOM_ENABLED": "false",
    }
    with Served(folder, environ=environ) as served:
        yield served


@dataclass(frozen=True, slots=True)
class Ending:
    """How a gateway ended that was told to with orders in flight."""

    seconds: float
    told: list[Seen]
    unsettled: int
    at_venue: int
    in_journal: int
    late: int


def under_load(served: Served, seconds: float, *, reload_after: float | None = None) -> Figures:
    """Sixteen clients of five connections want 75 orders a second, and everything else that is
    metered. With `reload_after` the workers are replaced meanwhile, and the old ones finish.
    """
    quiet = served.new_key("boss", "trade")
    load = Load(served.simulator, [served.url])
    load.orders(served.key, 76, 71.0)
    load.orders(quiet, 4, 4.0, "quiet")
    load.reads(served.key)
    load.cancels(quiet, 5.0)
    load.smart(quiet, 3, SMART, TARGET)
    if reload_after is not None:
        timer = threading.Timer(
            reload_after, os.kill, (served.gateway.process.pid, signal.SIGHUP)
        )
        timer.start()
    return measure(served.simulator, load, seconds)


def position(served: Served) -> int:
    """The net quantity of the smart orders' symbol, by the simulator's own books."""
    records = served.simulator.orders(PROFILE)
    return sum(
        record["filled"] * (1 if record["side"] == "BUY" else -1)
        for record in records if record["product"] == "MIS" and record["order_type"] == "MARKET"
    )


def ended(served: Served, orders: int = 8, slow: float = 2.5) -> Ending:
    """Tell the gateway to end while orders are at a slow venue."""
    simulator = served.simulator
    before = len(simulator.orders(PROFILE))
    simulator.faults({"route": "POST /orders", "fault": "slow", "seconds": slow})
    bodies = [wish.body("") for wish in wishes(simulator, 2 * orders, 7, "end") if wish.price]
    told: list[Seen] = []

    def ask(body: dict[str, object]) -> None:
        client = Client(served.url, served.key)
        fields = {name: value for name, value in body.items() if name != "apikey"}
        told.append(client.call("placeorder", fields, "order")[0])
        client.close()

    threads = [threading.Thread(target=ask, args=(body,)) for body in bodies[:orders]]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(simulator.orders(PROFILE)) - before == orders, 60.0)
    began = time.monotonic()
    served.gateway.process.terminate()
    late = 0
    while served.gateway.process.poll() is None and time.monotonic() - began < 2 * GRACE:
        client = Client(served.url, served.key)
        late += client.call("orderstatus", {"orderid": "1", "strategy": "x"}, "late")[0].status == 0
        client.close()
        time.sleep(0.1)
    served.gateway.process.wait(GRACE)
    seconds = time.monotonic() - began
    for thread in threads:
        thread.join(60)
    simulator.faults()
    books = Books(served)
    try:
        return Ending(
            seconds, told, books.unsettled(), len(simulator.orders(PROFILE)),
            len(books.journal()), late,
        )
    finally:
        books.close()


def rows_of(figures: Figures) -> Iterator[Row]:
    """What a run under load is held to."""
    breaches = {kind: len(found) for kind, found in figures.breaches.items() if found}
    yield "breaches of any limit, by the venue's clock", str(breaches or 0), not breaches
    yield "order allowance used", f"{figures.used:.1%}", figures.used >= 0.95
    for share, limit in ((0.5, None), (0.99, 0.2)):
        spent = figures.percentile("cancel", share)
        name = f"a cancel while entries queue, {'median' if share == 0.5 else 'p99'}"
        yield name, f"{spent * 1000:.0f} ms", limit is None or spent <= limit
    quiet, flood = (figures.percentile(what, 0.5) for what in ("quiet", "order"))
    refused = figures.statuses("quiet").get(429, 0)
    yield "the quiet key's orders refused for the flood of another", str(refused), refused == 0
    yield "median order of the quiet key, of the flood", (
        f"{quiet * 1000:.0f} ms, {flood * 1000:.0f} ms"
    ), quiet <= flood
    errors = sum(one.status >= 500 and one.status != 503 for one in figures.seen)
    yield "answers with a 5xx", str(errors), errors == 0
    asked = [name for name, (route, _) in READS.items() if not figures.requests.get(route)]
    yield "reads that reached the venue", f"{len(READS) - len(asked)} of {len(READS)}", True


def rows(seconds: float = 60.0) -> Iterator[Row]:
    """The long version, for `make faults`."""
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder)) as served:
        figures = under_load(served, seconds)
        yield from rows_of(figures)
        wait_until(lambda: len(served.gateway.workers()) == WORKERS, 30.0)
        figures = under_load(served, 15.0, reload_after=4.0)
        breaches = {kind: len(found) for kind, found in figures.breaches.items() if found}
        yield "breaches while two generations of workers live", str(breaches or 0), not breaches
        net = position(served)
        yield "smart orders of many threads: position, target", f"{net}, {TARGET}", net == TARGET
        end = ended(served)
        yield "told to end: seconds until it has", f"{end.seconds:.1f}", end.seconds <= GRACE + 2
        kept = sum(one.status == 200 for one in end.told)
        yield "orders in flight that were answered", f"{kept} of {len(end.told)}", (
            kept == len(end.told) and end.unsettled == 0
        )
