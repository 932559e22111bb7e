"""A process that races with others for the same idempotency keys: `python -m tests.support.racing`.

What an order is to a venue is here a file that may be made once: whoever finds it there under
another reference, or meets somebody else at work on the same key, has found a race, and says so.
Some of the work is refused before it is sent, some has an unknown outcome, and one of the processes
dies in the middle of it (`--die-at`: as the order of this number is made).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from broker.errors import BrokerBusy, OutcomeUnknown
from database.engine import Database
from services.access import Principal
from services.accounts import Account
from services.errors import DuplicateInFlight
from services.idempotency import UNKNOWN_STATUS, IdempotencyService
from services.locks import HostLocks
from utils.clock import SystemClock

_LONGEST = 60.0


class Racer:
    """One process; `folder` is what all of them share."""

    def __init__(self, folder: Path, service: IdempotencyService, who: tuple[Any, Any]) -> None:
        self._folder = folder
        self._service = service
        self._who = who
        self._made = 0
        self.die_at = 0

    def run(self, key: str, chance: random.Random) -> str:
        """Ask until the answer is a success; the reference that it tells."""
        deadline = time.monotonic() + _LONGEST
        while time.monotonic() < deadline:
            try:
                answer = self._service.run(
                    *self._who, key, "same", lambda reference: self._work(key, reference, chance),
                    lambda error: (UNKNOWN_STATUS, {}),
                )
            except (BrokerBusy, DuplicateInFlight, OutcomeUnknown):
                continue
            if answer.status == 200:
                return str(answer.body["reference"])
        raise TimeoutError(key)

    def _work(self, key: str, reference: str, chance: random.Random) -> tuple[int, dict[str, Any]]:
        inside = self._folder / f"{key}.inside"
        if inside.exists() and _lives(int(inside.read_text() or 0)):
            self._violation(f"two at work on {key}")
        inside.write_text(str(os.getpid()))
        try:
            order = self._folder / f"{key}.order"
            if not order.exists():
                if chance.random() < 0.4:
                    raise BrokerBusy("The queue is full.")
                self._make(order, reference)
                if chance.random() < 0.3:
                    raise OutcomeUnknown("The answer was lost.")
            elif order.read_text() != reference:
                self._violation(f"{key} again, under another reference")
            return 200, {"reference": reference}
        finally:
            inside.unlink(missing_ok=True)

    def _make(self, order: Path, reference: str) -> None:
        try:
            with order.open("x") as file:
                file.write(reference)
        except FileExistsError:
            self._violation(f"{order.stem} was sent twice")
        self._made += 1
        if self._made == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _violation(self, what: str) -> None:
        with (self._folder / "violations").open("a") as file:
            file.write(f"{what}\n")


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("database")
    parser.add_argument("--keys", type=int, default=6)
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--user", type=int, required=True)
    parser.add_argument("--account", type=int, required=True)
    parser.add_argument("--die-at", type=int, default=0)
    chosen = parser.parse_args()
    clock = SystemClock()
    database = Database(chosen.database, pool_size=chosen.threads)
    service = IdempotencyService(database, HostLocks(chosen.folder / "locks", clock), clock)
    user = Principal(user_id=chosen.user, name="racer", is_admin=False, scope="trade", key_id=None)
    account = Account(
        chosen.account, "raced", "jainam_prop", "B", "PRO", "", chosen.user, "user", False
    )
    racer = Racer(chosen.folder, service, (user, account))
    racer.die_at = chosen.die_at
    (chosen.folder / f"ready-{os.getpid()}").touch()
    while not (chosen.folder / "go").exists():
        time.sleep(0.001)

    def through(thread: int) -> dict[str, str]:
        chance = random.Random(f"{chosen.seed}/{thread}")
        return {f"K{n}": racer.run(f"K{n}", chance) for n in range(chosen.keys)}

    with ThreadPoolExecutor(chosen.threads) as pool:
        for told in pool.map(through, range(chosen.threads)):
            for key, reference in told.items():
                print(key, reference)
    database.dispose()


if __name__ == "__main__":
    main()
