"""`kill -9` of a worker, of the master and of the database at named points, while clients trade."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import plan
from tests.faults.audit import Report, compare
from tests.faults.clients import Clients
from tests.faults.fire import Range, shooting_range
from tests.faults.killer import ORDER, ORDERS, POINTS, TAKEN
from tests.faults.wishes import wishes
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.redis_server import redis_server
from tests.support.waiting import wait_until

WSGI = "tests.faults.killer:create_app()"

_SHARES = {"worker": 2, "master": 1, "database": 1}
_WISHES = 8_000
"""More than any run sends: the clients stop when the killing is over."""

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: who, and where in the life of an order."""

    target: str
    point: str


def plan_kills(count: int, seed: int, targets: tuple[str, ...]) -> list[Kill]:
    """Every pair of target and point, by turns and in an order from the seed."""
    chance = random.Random(seed)
    deck: list[str] = []
    while len(deck) < count:
        deck += [name for name in targets for _ in range(_SHARES[name])]
    deck = deck[:count]
    points = {name: itertools.cycle(chance.sample(POINTS, len(POINTS))) for name in targets}
    kills = [Kill(name, next(points[name])) for name in deck]
    chance.shuffle(kills)
    return kills


class Executioner:
    """Orders kills, and brings back what was killed."""

    def __init__(self, range_: Range, folder: Path, database: PostgresServer | None) -> None:
        self._served = range_.served
        self._folder = folder
        self._database = database

    def carry_out(self, kill: Kill) -> None:
        """Returns when somebody has reached the point, and the gateway is up again."""
        taken = self._folder / TAKEN
        taken.unlink(missing_ok=True)
        order = {
            "point": kill.point, "target": kill.target,
            "pid": self._database.pid if self._database else 0,
        }
        made = self._folder / f"{ORDER}.new"
        made.write_text(json.dumps(order))
        made.rename(self._folder / ORDER)
        wait_until(taken.exists, _PATIENCE)
        if kill.target == "database" and self._database is not None:
            self._database.start()
        elif kill.target == "master":
            group = self._served.gateway.process.pid
            self._served.gateway.process.wait(_PATIENCE)
            # As a supervisor ends what a dead master leaves.
            wait_until(lambda: not _kill_group(group), _PATIENCE)
            self._served.restart()
        assert self._served.gateway.process.poll() is None, "the gateway gave up"


def _let_trade(clients: Clients, answers: int) -> None:
    """What comes back trades a little, more or less, before the next kill."""
    before = _good(clients)
    wait_until(lambda: _good(clients) >= before + answers, _PATIENCE)


def _good(clients: Clients) -> int:
    return sum(told.status == 200 for told in list(clients.told))


def _kill_group(group: int) -> bool:
    """Kill what is left of a process group; whether there was anything."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def killing_range(folder: Path, kind: str) -> Iterator[tuple[Range, Executioner]]:
    """A gateway of two workers to be killed, on SQLite, or on a PostgreSQL and Redis of its own."""
    orders = folder / "kills"
    orders.mkdir()
    environ = {ORDERS: str(orders), "WEB_CONCURRENCY": "2"}
    with ExitStack() as stack:
        database = None
        if kind == "postgres":
            database = stack.enter_context(postgres_server())
            environ["DATABASE_URL"] = database.url
            environ["REDIS_URL"] = stack.enter_context(redis_server()).url
        range_ = stack.enter_context(shooting_range(folder, environ, wsgi=WSGI))
        yield range_, Executioner(range_, orders, database)


def targets_of(kind: str) -> tuple[str, ...]:
    """What can be killed apart: SQLite dies with its worker."""
    return ("worker", "master", "database") if kind == "postgres" else ("worker", "master")


def killed(
    range_: Range, executioner: Executioner, kills: list[Kill], seed: int, patience: float = 25.0
) -> Report:
    """Clients trade until every kill is done; then all must be settled, and the books agree."""
    wanted = wishes(range_.served.simulator, _WISHES, seed, f"kill{seed}")
    clients = range_.clients(threads=8)
    plan.light_fire(range_.served.simulator, seed)
    over = threading.Event()
    work = threading.Thread(target=clients.send_until, args=(over, wanted))
    work.start()
    chance = random.Random(seed)
    done: Counter[str] = Counter()
    points: Counter[str] = Counter()
    try:
        for kill in kills:
            executioner.carry_out(kill)
            done[kill.target] += 1
            points[kill.point] += 1
            _let_trade(clients, chance.randint(1, 4))
    finally:
        over.set()
        work.join()
    range_.served.simulator.faults()
    settled = range_.books.settle(patience)
    sent = {told.wish.number for told in clients.told}
    report = compare(range_.books, clients, [wish for wish in wanted if wish.number in sent])
    report.figures |= {
        "orders": len(sent), "kills": sum(done.values()), "targets": dict(done),
        "points": dict(points), "settled_after": round(settled.seconds, 1), "told": settled.told,
    }
    return report
