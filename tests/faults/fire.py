"""The runs of the proof: orders under fire, workers killed, one key from many threads."""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil

from benchmarks.servers import PROFILE, Served
from tests.faults import plan
from tests.faults.audit import Books, Report, compare
from tests.faults.clients import Clients, Outcome, Told, at_once
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
def shooting_range(folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[Range]:
    """The whole gateway under gunicorn, and a simulator, ready to trade."""
    with Served(folder, environ={**_ENVIRON, **(environ or {})}) as served:
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


def killed(
    range_: Range, *, orders: int, kills: int, seed: int, master_too: bool = False,
    patience: float = 25.0,
) -> Report:
    """The worker is killed at random moments while clients trade, and comes back."""
    simulator = range_.served.simulator
    wanted = wishes(simulator, orders, seed, f"kill{seed}")
    clients = range_.clients(threads=8)
    plan.light_fire(simulator, seed)
    work = threading.Thread(
        target=clients.send_all, args=(wanted,), kwargs={"attempts": 40, "work_on": True}
    )
    work.start()
    chance = random.Random(seed)
    done = 0
    while done < kills and work.is_alive():
        wait_for = _answered(clients) + chance.randint(2, 8)
        while work.is_alive() and _answered(clients) < wait_for:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.1)  # anywhere in the life of what is in flight
        if master_too and done % 10 == 9:
            _restart(range_.served)
        else:
            _kill_worker(range_.served)
        done += 1
    work.join()
    simulator.faults()
    settled = range_.books.settle(patience)
    report = compare(range_.books, clients, wanted)
    report.figures |= {
        "orders": orders, "kills": done, "settled_after": round(settled.seconds, 1),
        "told": settled.told,
    }
    return report


def _answered(clients: Clients) -> int:
    return sum(told.status != 0 for told in list(clients.told))


def _kill_worker(served: Served) -> None:
    for worker in served.gateway.workers():
        try:
            worker.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def _restart(served: Served) -> None:
    """Kill master and worker at once, and start anew on the same port."""
    workers = served.gateway.workers()
    os.kill(served.gateway.process.pid, signal.SIGKILL)
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=10)
    served.gateway.process.wait(10)
    served.restart()


@dataclass(frozen=True, slots=True)
class OneKey:
    """What many requests under one key came to; the replay's time in milliseconds."""

    told: list[Told]
    executed: int
    replay_median: float


def one_key(range_: Range, *, requests: int, replays: int = 50) -> OneKey:
    """So many requests at once with one idempotency key, then replays one after the other."""
    simulator = range_.served.simulator
    wish = replace(wishes(simulator, 2, 1, "one")[1], key="one-key", quantity=7)
    clients = range_.clients()
    limits = httpx.Limits(max_connections=requests)
    with httpx.Client(
        base_url=range_.served.url, timeout=60.0, limits=limits, trust_env=False
    ) as http:
        told = at_once(requests, lambda: clients.ask(http, wish))
        times = [_spent(clients.ask(http, wish)) for _ in range(replays)]
    taken = [item for item in simulator.orders(PROFILE) if item["quantity"] == wish.quantity]
    return OneKey(told, len(taken), statistics.median(times) * 1000)


def _spent(told: Told) -> float:
    assert told.outcome is Outcome.ACCEPTED, told
    return told.ended - told.began
