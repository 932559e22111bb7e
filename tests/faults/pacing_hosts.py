"""Two hosts on one Redis and one PostgreSQL: the allowance is one for both."""

from __future__ import annotations

import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.servers import PROFILE, Gunicorn, Served
from tests.faults.pacing_load import Client, Figures, Load, measure
from tests.faults.pacing_one_host import rows_of
from tests.faults.table import Row, at_most
from tests.faults.wishes import wishes
from tests.support import netns
from tests.support.databases import scratch_postgres_url
from tests.support.netns import NetHost, hosts
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import wait_until

WORKERS = "2"

REFUSED = ({503}, {"limits_unknown", "shared_storage_away"})
"""What an entry is answered while Redis is away: by who notices, and by everybody else."""


class Cluster(Served):
    """A gateway on two hosts. Commands run on the first one's terms, on this machine."""

    def __init__(self, folder: Path, database: str, redis: RedisServer, **options: Any) -> None:
        environ = {
            "DATABASE_URL": database, "REDIS_URL": redis.url, "WEB_CONCURRENCY": WORKERS,
            "WISDOM_ENABLED": "false", "HOST": "0.0.0.0", "JAINAM_RATE_LIMIT": "25",
            **options.pop("environ", {}),
        }
        super().__init__(folder, environ=environ, **options)
        self.redis = redis
        self.hosts: list[NetHost] = []
        self.gateways: list[Gunicorn] = []

    @property
    def urls(self) -> list[str]:
        """Where each host answers."""
        return [gateway.url for gateway in self.gateways]

    def restart(self) -> None:
        """Start a gateway on each host."""
        database = urlsplit(self.environ["DATABASE_URL"])
        ports = [int(urlsplit(self.simulator.url).port or 0), database.port or 5432]
        self.hosts = self.cleanup.enter_context(hosts(2, ports))
        for host in self.hosts:
            own = {
                "REDIS_URL": f"redis://{host.here}:{self.redis.port}/0",
                "STATE_DIR": str(self.folder / f"state-{host.number}"),
                "LOG_DIR": str(self.folder / f"log-{host.number}"),
            }
            gateway = Gunicorn(
                {**self.environ, **own}, int(self.environ["PORT"]), "/health/live",
                host=host.address, within=host.within,
            )
            self.cleanup.callback(gateway.stop)
            self.gateways.append(gateway)
        self.gateway = self.gateways[0]


@contextmanager
def two_hosts(folder: Path, database: str, **options: Any) -> Iterator[Cluster]:
    """Two hosts on an empty PostgreSQL database and a Redis of their own."""
    with redis_server("0.0.0.0") as redis, Cluster(folder, database, redis, **options) as cluster:
        yield cluster


@dataclass(frozen=True, slots=True)
class Outage:
    """What two hosts answered without their Redis, and how long they took to recover (seconds).

    `breaches` are those until then, by kind of request.
    """

    entries: tuple[set[int], set[str]]
    cancels: list[int]
    reduced: bool
    closed: int
    breaches: dict[str, int]
    later_breaches: dict[str, int]
    books: list[int]
    ready: list[int]
    recovered: float
    ready_again: list[int]


def under_load(cluster: Cluster, seconds: float) -> tuple[Figures, list[str]]:
    """Sixteen clients of five connections, half of them at each host; ids of orders that rest."""
    load = Load(cluster.simulator, cluster.urls)
    load.orders(cluster.key, 80, 75.0)
    load.reads(cluster.key)
    load.cancels(cluster.key, 5.0)
    return measure(cluster.simulator, load, seconds), load.accepted


def without_redis(cluster: Cluster, resting: list[str]) -> Outage:
    """Kill Redis, try everything on each host, start it again, and wait for the first order."""
    clients = [Client(url, cluster.key) for url in cluster.urls]
    entry = _entry(cluster)
    market = {**entry, "pricetype": "MARKET", "price": "0", "quantity": 3}
    assert clients[0].call("placeorder", market, "order")[0].status == 200
    cluster.redis.kill()
    refused = [client.call("placeorder", entry, "order")[0] for client in clients for _ in range(3)]
    entries = {seen.status for seen in refused}, {seen.code for seen in refused}
    cancels = [
        client.call(
            "cancelorder",
            {"orderid": resting.pop(), "strategy": "x", "client_order_id": f"out-{number}"},
            "cancel",
        )[0].status
        for number, client in enumerate(clients)
    ]
    exit_ = {**market, "action": "SELL", "quantity": 1}
    reduced = _comes_true(
        lambda: clients[0].call("placeorder", exit_, "order")[0].status == 200, 15.0
    )
    books = [client.call("orderbook", {}, "orderbook")[0].status for client in clients]
    closed = clients[1].call("closeposition", {"strategy": "x"}, "close")[0].status
    ready = [_ready(url) for url in cluster.urls]
    cluster.redis.start()
    began = time.monotonic()
    for client in clients:
        wait_until(lambda c=client: c.call("placeorder", entry, "order")[0].status == 200, 30.0)
    recovered = time.monotonic() - began
    breaches = _breaches(cluster)
    ready_again = [_ready(url) for url in cluster.urls]
    for client in clients:
        for path in ("positionbook", "orderbook", "funds"):
            client.call(path, {}, path)
        client.close()
    later = {kind: count - breaches.get(kind, 0) for kind, count in _breaches(cluster).items()}
    later = {kind: count for kind, count in later.items() if count}
    return Outage(
        entries, cancels, reduced, closed, breaches, later, books, ready, recovered, ready_again
    )


