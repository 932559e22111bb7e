"""Quality scenarios (docs/QS-Catalog.md), each judged by live figures: PASS, FAIL or NO DATA.

A verdict needs evidence. Where nothing was measured, or too little to mean anything, it is NO
DATA: never a PASS. What is measured comes from the daily history, the journal and the alarms, so
the verdict holds for all workers and over restarts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from broker.base import Clock
from database import journal_counts
from database.engine import Database
from database.errors import StorageError
from services.alarms import AlarmService
from services.failures import FailureService
from services.figures import ORDERS, Day, FigureService
from services.live_figures import newest_backup
from services.reconciler import ORDER_TWICE
from utils.clock import start_of_trading_day
from utils.config import Settings
from utils.tally import share_within

DAYS = 7
SETTLED_WITHIN = timedelta(seconds=60)
BACKUP_AGE = timedelta(minutes=20)
FEWEST = 20
"""Observations without which a share means nothing."""


class Verdict(StrEnum):
    """PASS and FAIL need evidence; NO_DATA says that there is none."""

    PASS = "PASS"  # noqa: S105 (a verdict)
    FAIL = "FAIL"
    NO_DATA = "NO DATA"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked of the gateway. `code` is its heading in the catalogue."""

    code: str
    title: str
    measure: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """A scenario and how it stands: the verdict, what was measured, from how many observations."""

    scenario: Scenario
    verdict: Verdict
    measured: str
    observations: int

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "code": self.scenario.code,
            "title": self.scenario.title,
            "measure": self.scenario.measure,
            "measured": self.measured,
            "observations": self.observations,
            "verdict": self.verdict.value,
        }


ONCE = Scenario("A1", "No order is sent twice", "0 orders that the broker holds twice")
ACCEPTED = Scenario("A2", "Orders get through", "at least 95 % of orders accepted by the broker")
FAST_FAIL = Scenario(
    "A3", "A broker that is down costs no time", "99 % of refusals under an open circuit in 100 ms"
)
KNOWN = Scenario(
    "A4", "No order stays unknown", "0 orders whose fate has been unknown for a minute"
)
ERRORS = Scenario("B1", "The API does not fail", "more than 99.9 % of API calls without a 5xx")
OWN_TIME = Scenario("B2", "The gateway itself is fast", "95 % of API calls under 200 ms of our own")
TOTAL_TIME = Scenario("B3", "Answers come in time", "99 % of API calls answered within 1 s")
BROKER = Scenario("C1", "The broker's API works", "at least 95 % of calls to brokers succeed")
BROKER_TIME = Scenario("C2", "The broker answers in time", "95 % of calls to brokers within 5 s")
TURN = Scenario("C3", "Turns come soon", "95 % of waits for the broker's limits within 2.5 s")
CACHE = Scenario("D1", "Caches work", "more than 80 % of look-ups answered from memory")
EXPECTED = Scenario("D2", "No error surprises", "0 unhandled errors")
BACKUP = Scenario(
    "E1", "A loss is small", "newest backup, made every 15 minutes, at most 20 minutes old"
)

SCENARIOS = (
    ONCE, ACCEPTED, FAST_FAIL, KNOWN, ERRORS, OWN_TIME, TOTAL_TIME, BROKER, BROKER_TIME, TURN,
    CACHE, EXPECTED, BACKUP,
)  # fmt: skip

_ENDED = ("accepted", "rejected", "unknown", "absent", "not_sent")


