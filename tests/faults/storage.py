"""Storage that fails under a trading gateway, and a clock that is set back.

Each drill breaks something and expects the same: entries are refused and reach no venue, a cancel
goes through, everything works again by itself, and then the three books agree, the cancel's entry
included.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import sqlalchemy as sa

from benchmarks.servers import PROFILE
from tests.faults.audit import Report, compare
from tests.faults.clients import Clients, Outcome, Told
from tests.faults.fire import Range, shooting_range
from tests.faults.killer import CLOCK
from tests.faults.kills import WSGI
from tests.faults.wishes import Wish, wishes
from tests.support.databases import scratch_postgres_url
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.redis_server import redis_server
from tests.support.waiting import wait_until

_RESTING = 2
_TRIES = 150
_PATIENCE = 60.0
_DISK = "96m"
_HOUR = 3600.0


@dataclass
class Drill:
    """What one drill came to; seconds from the mending to the next accepted entry."""

    refused: bool = False
    reached_venue: int = 0
    cancelled: bool = False
    recovered: float = _PATIENCE
    cancel_in_journal: bool = False
    report: Report = field(default_factory=Report)


class _Desk:
    """A client that trades by hand."""

    def __init__(self, range_: Range, http: httpx.Client, run: str) -> None:
        self._range = range_
        self._http = http
        self._simulator = range_.served.simulator
        self.clients: Clients = range_.clients()
        self.sent: list[Wish] = []
        self._wishes = iter([
            wish for wish in wishes(self._simulator, 6 * _TRIES, 1, run) if wish.price
        ])

    def enter(self) -> Told:
        """One resting limit order."""
        wish = next(self._wishes)
        self.sent.append(wish)
        return self.clients.ask(self._http, wish)

    def rest(self) -> str:
        """The id of an order that was accepted; what has only just begun may refuse some before."""
        told: list[Told] = []

        def accepted() -> bool:
            told.append(self.enter())
            return told[-1].outcome is Outcome.ACCEPTED

        wait_until(accepted, _PATIENCE)
        return str(told[-1].body["orderid"])

    def cancel(self, order_id: str) -> bool:
        """Cancel an order; whether gateway and venue say that it is done."""
        answer = self._http.post("/api/v1/cancelorder", json={
            "apikey": self._range.served.key, "strategy": "drill", "orderid": order_id,
        }, headers={"Idempotency-Key": f"cancel-{order_id}"})
        (row,) = [item for item in self._simulator.orders(PROFILE)
                  if str(item["app_order_id"]) == order_id]
        return answer.status_code == 200 and row["status"] == "Cancelled"

    def requests(self) -> int:
        """Order requests that the venue has got."""
        return len(self._simulator.orders(PROFILE))


def drilled(range_: Range, break_: Callable[[], None], mend: Callable[[], None]) -> Drill:
    """Break storage under a gateway that trades, look, and mend it again."""
    found = Drill()
    with httpx.Client(base_url=range_.served.url, timeout=60.0, trust_env=False) as http:
        desk = _Desk(range_, http, "drill")
        resting = [desk.rest() for _ in range(_RESTING)]
        break_()
        try:
            found.refused = any(
                desk.enter().outcome is Outcome.NOT_NOW for _ in range(_TRIES)
            )
            before = desk.requests()
            again = desk.enter()
            found.refused &= again.outcome is Outcome.NOT_NOW
            found.reached_venue = desk.requests() - before
            found.cancelled = desk.cancel(resting[0])
        finally:
            mend()
        began = time.monotonic()
        while time.monotonic() - began < _PATIENCE:
            if desk.enter().outcome is Outcome.ACCEPTED:
                found.recovered = time.monotonic() - began
                break
        range_.books.settle(15.0)
        found.cancel_in_journal = _is_cancel_known(range_, resting[0])
        found.report = compare(range_.books, desk.clients, desk.sent)
    return found


def _is_cancel_known(range_: Range, order_id: str) -> bool:
    end = time.monotonic() + 10.0
    while time.monotonic() < end:
        if range_.books.cancelled(order_id) == "accepted":
            return True
        time.sleep(0.1)
    return False


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], Callable[[], None]]]:
    """A small file system at `folder`; the function fills it and gives one that makes room.

    `PermissionError` where this user may mount nothing.
    """
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)],
        check=False, capture_output=True,
    ).returncode == 0
    if not mounted:
        raise PermissionError("a file system of its own needs the right to mount")
    junk = folder / "junk"

    def fill() -> Callable[[], None]:
        with suppress(OSError), junk.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        return lambda: junk.unlink()

    try:
        yield fill
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def full_disk() -> Drill:
    """SQLite, its locks and its files for late entries on a disk that fills up."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = stack.enter_context(tempfile.TemporaryDirectory())
        fill = stack.enter_context(small_disk(folder))
        range_ = stack.enter_context(shooting_range(folder, {"LOG_DIR": logs}))
        room: list[Callable[[], None]] = []
        return drilled(range_, lambda: room.append(fill()), lambda: room[0]())


@contextmanager
def _on_own_postgres() -> Iterator[tuple[Range, PostgresServer]]:
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield (
            stack.enter_context(shooting_range(folder, {"DATABASE_URL": server.url})), server
        )


def database_gone() -> Drill:
    """PostgreSQL ends and comes back."""
    with _on_own_postgres() as (range_, server):
        return drilled(range_, server.stop, server.start)


def read_only() -> Drill:
    """PostgreSQL takes no writes any more, as after a failover to a standby."""
    with _on_own_postgres() as (range_, server):
        engine = sa.create_engine(
            sa.make_url(server.url).set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT", poolclass=sa.NullPool,
        )

        def turn(value: str) -> None:
            with engine.connect() as conn:
                conn.exec_driver_sql(
                    f"ALTER SYSTEM SET default_transaction_read_only = {value}"
                )
                conn.exec_driver_sql("SELECT pg_reload_conf()")

        return drilled(range_, lambda: turn("on"), lambda: turn("off"))


def redis_gone() -> Drill:
    """The server of limits and locks ends, forgets everything and comes back."""
    with ExitStack() as stack:
        server = stack.enter_context(redis_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environ = {
            "DATABASE_URL": stack.enter_context(scratch_postgres_url()), "REDIS_URL": server.url,
        }
        range_ = stack.enter_context(shooting_range(folder, environ))
        return drilled(range_, server.kill, server.start)


@dataclass
class Shifted:
    """A clock set back by an hour: seconds until all was settled, and what the books say."""

    accepted: int
    settled: float
    report: Report


def clock_set_back(orders: int = 5) -> Shifted:
    """An order is lost, the clock is set back, and trading goes on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clock = folder / "clock"
        with shooting_range(folder, {CLOCK: str(clock)}, wsgi=WSGI) as range_, httpx.Client(
            base_url=range_.served.url, timeout=60.0, trust_env=False
        ) as http:
            desk = _Desk(range_, http, "clock")
            range_.served.simulator.faults(
                {"route": "POST /orders", "fault": "close_before_accept", "count": 1}
            )
            lost = desk.enter()
            assert lost.outcome is Outcome.UNKNOWN, lost
            clock.write_text(str(-_HOUR))
            accepted = sum(desk.enter().outcome is Outcome.ACCEPTED for _ in range(orders))
            settled = range_.books.settle(_PATIENCE)
            report = compare(range_.books, desk.clients, desk.sent)
    return Shifted(accepted, settled.seconds, report)
