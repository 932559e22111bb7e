"""Clients of a fault run: threads that send wishes and write down what they were told."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx

from tests.faults.wishes import Manner, Wish

_PATIENCE = 30.0
_ATTEMPTS = 3
_ENOUGH = 60
"""Attempts that outlast any restart."""


class Outcome(StrEnum):
    """What an answer says of the order."""

    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    IN_FLIGHT = "in flight"
    NOT_NOW = "not sent, come again"
    FAILED = "failed"
    NOTHING = "no answer"


_KEPT = ("never_arrived", "rate_limited")
"""Codes of answers that a repeat under the same key gets again."""

FINAL = (Outcome.ACCEPTED, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class Told:
    """One answer. `began` and `ended` are monotonic seconds; `status` 0 where there was none."""

    wish: Wish
    status: int
    body: dict[str, Any]
    began: float
    ended: float

    @property
    def outcome(self) -> Outcome:
        """What the answer says."""
        if self.status == 0:
            return Outcome.NOTHING
        if self.status == 200:
            return Outcome.ACCEPTED
        if self.status == 504 and self.body.get("order_status") == "unknown":
            return Outcome.UNKNOWN
        if self.status == 409:
            return Outcome.IN_FLIGHT
        if self.status not in (429, 503) or self.body.get("code") in _KEPT:
            return Outcome.FAILED
        return Outcome.NOT_NOW


@dataclass
class Clients:
    """Sends wishes from several threads; `told` keeps every answer."""

    url: str
    api_key: str
    threads: int = 12
    seed: int = 1
    told: list[Told] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def send_all(
        self, wishes: Sequence[Wish], *, attempts: int = _ATTEMPTS, work_on: bool = False
    ) -> None:
        """Send every wish in its manner. With `work_on`, whoever has a key repeats it until the
        answer is final, at most `attempts` times (a gateway that is killed answers nothing).
        """
        limits = httpx.Limits(max_connections=2 * self.threads)
        with httpx.Client(
            base_url=self.url, timeout=_PATIENCE, limits=limits, trust_env=False
        ) as http, ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(lambda wish: self._send(http, wish, attempts, work_on), wishes))

    def send_until(self, over: threading.Event, wishes: Sequence[Wish]) -> None:
        """Send wishes until `over` is set, and those that were begun to their end, as with
        `work_on`.
        """
        limits = httpx.Limits(max_connections=2 * self.threads)
        left = iter(wishes)
        guard = threading.Lock()

        def work(http: httpx.Client) -> None:
            while not over.is_set():
                with guard:
                    wish = next(left)
                self._send(http, wish, _ENOUGH, work_on=True)

        with httpx.Client(
            base_url=self.url, timeout=_PATIENCE, limits=limits, trust_env=False
        ) as http, ThreadPoolExecutor(self.threads) as pool:
            for done in [pool.submit(work, http) for _ in range(self.threads)]:
                done.result()

    def ask(self, http: httpx.Client, wish: Wish) -> Told:
        """Send the call of a wish once."""
        began = time.monotonic()
        status, body = 0, {}
        try:
            answer = http.post("/api/v1/placeorder", json=wish.body(self.api_key))
            status, body = answer.status_code, answer.json()
        except (httpx.TransportError, ValueError):  # a connection, or an answer, that broke off
            status, body = 0, {}
        told = Told(wish, status, body, began, time.monotonic())
        with self._guard:
            self.told.append(told)
        return told

    def _send(self, http: httpx.Client, wish: Wish, attempts: int, work_on: bool) -> None:
        if wish.manner is Manner.HASTY:
            self._twice_at_once(http, wish)
        else:
            self.ask(http, wish)
        if wish.manner is Manner.DOUBTING:
            self.ask(http, wish)
        if wish.manner is Manner.PATIENT or (work_on and wish.key is not None):
            self._until_final(http, wish, attempts)

    def _twice_at_once(self, http: httpx.Client, wish: Wish) -> None:
        other = threading.Thread(target=self.ask, args=(http, wish))
        other.start()
        self.ask(http, wish)
        other.join()

    def _until_final(self, http: httpx.Client, wish: Wish, attempts: int) -> None:
        chance = random.Random(f"{self.seed}/{wish.number}")
        last = self.answers(wish)[-1]
        for attempt in range(1, attempts):
            if last.outcome in FINAL:
                return
            time.sleep(min(0.2 * attempt, 0.6) + 0.2 * chance.random())  # a client's back-off
            last = self.ask(http, wish)

    def answers(self, wish: Wish) -> list[Told]:
        """What was told about a wish, in the order of the answers."""
        with self._guard:
            return [told for told in self.told if told.wish.number == wish.number]

    def by_wish(self) -> dict[int, list[Told]]:
        """Every answer by the wish's number, in the order of the answers."""
        with self._guard:
            found: dict[int, list[Told]] = {}
            for told in sorted(self.told, key=lambda item: item.ended):
                found.setdefault(told.wish.number, []).append(told)
        return found
