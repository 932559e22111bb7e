"""Clients that want three times what the venue allows, of everything that it meters, and the audit.

The venue's own clock decides: the simulator counts every request in its rolling windows and writes
down each one that exceeds them. What clients saw is held against that.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from benchmarks.servers import PROFILE
from simulator.testing import Simulator
from tests.faults.wishes import SYMBOL, wishes

ALLOWANCE = 25
"""Orders a second: the published limit, and `JAINAM_RATE_LIMIT` in these runs."""

SETTLING = 1.5
"""Seconds at the beginning that do not count for the use of the allowance."""

READS: dict[str, tuple[str, float]] = {
    "orderbook": ("GET /orders/dealerorderbook", 6.0),
    "tradebook": ("GET /orders/dealertradebook", 20.0),
    "positionbook": ("GET /portfolio/dealerpositions", 1.0),
    "holdings": ("GET /portfolio/holdings", 0.1),
    "funds": ("GET /user/balance", 3.3),
    "quotes": ("POST /instruments/quotes", 5.0),
}
"""Routes of ours that read, the simulator's route that each ends at, and its calls a second (for
quotes nothing is published)."""

_FIELDS: dict[str, dict[str, object]] = {"quotes": {"symbol": SYMBOL, "exchange": "NSE"}}


_QUEUED = re.compile(r"queue;dur=([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer: when it was asked for (monotonic seconds), how long it took, what came.

    `queued` is what the gateway says of the time that it waited for its turn (seconds).
    """

    what: str
    at: float
    seconds: float
    status: int
    code: str
    retry_after: str | None
    queued: float = 0.0


@dataclass
class Figures:
    """What a run under load came to."""

    seconds: float
    breaches: dict[str, list[dict[str, Any]]]
    requests: dict[str, int]
    orders_in_time: int
    seen: list[Seen] = field(default_factory=list)

    @property
    def used(self) -> float:
        """Share of the order allowance that reached the venue."""
        return self.orders_in_time / (ALLOWANCE * (self.seconds - SETTLING))

    def statuses(self, what: str) -> dict[int, int]:
        """How often each HTTP status came."""
        found: dict[int, int] = {}
        for one in self.seen:
            if one.what == what:
                found[one.status] = found.get(one.status, 0) + 1
        return found

    def percentile(self, what: str, share: float, *, queued: bool = False) -> float:
        """Seconds that this share of the successful calls took, or waited for a turn, at most."""
        times = sorted(
            one.queued if queued else one.seconds
            for one in self.seen if one.what == what and one.status == 200
        )
        return times[math.ceil(share * len(times)) - 1] if times else math.inf


class Client:
    """One kept connection and one API key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._place = urlsplit(url).netloc
        self._api_key = api_key
        self._http = http.client.HTTPConnection(self._place, timeout=60)

    def call(self, path: str, fields: dict[str, object], what: str) -> tuple[Seen, dict[str, Any]]:
        """POST one call; status 0 when there was no answer."""
        body = json.dumps({"apikey": self._api_key, **fields}).encode()
        began = time.monotonic()
        status, told, retry_after, timing = 0, {}, None, ""
        try:
            self._http.request(
                "POST", f"/api/v1/{path}", body, {"Content-Type": "application/json"}
            )
            answer = self._http.getresponse()
            status, told = answer.status, json.loads(answer.read())
            retry_after = answer.headers.get("Retry-After")
            timing = answer.headers.get("Server-Timing", "")
        except (OSError, http.client.HTTPException):
            self._http.close()
            self._http = http.client.HTTPConnection(self._place, timeout=60)
        spent = time.monotonic() - began
        queued = _QUEUED.search(timing)
        return Seen(
            what, began, spent, status, str(told.get("code", "")), retry_after,
            float(queued.group(1)) / 1000 if queued else 0.0,
        ), told

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()


def smart_fields(symbol: str, target: int) -> dict[str, object]:
    """A smart order that brings a position to its target."""
    return {
        "strategy": "smart", "symbol": symbol, "exchange": "NSE", "action": "BUY",
        "product": "MIS", "pricetype": "MARKET", "quantity": target, "position_size": target,
    }


class Load:
    """Threads that call until `stop`; every answer is kept."""

    def __init__(self, simulator: Simulator, urls: Sequence[str]) -> None:
        self.seen: list[Seen] = []
        self.accepted: list[str] = []
        self._urls = itertools.cycle(urls)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._bodies = itertools.cycle(
            {name: value for name, value in wish.body("").items()
             if name not in ("apikey", "client_order_id")}
            for wish in wishes(simulator, 60, 1, "load") if wish.price
        )
        self._guard = threading.Lock()

    def orders(self, key: str, connections: int, rate: float, what: str = "order") -> None:
        """So many connections that together want `rate` orders a second."""
        for number in range(connections):
            self._go(key, what, lambda client: self._order(client, what),
                     connections / rate, number / rate)

    def reads(self, key: str, connections: int = 3) -> None:
        """Ask for every book, and for quotes, three times as often as the venue allows."""
        for name, (_, rate) in READS.items():
            fields = _FIELDS.get(name, {})
            for number in range(connections):
                self._go(
                    key, name, lambda client, n=name, f=fields: client.call(n, f, n)[0],
                    connections / (3 * rate), number / (3 * rate),
                )

    def smart(self, key: str, threads: int, symbol: str, target: int) -> None:
        """Bring one position to its target over and over."""
        body = smart_fields(symbol, target)
        for _ in range(threads):
            self._go(key, "smart", lambda c: c.call("placesmartorder", body, "smart")[0], 0.1)

    def cancels(self, key: str, rate: float) -> None:
        """Cancel orders that were accepted."""
        self._go(key, "cancel", self._cancel, 1.0 / rate)

    def stop(self) -> None:
        """End all threads and wait for them."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _order(self, client: Client, what: str) -> Seen:
        with self._guard:
            body = dict(next(self._bodies))
        seen, told = client.call("placeorder", body, what)
        if seen.status == 200:
            self.accepted.append(str(told["orderid"]))
        return seen

    def _cancel(self, client: Client) -> Seen | None:
        with self._guard:
            order_id = self.accepted.pop() if self.accepted else None
        if order_id is None:
            return None
        return client.call("cancelorder", {"orderid": order_id, "strategy": "x"}, "cancel")[0]

    def _go(
        self, key: str, what: str, work: Callable[[Client], Seen | None], every: float,
        after: float = 0.0,
    ) -> None:
        def run(client: Client) -> None:
            due = time.monotonic() + after
            while not self._over.wait(max(0.0, due - time.monotonic())):
                seen = work(client)
                if seen is not None:
                    self.seen.append(seen)
                due = max(due + every, time.monotonic())
            client.close()

        thread = threading.Thread(target=run, args=(Client(next(self._urls), key),), name=what)
        thread.start()
        self._threads.append(thread)


def measure(simulator: Simulator, load: Load, seconds: float) -> Figures:
    """Let the load run for so long, then stop it and ask the simulator what it saw."""
    before = simulator.counts(PROFILE)
    began = time.monotonic_ns()
    time.sleep(seconds)
    ended = time.monotonic_ns()
    load.stop()
    log = simulator.control("requests", None, profile=PROFILE, route="POST /orders", last=20_000)
    from_ns = began + int(SETTLING * 1e9)
    after = simulator.counts(PROFILE)
    return Figures(
        seconds,
        simulator.control("limits", None, profile=PROFILE),
        {route: count - before.get(route, 0) for route, count in after.items()},
        sum(from_ns <= at < ended for at, _, _ in log["requests"]),
        load.seen,
    )
