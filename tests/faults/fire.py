"""Orders under fire: a fifth of the requests meets a fault, and for a while the broker is away."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.servers import Served
from tests.faults import plan
from tests.faults.audit import Books, Report, compare
from tests.faults.clients import Clients, Outcome, Told
from tests.faults.wishes import Manner, wishes

API_TIMEOUT = 6.0
_ENVIRON = {
    "JAINAM_RATE_LIMIT": "25", "JAINAM_API_TIMEOUT": str(API_TIMEOUT), "ORDER_QUEUE_WAIT": "3",
    "WISDOM_ENABLED": "false",
}


_PROBES = 2
"""How often the gateway finds the broker still away before it comes back."""


@dataclass
class Range:
    """A served gateway to shoot at."""

    served: Served
    books: Books

    def clients(self, threads: int = 12) -> Clients:
        """New clients with the administrator's key."""
        return Clients(self.served.url, self.served.key, threads)


@contextmanager
def shooting_range(
    folder: Path, environ: Mapping[str, str] | None = None, *, wsgi: str = ""
) -> Iterator[Range]:
    """The whole gateway under gunicorn, and a simulator, ready to trade. `wsgi`: another entry."""
    with Served(folder, environ={**_ENVIRON, **(environ or {})}, wsgi=wsgi) as served:
        books = Books(served)
        try:
            yield Range(served, books)
        finally:
            books.close()


def under_fire(
    range_: Range, *, orders: int, seed: int, away: int = 12, patience: float = 15.0
) -> Report:
    """Orders at a fifth of faults, and some (`away`) while the broker is away altogether; then it
    is well again, and all must be settled in time.
    """
    simulator = range_.served.simulator
    wanted = wishes(simulator, orders + away, seed, f"fire{seed}")
    clients = range_.clients()
    simulator.faults(*plan.rules(seed, 2 * orders), seed=seed)
    began = time.monotonic()
    clients.send_all(wanted[:orders])
    spent = time.monotonic() - began
    since = time.monotonic_ns()
    if away:
        plan.broker_away(simulator)
        clients.send_all([replace(wish, manner=Manner.KEYLESS) for wish in wanted[orders:]])
        _wait_for_probes(range_, len(simulator.control("faults")["applied"]))
    left = range_.books.unsettled()
    simulator.faults()
    settled = range_.books.settle(patience)
    sent = len(range_.books.truth())
    _ask_again(clients, [items[-1] for items in clients.by_wish().values()])
    report = compare(range_.books, clients, wanted)
    report.figures |= {
        "orders": len(wanted), "seconds": round(spent, 1),
        "lost_while_away": sum(
            item["fault"] == "accept_then_close" and item["received_at"] >= since
            for item in range_.books.truth()
        ),
        "open_at_return": left, "settled_after": round(settled.seconds, 1), "told": settled.told,
        "sent_by_asking_again": len(range_.books.truth()) - sent,
    }
    return report


def _wait_for_probes(range_: Range, before: int) -> None:
    """Let the circuit open and fail a probe or two, as a longer outage does."""
    end = time.monotonic() + 30.0
    while len(range_.served.simulator.control("faults")["applied"]) < before + _PROBES:
        assert time.monotonic() < end, "nobody looks whether the broker is back"
        time.sleep(0.1)


def _ask_again(clients: Clients, last: list[Told]) -> None:
    """Whoever was told "unknown" last asks once more, when everything is settled."""
    again = [
        replace(told.wish, manner=Manner.KEYLESS) for told in last
        if told.wish.key is not None and told.outcome in (Outcome.UNKNOWN, Outcome.ACCEPTED)
    ]
    clients.send_all(again)
