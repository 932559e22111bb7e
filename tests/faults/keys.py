"""Many requests with one idempotency key: a single order, a basket and a split.

The venue is slow while they come, so that most of them meet the first one in flight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any

import httpx

from benchmarks.servers import PROFILE
from tests.faults.fire import Range
from tests.faults.wishes import SYMBOL

_SLOW = 0.4

Body = dict[str, Any]

_ROW = {
    "symbol": SYMBOL, "exchange": "NSE", "action": "BUY", "product": "MIS", "pricetype": "MARKET",
}


@dataclass
class Keyed:
    """What came of the requests under one key: answers by status, and orders at the venue."""

    statuses: Counter[int] = field(default_factory=Counter)
    answers: set[str] = field(default_factory=set)
    executed: int = 0


@dataclass
class Keys:
    """Every kind of call; `mismatch` is the status of another body under a used key."""

    single: Keyed
    basket: Keyed
    split: Keyed
    mismatch: int


class _Asker:
    """Sends one call many times at once, and counts what the venue got."""

    def __init__(self, range_: Range, requests: int) -> None:
        self._simulator = range_.served.simulator
        self._requests = requests
        self._base: Body = {
            "apikey": range_.served.key, "strategy": "one key",
        }
        self._http = httpx.Client(
            base_url=range_.served.url, timeout=60.0, trust_env=False,
            limits=httpx.Limits(max_connections=requests),
        )

    def close(self) -> None:
        self._http.close()

    def call(self, path: str, key: str, fields: Body) -> httpx.Response:
        """One call."""
        return self._http.post(
            f"/api/v1/{path}", json={**self._base, **fields}, headers={"Idempotency-Key": key}
        )

    def together(self, path: str, key: str, fields: Body) -> Keyed:
        """The same call from as many threads, which all begin at the same moment."""
        barrier = Barrier(self._requests)
        before = len(self._simulator.orders(PROFILE))

        def ask(_: int) -> httpx.Response:
            barrier.wait()
            return self.call(path, key, fields)

        found = Keyed()
        with self._slow_venue(), ThreadPoolExecutor(self._requests) as pool:
            for answer in pool.map(ask, range(self._requests)):
                found.statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    found.answers.add(answer.text)
        found.answers.add(self.call(path, key, fields).text)
        found.executed = len(self._simulator.orders(PROFILE)) - before
        return found

    @contextmanager
    def _slow_venue(self) -> Iterator[None]:
        self._simulator.faults({"route": "POST /orders", "fault": "slow", "seconds": _SLOW})
        yield
        self._simulator.faults()


def many_with_one_key(range_: Range, requests: int = 200) -> Keys:
    """Run all of it on a fresh range."""
    asker = _Asker(range_, requests)
    try:
        single = asker.together("placeorder", "single", {**_ROW, "quantity": 3})
        basket = asker.together(
            "basketorder", "basket", {"orders": [{**_ROW, "quantity": n} for n in (1, 2, 3)]}
        )
        split = asker.together("splitorder", "split", {**_ROW, "quantity": 8, "splitsize": 2})
        mismatch = asker.call("placeorder", "single", {**_ROW, "quantity": 4}).status_code
    finally:
        asker.close()
    return Keys(single, basket, split, mismatch)
