"""Compares the three books: what clients were told, the journal, and the simulator's truth."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from benchmarks.servers import PROFILE, Served
from services.bearing_out import ORDER_LOST
from services.reconciler import ORDER_TWICE, UNSETTLED_ORDERS
from tests.faults.clients import Clients, Outcome, Told
from tests.faults.wishes import Terms, Wish, terms_at_venue

UNSETTLED = ("received", "sending", "unknown")


_LATEST = 30.0


@dataclass(frozen=True, slots=True)
class Settled:
    """After how many seconds nothing was open any more; `told`: what took longer than allowed was
    an alarm by then."""

    seconds: float
    told: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One placed order as the journal holds it."""

    reference: str
    tag: str
    state: str
    order_id: str | None
    key: str | None
    terms: Terms


class Books:
    """Reads journal and alarms of a served gateway, beside it."""

    def __init__(self, served: Served) -> None:
        url = sa.make_url(served.environ["DATABASE_URL"])
        if url.get_backend_name() == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        self._engine = sa.create_engine(url, pool_pre_ping=True)
        self._simulator = served.simulator

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def journal(self) -> list[Entry]:
        """Every placed order."""
        rows = self._rows(
            "SELECT reference, tag, state, broker_order_id, client_order_id, side, quantity, price "
            "FROM order_intents WHERE kind = 'place' ORDER BY id"
        )
        return [
            Entry(*row[:5], terms=(row[5], row[6], Decimal(str(row[7])).normalize()))
            for row in rows
        ]

    def cancelled(self, order_id: str) -> str | None:
        """The state of the last cancellation of a broker's order."""
        rows = self._rows(
            "SELECT target_order_id, state FROM order_intents WHERE kind = 'cancel' ORDER BY id"
        )
        return next((row[1] for row in reversed(rows) if row[0] == order_id), None)

    def unsettled(self) -> int:
        """How many intents have no outcome yet."""
        named = ", ".join(f"'{state}'" for state in UNSETTLED)
        found = self._rows(f"SELECT count(*) FROM order_intents WHERE state IN ({named})")
        return int(found[0][0])

    def alarms(self, rule: str) -> list[str]:
        """Subjects of the open alarms of a rule."""
        rows = self._rows("SELECT rule, subject FROM alarms WHERE closed_at IS NULL")
        return [row[1] for row in rows if row[0] == rule]

    def _rows(self, statement: str) -> list[Any]:
        with self._engine.connect() as conn:
            return list(conn.execute(sa.text(statement)))

    def truth(self) -> list[dict[str, Any]]:
        """Every order request that the simulator received."""
        return self._simulator.orders(PROFILE)

    def lost_without_alarm(self) -> list[str]:
        """Orders that the venue accepted and dropped, and that nobody has been told about."""
        told = {subject.rpartition("/")[2] for subject in self.alarms(ORDER_LOST)}
        dropped = {record["tag"] for record in self.truth() if record["dropped"]}
        return [
            entry.reference for entry in self.journal()
            if entry.tag in dropped and entry.reference not in told
        ]

    def settle(self, seconds: float) -> Settled:
        """Wait until nothing is open, and see whether what is late is an alarm at least."""
        began = time.monotonic()
        told = True
        while self.unsettled() or self.lost_without_alarm():
            waited = time.monotonic() - began
            if waited >= seconds and not self.alarms(UNSETTLED_ORDERS):
                told = False
            if waited >= seconds + _LATEST:
                break
            time.sleep(0.1)
        return Settled(time.monotonic() - began, told)


@dataclass
class Report:
    """What the comparison found. Every list must be empty."""

    twice: list[str] = field(default_factory=list)
    not_there: list[str] = field(default_factory=list)
    wrongly_failed: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    never_settled: list[str] = field(default_factory=list)
    lost_in_silence: list[str] = field(default_factory=list)
    not_in_journal: list[str] = field(default_factory=list)
    server_errors: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def wrong(self) -> dict[str, list[str]]:
        """Everything that must not be."""
        return {
            name: value for name, value in vars(self).items()
            if isinstance(value, list) and value
        }