class QualityService:
    """Judges every scenario over the last days."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        figures: FigureService,
        alarms: AlarmService,
        failures: FailureService,
    ) -> None:
        self._backups = settings.backup_dir
        self._database = database
        self._clock = clock
        self._figures = figures
        self._alarms = alarms
        self._failures = failures

    def judge(self, days: int = DAYS) -> list[Judgement]:
        """All scenarios, in the order of the catalogue; NO DATA for all without a database."""
        try:
            judged = self._judge(days)
        except StorageError:
            judged = [_nothing(scenario, "the database is not available") for scenario in SCENARIOS]
        order = {scenario.code: number for number, scenario in enumerate(SCENARIOS)}
        return sorted(judged, key=lambda judgement: order[judgement.scenario.code])

    def _judge(self, days: int) -> list[Judgement]:
        now = self._clock.now()
        seen = self._figures.days(days)
        since = start_of_trading_day(now) - timedelta(days=days - 1)
        with self._database.read() as conn:
            borne_out = journal_counts.orders_borne_out(conn, since)
            sent = journal_counts.orders_sent(conn, since)
            unknown = journal_counts.orders_unknown_since(conn, now - SETTLED_WITHIN)
        twice = [
            row
            for row in self._alarms.history(1000)
            if row.rule == ORDER_TWICE and row.updated_at >= since
        ]
        unexpected = sum(row.seen for row in self._failures.list(1000) if row.last_at >= since)
        calls = sum(int(day.total("api_calls")) for day in seen)
        return [
            *judge_figures(seen),
            _judge_zero(ONCE, len(twice), borne_out, "orders seen in a book"),
            _judge_zero(KNOWN, unknown, sent, "orders sent"),
            _judge_zero(EXPECTED, unexpected, calls, "API calls"),
            self._judge_backup(now),
        ]

    def _judge_backup(self, now: datetime) -> Judgement:
        if not self._backups.is_dir():
            return _nothing(BACKUP, "the folder of the backups is not there")
        newest = newest_backup(self._backups)
        if not newest:
            return Judgement(BACKUP, Verdict.FAIL, "there is no backup", 0)
        age = now.timestamp() - newest
        verdict = Verdict.PASS if age <= BACKUP_AGE.total_seconds() else Verdict.FAIL
        return Judgement(BACKUP, verdict, f"{age / 60:.0f} minutes old", 1)


def judge_figures(days: Sequence[Day]) -> list[Judgement]:
    """The scenarios that the daily figures decide."""
    sums: dict[str, Counter[str]] = {}
    for day in days:
        for name, values in day.values.items():
            sums.setdefault(name, Counter()).update(values)

    def of(name: str) -> dict[str, float]:
        return dict(sums.get(name, {}))

    orders = {state: of(ORDERS).get(state, 0.0) for state in _ENDED}
    api, broker = of("api_calls"), of("broker_calls")
    hits, misses = sum(of("cache_hits").values()), sum(of("cache_misses").values())
    return [
        _judge_share(ACCEPTED, orders["accepted"], sum(orders.values()), 0.95),
        _judge_within(FAST_FAIL, of("fast_fail_within"), 0.1, 0.99, fewest=1),
        _judge_share(ERRORS, _all_but(api, "5xx"), sum(api.values()), 0.999, above=True),
        _judge_within(OWN_TIME, of("api_own_within"), 0.2, 0.95),
        _judge_within(TOTAL_TIME, of("api_within"), 1.0, 0.99),
        _judge_share(BROKER, _all_but(broker, "failed"), sum(broker.values()), 0.95),
        _judge_within(BROKER_TIME, of("broker_within"), 5.0, 0.95),
        _judge_within(TURN, of("wait_within"), 2.5, 0.95),
        _judge_share(CACHE, hits, hits + misses, 0.80, above=True),
    ]


def _judge_share(
    scenario: Scenario, good: float, of: float, least: float, *, above: bool = False,
    fewest: int = FEWEST,
) -> Judgement:
    """Whether the share of the good ones is at least `least` (with `above`: more than that)."""
    count = round(of)
    if count < fewest:
        return _nothing(scenario, f"{count} observations, at least {fewest} are needed", count)
    share = good / of
    passed = share > least if above else share >= least
    words = f"{math.floor(share * 100_000) / 1000:g} %"  # never rounded up to what it is not
    return Judgement(scenario, Verdict.PASS if passed else Verdict.FAIL, words, count)


def _judge_within(
    scenario: Scenario, counts: dict[str, float], bound: float, least: float, *,
    fewest: int = FEWEST,
) -> Judgement:
    """Whether the share of the values up to `bound` (seconds) is at least `least`."""
    within = share_within(counts, bound) or 0.0
    total = sum(counts.values())
    judged = _judge_share(scenario, within * total, total, least, fewest=fewest)
    if judged.verdict is Verdict.NO_DATA:
        return judged
    return replace(judged, measured=f"{judged.measured} within {bound:g} s")


def _judge_zero(scenario: Scenario, found: int, evidence: int, what: str) -> Judgement:
    """Whether nothing was found; that nothing was looked at is no pass."""
    if found:
        return Judgement(scenario, Verdict.FAIL, f"{found} of {evidence} {what}", evidence)
    if not evidence:
        return _nothing(scenario, f"no {what} yet")
    return Judgement(scenario, Verdict.PASS, f"0 of {evidence} {what}", evidence)


def _nothing(scenario: Scenario, why: str, observations: int = 0) -> Judgement:
    return Judgement(scenario, Verdict.NO_DATA, why, observations)


def _all_but(counts: dict[str, float], bad: str) -> float:
    return sum(value for label, value in counts.items() if label != bad)