def _comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    try:
        wait_until(condition, seconds)
    except AssertionError:
        return False
    return True


def _breaches(cluster: Cluster) -> dict[str, int]:
    found = cluster.simulator.control("limits", None, profile=PROFILE)
    return {kind: len(each) for kind, each in found.items()}


def seconds_until_killed(cluster: Cluster, watched: float = 3.0) -> float:
    """Turn the kill switch on one host while both place entries; how long after any got through.

    Counted from before the switch was asked for. A refusal itself may take longer: it needs a
    position, to see whether the order is an exit.
    """
    entry = _entry(cluster)
    accepted_at: list[float] = []
    refused: set[str] = set()
    over = threading.Event()

    def trade(url: str) -> None:
        client = Client(url, cluster.key)
        while not over.is_set():
            seen, _ = client.call("placeorder", entry, "order")
            if seen.status == 200:
                accepted_at.append(seen.at + seen.seconds)
            elif seen.code == "broker_disabled":
                refused.add(url)
        client.close()

    threads = [threading.Thread(target=trade, args=(url,)) for url in cluster.urls]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(accepted_at) >= 10, 20.0)
    client = Client(cluster.urls[0], cluster.key)
    began = time.monotonic()
    assert client.call("killswitch", {"state": "on"}, "kill")[0].status == 200
    time.sleep(watched)
    over.set()
    for thread in threads:
        thread.join()
    assert refused == set(cluster.urls)
    client.call("killswitch", {"state": "off"}, "kill")
    client.close()
    for url in cluster.urls:
        client = Client(url, cluster.key)
        wait_until(lambda c=client: c.call("placeorder", entry, "order")[0].status == 200, 20.0)
        client.close()
    return max(0.0, max(accepted_at) - began)


def is_refused(out: Outage) -> bool:
    """Whether no entry got through."""
    statuses, codes = REFUSED
    return out.entries[0] == statuses and out.entries[1] <= codes


def _entry(cluster: Cluster) -> dict[str, object]:
    wish = next(wish for wish in wishes(cluster.simulator, 3, 9, "entry") if wish.price)
    fields = wish.body("")
    return {name: fields[name] for name in fields if name not in ("apikey", "client_order_id")}


def _ready(url: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def rows(seconds: float = 60.0) -> Iterator[Row]:
    """The long version, for `make faults`: needs root, PostgreSQL and redis-server."""
    problem = netns.fault()
    if problem is not None:
        yield Row("two hosts", problem, False)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        scratch_postgres_url() as database,
        two_hosts(Path(folder), database) as cluster,
    ):
        figures, resting = under_load(cluster, seconds)
        yield from rows_of(figures)
        killed = seconds_until_killed(cluster)
        yield at_most("after the kill switch an entry got through on either for", killed, 1.0)
        out = without_redis(cluster, resting)
        yield Row("without Redis: entries", str(out.entries), is_refused(out))
        yield Row(
            "without Redis: an order that reduces a position", str(out.reduced), out.reduced
        )
        yield Row(
            "without Redis: cancels, books, closeposition, ready",
            f"{out.cancels} {out.books} {out.closed} {out.ready}",
            (out.cancels, out.books, out.closed, out.ready)
            == ([200] * 2, [200] * 2, 200, [503] * 2),
        )
        yield at_most("Redis is back: orders on both after", out.recovered, 15.0)
        orders = sum(out.breaches.get(kind, 0) for kind in ("place", "modify", "cancel"))
        yield Row(
            "breaches by orders without Redis, by anything after",
            f"{orders}, {sum(out.later_breaches.values())}",
            orders == 0 and not out.later_breaches,
        )