def compare(books: Books, clients: Clients, wishes: Sequence[Wish]) -> Report:
    """Hold the three books against each other."""
    report = Report()
    truth = books.truth()
    journal = books.journal()
    executed: dict[Terms, list[dict[str, Any]]] = {}
    for record in truth:
        if record["accepted"]:
            executed.setdefault(terms_at_venue(record), []).append(record)
    by_id = {str(record["app_order_id"]): record for record in truth if record["accepted"]}
    told = clients.by_wish()
    for wish in wishes:
        _judge_wish(report, wish, executed.get(wish.terms, []), told.get(wish.number, []), by_id)
    _judge_journal(report, journal, truth, by_id)
    report.never_settled = [entry.reference for entry in journal if entry.state in UNSETTLED]
    report.lost_in_silence = books.lost_without_alarm()
    report.twice += books.alarms(ORDER_TWICE)
    report.figures = _figures(truth, journal, told)
    return report


def _judge_wish(
    report: Report,
    wish: Wish,
    executed: list[dict[str, Any]],
    told: list[Told],
    by_id: dict[str, dict[str, Any]],
) -> None:
    name = f"wish {wish.number} ({wish.manner.name}, {wish.quantity} at {wish.price})"
    if len(executed) > 1:
        report.twice.append(f"{name}: {[item['app_order_id'] for item in executed]}")
    outcomes = [item.outcome for item in told]
    ids = {str(item.body.get("orderid")) for item in told if item.outcome is Outcome.ACCEPTED}
    for order_id in ids:
        record = by_id.get(order_id)
        if record is None or terms_at_venue(record) != wish.terms:
            report.not_there.append(f"{name}: told {order_id}")
    stands = [item for item in executed if item["status"] != "Rejected"]
    silent = all(item in (Outcome.FAILED, Outcome.NOT_NOW) for item in outcomes)
    if stands and outcomes and (silent or outcomes[-1] is Outcome.FAILED):
        words = [f"{item.status} {item.body.get('message')}" for item in told]
        report.wrongly_failed.append(f"{name}: {words}")
    if len(ids) > 1 or (ids and Outcome.FAILED in outcomes):
        report.contradictions.append(f"{name}: {[(item.status, item.body) for item in told]}")
    report.server_errors += [f"{name}: {item.body}" for item in told if item.status == 500]


def _judge_journal(
    report: Report,
    journal: Sequence[Entry],
    truth: Sequence[dict[str, Any]],
    by_id: dict[str, dict[str, Any]],
) -> None:
    taken = {str(item["tag"]): item for item in truth if item["accepted"]}
    for entry in journal:
        record = taken.get(entry.tag)
        stands = record is not None and record["status"] != "Rejected"
        if entry.state == "accepted":
            found = by_id.get(str(entry.order_id))
            if found is None or found["tag"] != entry.tag:
                report.not_there.append(f"journal {entry.reference}: {entry.order_id}")
        elif stands and entry.state not in UNSETTLED:
            report.wrongly_failed.append(f"journal {entry.reference}: {entry.state}")
    known = {entry.tag for entry in journal}
    report.not_in_journal = [str(item["tag"]) for item in truth if item["tag"] not in known]


def _figures(
    truth: Sequence[dict[str, Any]],
    journal: Sequence[Entry],
    told: dict[int, list[Told]],
) -> dict[str, Any]:
    closed = [item for item in truth if item["fault"] == "accept_then_close"]
    by_terms = {items[0].wish.terms: items for items in told.values()}
    good = sum(_was_success(item, by_terms.get(terms_at_venue(item), [])) for item in closed)
    return {
        "requests at the venue": len(truth),
        "faults": dict(Counter(item["fault"] for item in truth if item["fault"])),
        "journal": dict(Counter(entry.state for entry in journal)),
        "come_again": dict(Counter(
            str(item.body.get("code")) for items in told.values() for item in items
            if item.outcome is Outcome.NOT_NOW
        )),
        "answers": dict(Counter(item.outcome.value for items in told.values() for item in items)),
        "accepted_then_closed": len(closed),
        "accepted_then_closed_told_as_success": good,
    }


def _was_success(record: dict[str, Any], answers: Sequence[Told]) -> bool:
    """Whether the very request that met this fate was answered with success."""
    at = record["received_at"] / 1e9
    return any(
        item.began <= at <= item.ended and item.outcome is Outcome.ACCEPTED for item in answers
    )
