"""The soak: minutes under load with rolling restarts; `make soak`.

Clients with kept-alive connections trade and read without a pause while the gateway's workers are
replaced (SIGHUP) and now and then the whole of it (SIGUSR2). It must come out of that with

* no request that failed, but those that were wrong on purpose and were refused for it;
* no order lost, doubled or of unknown fate: every order has no key and is sent once;
* memory, file descriptors and threads of each generation as in the first one.

    --minutes 10 --every 60 (seconds between two restarts) --seed 1
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.servers import Served
from tests.faults.audit import Books, Report, compare
from tests.faults.clients import Clients, Outcome
from tests.faults.wishes import Manner, Wish, wishes
from tests.operations.serving import gone, wait_for
from tests.support.notify_socket import NotifySocket, notify_socket

TRADERS, READERS = 2, 4
_TRADE_PAUSE, _READ_PAUSE = 1.0, 0.25
"""Seconds between two calls of a client: two orders and sixteen reads a second in all."""

MOST_ORDERS = 250
"""Orders in all: a longer soak places fewer a second. Whoever reads the order book needs memory for
the whole of it, also in a process that was just started, so a book that grows by the minute would
hide what is looked for: memory that grows by itself.
"""

_IDLE_PAUSE = 7.0
"""One client is idle for longer than a stopping worker keeps its connections open."""

_AT_ONCE = ("order", "ping", "page", "health", "wrong key", "no quantity", "no such symbol")
"""Calls that wait for nobody: reads of the books wait for the venue's published limits."""

MEMORY_ROOM, MEMORY_FACTOR = 8 << 20, 1.15
FILES_ROOM, MASTER_FILES_ROOM, THREADS_ROOM = 24, 2, 8
"""By how much a generation may differ from the first one and still count as flat. A worker's pools
(database, threads, broker) fill as they are needed; the master has none, and lives through reloads.
"""

_ENVIRON = {"WISDOM_ENABLED": "false", "ORDER_QUEUE_WAIT": "7"}


@dataclass(frozen=True, slots=True)
class Sample:
    """What the gateway's processes hold at one moment."""

    processes: int
    memory: int
    files: int
    master_files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Generation:
    """The time from one restart to the next: what began it, the longest call of `_AT_ONCE`
    (seconds, the restart included), what was held after a while and at the end.
    """

    began_by: str
    slowest: float
    early: Sample
    late: Sample


