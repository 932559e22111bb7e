"""One host, four workers, no server: limits under load, a reload in the middle, and the end.

    make faults ARGS="--only pacing"
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
from tests.faults.pacing_load import READS, Client, Figures, Load, Seen, measure, smart_fields
from tests.faults.table import Row, at_most
from tests.faults.wishes import wishes
from tests.support.waiting import wait_until

WORKERS = 4
GRACE = 15.0
"""Seconds that gunicorn grants what is in flight (`graceful_timeout`)."""

SMART, TARGET = "INFY", 40
"""The symbol that smart orders bring to this position, again and again, from many threads."""



@contextmanager
def gateway(folder: Path, workers: int = WORKERS) -> Iterator[Served]:
    """Workers on SQLite; locks and counts lie in files."""
    environ = {
        "WEB_CONCURRENCY": str(workers), "JAINAM_RATE_LIMIT": "25", "WISDOM_ENABLED": "false",
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


def crowded(served: Served, seconds: float) -> Figures:
    """Sixty-four clients of one worker with 32 threads; each comes back as `Retry-After` says."""
    load = Load(served.simulator, [served.url])
    load.orders(served.key, 64, 64.0)
    load.cancels(served.new_key("boss", "trade"), 5.0)
    return measure(served.simulator, load, seconds)


def smart_order(served: Served) -> Seen:
    """Bring the position to its target once more."""
    client = Client(served.url, served.key)
    seen, _ = client.call("placesmartorder", smart_fields(SMART, TARGET), "smart")
    client.close()
    return seen


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
    asked = sum(figures.requests.get(route, 0) > 0 for route, _ in READS.values())
    yield Row(
        "orders, and kinds of reads, at the venue",
        f"{figures.requests.get('POST /orders', 0)}, {asked}", asked >= len(READS) - 1,
    )
    yield no_breach("breaches of any limit, by the venue's clock", figures)
    yield Row("order allowance used (≥ 95 %)", f"{figures.used:.1%}", figures.used >= 0.95)
    waited = figures.percentile("cancel", 0.99, queued=True) * 1000
    yield at_most("a cancel waits for its turn while entries queue, p99", waited, 200.0, "ms")
    spent = figures.percentile("cancel", 0.99) * 1000
    yield at_most("… and is answered, clients on the same cores, p99", spent, 500.0, "ms")
    errors = sum(one.status >= 500 and one.status != 503 for one in figures.seen)
    yield Row("answers with a 5xx", str(errors), errors == 0)


def no_breach(name: str, figures: Figures) -> Row:
    """A line for what exceeded a limit."""
    breaches = {kind: len(found) for kind, found in figures.breaches.items() if found}
    return Row(name, str(breaches or 0), not breaches)


def rows(seconds: float = 60.0) -> Iterator[Row]:
    """The long version, for `make faults`."""
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder)) as served:
        figures = under_load(served, seconds)
        yield from rows_of(figures)
        refused = figures.statuses("quiet").get(429, 0)
        yield Row("the quiet key's orders refused for another's flood", str(refused), refused == 0)
        quiet, flood = (figures.percentile(what, 0.5) * 1000 for what in ("quiet", "order"))
        yield Row(
            "an order of the quiet key, of the flood, median", f"{quiet:.0f} ms, {flood:.0f} ms",
            quiet < flood,
        )
        figures = under_load(served, 15.0, reload_after=4.0)
        yield no_breach("breaches while two generations of workers live", figures)
        net = position(served)
        yield Row("position, after smart orders to 40", str(net), net == TARGET)
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder), 1) as served:
        figures = crowded(served, 15.0)
        spent = figures.percentile("cancel", 0.99) * 1000
        yield at_most("64 clients on one worker: a cancel, p99", spent, 200.0, "ms")
        end = ended(served)
        yield at_most("seconds until it has ended, as told", end.seconds, GRACE)
        kept = sum(one.status == 200 for one in end.told)
        yield Row("orders in flight that were answered", f"{kept} of {len(end.told)}", (
            kept == len(end.told) and end.unsettled == 0
        ))