@dataclass
class Load:
    """Clients that call until they are stopped, and what went wrong for them."""

    url: str
    key: str
    wanted: list[Wish]
    seed: int = 1
    trade_pause: float = _TRADE_PAUSE
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clients = Clients(self.url, self.key)
        self.sent = 0

    def start(self) -> None:
        """Begin."""
        works: list[tuple[Callable[[httpx.Client, random.Random], None], float]] = [
            *[(self._trade, self.trade_pause)] * TRADERS,
            *[(self._read, _READ_PAUSE)] * READERS,
            (self._read, _IDLE_PAUSE),
        ]
        for number, (work, pause) in enumerate(works):
            thread = threading.Thread(target=self._run, args=(number, work, pause))
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let every client finish its call."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(
        self, number: int, work: Callable[[httpx.Client, random.Random], None], pause: float
    ) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        limits = httpx.Limits(keepalive_expiry=120.0)  # as the official client
        with httpx.Client(
            base_url=self.url, timeout=30.0, limits=limits, trust_env=False
        ) as http:
            while not self._ended.wait(pause * (0.5 + chance.random())):
                work(http, chance)

    def slowest_since(self) -> float:
        """Seconds of the longest call of `_AT_ONCE` that ended since this was asked last."""
        with self._guard:
            found, self.slowest = self.slowest, 0.0
        return found

    def _trade(self, http: httpx.Client, chance: random.Random) -> None:
        with self._guard:
            wish, self.sent = self.wanted[self.sent], self.sent + 1
        told = self.clients.ask(http, wish)
        words = f"{told.status} {told.body.get('message')}"
        self._count("order", told.outcome is Outcome.ACCEPTED, words, told.ended - told.began)

    def _read(self, http: httpx.Client, chance: random.Random) -> None:
        name, status, path, body = chance.choice(self._calls())
        began = time.monotonic()
        try:
            answer = (
                http.get(path) if body is None
                else http.post(path, json={"apikey": self.key, **body})
            )
            good, words = answer.status_code == status, f"{answer.status_code} {answer.text}"
        except httpx.TransportError as error:
            good, words = False, repr(error)
        self._count(name, good, words, time.monotonic() - began)

    def _calls(self) -> list[tuple[str, int, str, dict[str, Any] | None]]:
        """(name, status that it has to get, path, body); some are wrong on purpose."""
        symbol = {"symbol": "RELIANCE", "exchange": "NSE"}
        order = {**symbol, "strategy": "soak", "action": "BUY", "product": "MIS",
                 "pricetype": "MARKET", "quantity": "1"}  # fmt: skip
        return [
            ("ping", 200, "/api/v1/ping", {}),
            ("orderbook", 200, "/api/v1/orderbook", {}),
            ("positionbook", 200, "/api/v1/positionbook", {}),
            ("funds", 200, "/api/v1/funds", {}),
            ("quotes", 200, "/api/v1/quotes", symbol),
            ("page", 200, "/login", None),
            ("health", 200, "/health/ready", None),
            ("wrong key", 403, "/api/v1/placeorder", {**order, "apikey": "a-key-of-nobody"}),
            ("no quantity", 400, "/api/v1/placeorder", {**order, "quantity": "0"}),
            ("no such symbol", 400, "/api/v1/placeorder", {**order, "symbol": "NOSUCH"}),
        ]

    def _count(self, name: str, good: bool, words: str, seconds: float) -> None:
        with self._guard:
            self.answers[name] += 1
            if name in _AT_ONCE:
                self.slowest = max(self.slowest, seconds)
            if not good:
                at = time.strftime("%H:%M:%S")
                self.failures.append(f"{at} {name}: {words[:300]}")


class Soaked:
    """The gateway under load: `restart` replaces it, `sample` looks at what it holds."""

    def __init__(self, served: Served, heard: NotifySocket) -> None:
        self._heard = heard
        self.master = psutil.Process(int(heard.hears("READY").lines["MAINPID"]))

    def restart(self, number: signal.Signals) -> None:
        """Send the signal, and return when the old processes are gone and the new ones serve."""
        old = self.master.children()
        if number is signal.SIGUSR2:
            old.append(self.master)
        mark = len(self._heard.messages)
        self.master.send_signal(number)
        ready = self._heard.hears("READY", mark, 60)
        self.master = psutil.Process(int(ready.lines["MAINPID"]))
        wait_for(lambda: gone(old), 60)

    def sample(self) -> Sample:
        """All processes of the gateway together, once a backup or a load that runs is over."""
        wait_for(lambda: not self._errands(), 60)
        family = [self.master, *self.master.children(recursive=True)]
        return Sample(
            len(family),
            sum(process.memory_info().rss for process in family),
            sum(process.num_fds() for process in family),
            self.master.num_fds(),
            sum(process.num_threads() for process in family),
        )

    def _errands(self) -> list[psutil.Process]:
        """The processes that the gateway has started for one piece of work each."""
        found = []
        for process in self.master.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "services.aside" in process.cmdline():
                    found.append(process)
        return found

    def end(self) -> None:
        """End it, whichever process it is by now."""
        family = [self.master, *self.master.children(recursive=True)]
        self.master.terminate()
        psutil.wait_procs(family, timeout=25)


@dataclass(frozen=True)
class Result:
    """What came of it."""

    seconds: float
    load: Load
    generations: list[Generation]
    report: Report

    def held(self) -> dict[str, bool]:
        """Each promise, and whether it was kept."""
        first = self.generations[0].late
        rest = [generation.late for generation in self.generations[1:]]
        return {
            "no request failed": not self.load.failures,
            "no order lost, doubled or unknown": not self.report.wrong(),
            "memory is flat": all(
                one.memory <= first.memory * MEMORY_FACTOR + MEMORY_ROOM for one in rest
            ),
            "file descriptors are flat": all(
                one.files <= first.files + FILES_ROOM
                and one.master_files <= first.master_files + MASTER_FILES_ROOM
                for one in rest
            ),
            "threads are flat": all(one.threads <= first.threads + THREADS_ROOM for one in rest),
            "no process is left over": len({one.processes for one in (first, *rest)}) == 1,
        }


@contextmanager
def _loaded(served: Served, seconds: float, seed: int) -> Iterator[Load]:
    pause = max(_TRADE_PAUSE, seconds * TRADERS / MOST_ORDERS)
    orders = int(seconds * TRADERS / pause * 2.2) + 100
    wanted = [
        replace(wish, manner=Manner.KEYLESS, key=None)
        for wish in wishes(served.simulator, orders, seed, "soak")
    ]
    load = Load(served.url, served.key, wanted, seed, pause)
    load.start()
    try:
        yield load
    finally:
        load.stop()


def soak(
    folder: Path, *, seconds: float, every: float, seed: int = 1,
    environ: Mapping[str, str] | None = None, tell: Callable[[str], object] = lambda text: None,
) -> Result:
    """Load for so many seconds; a restart every so often, of three one by SIGUSR2."""
    with notify_socket(folder) as heard:
        variables = {**_ENVIRON, "NOTIFY_SOCKET": heard.address, **(environ or {})}
        with Served(folder, environ=variables) as served:
            soaked = Soaked(served, heard)
            generations: list[Generation] = []
            began, by = time.monotonic(), "start"
            try:
                with _loaded(served, seconds, seed) as load:
                    while time.monotonic() - began < seconds - 0.1 or len(generations) < 2:
                        time.sleep(every / 2)
                        early = soaked.sample()
                        time.sleep(every / 2)
                        generations.append(
                            Generation(by, load.slowest_since(), early, soaked.sample())
                        )
                        tell(_line(generations[-1], time.monotonic() - began, load))
                        number = (
                            signal.SIGUSR2 if len(generations) % 3 == 2 else signal.SIGHUP
                        )
                        by = number.name
                        soaked.restart(number)
                    time.sleep(every / 2)
                    early = soaked.sample()
                    generations.append(
                        Generation(by, load.slowest_since(), early, soaked.sample())
                    )
                    tell(_line(generations[-1], time.monotonic() - began, load))
                books = Books(served)
                books.settle(15.0)
                report = compare(books, load.clients, load.wanted[: load.sent])
                books.close()
            finally:
                soaked.end()
            return Result(time.monotonic() - began, load, generations, report)


_HEAD = (
    f"{'began by':9} {'at':>6}  {'memory MB':>15} {'files':>9} {'threads':>9} {'orders':>8}"
    f" {'answers':>8} {'slowest':>8}"
)


def _line(generation: Generation, at: float, load: Load) -> str:
    early, late = generation.early, generation.late
    return (
        f"{generation.began_by:9} {at:5.0f} s  {early.memory / 1e6:6.1f} → {late.memory / 1e6:6.1f}"
        f" {early.files:3d} → {late.files:3d} {early.threads:3d} → {late.threads:3d}"
        f" {load.sent:8d} {sum(load.answers.values()):8d}"
        f" {generation.slowest:6.1f} s"
    )


def show(result: Result) -> bool:
    """Print what was asked, what failed and what held; whether all held."""
    print(f"\n{sum(result.load.answers.values())} requests in {result.seconds:.0f} s, "
          f"{len(result.generations) - 1} rolling restarts")  # fmt: skip
    for name, count in sorted(result.load.answers.items()):
        print(f"  {name:16} {count:6d}")
    for failure in result.load.failures[:20]:
        print("  FAILED", failure)
    for name, lines in result.report.wrong().items():
        print("  WRONG", name, lines[:5])
    held = result.held()
    for name, good in held.items():
        print(f"  {'✓' if good else '✗'} {name}")
    return all(held.values())


def main() -> int:
    """Soak as the command line says."""
    parser = argparse.ArgumentParser(prog="make soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(_HEAD)
    with tempfile.TemporaryDirectory() as folder:
        result = soak(
            Path(folder), seconds=arguments.minutes * 60, every=arguments.every,
            seed=arguments.seed, tell=lambda text: print(text, flush=True),
        )
    return 0 if show(result) else 1


if __name__ == "__main__":
    sys.exit(main())
