"""The daily history: what was counted is written down, what can be counted is counted again.

Every process writes down its own tally (`utils.tally`) each half minute and at its end, so a day's
figures add up over workers, restarts and hosts; a process that is killed loses half a minute. The
process that holds the scheduler's lease sets what other tables know (orders by outcome). Figures
are kept for 90 days.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from broker.base import Clock
from database import figures, journal_counts
from database.engine import Database
from database.errors import StorageError
from database.intents import IntentState
from utils.clock import start_of_trading_day, trading_day
from utils.tally import DAY, Tally, quantile

log = logging.getLogger(__name__)

KEPT = timedelta(days=90)
ORDERS, TRADES, POSITIONS, USERS = "orders", "trades", "active_positions", "active_users"

_NOT_COUNTED = ("received", "sending")
_CATCH_UP = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Day:
    """The figures of one trading day, by name and label."""

    day: date
    values: dict[str, dict[str, float]]

    def of(self, name: str) -> dict[str, float]:
        """The values of one name, by label."""
        return self.values.get(name, {})

    def total(self, name: str) -> float:
        """The sum over the labels of one name."""
        return sum(self.of(name).values())


class FigureService:
    """Writes the daily history and reads it. `tally` is what this process counts."""

    def __init__(self, database: Database, clock: Clock, tally: Tally = DAY) -> None:
        self._database = database
        self._clock = clock
        self._tally = tally

    def write_down(self) -> None:
        """Add this process's tally to the day. What can't be written is kept for the next time."""
        counted = self._tally.drain()
        if not counted:
            return
        try:
            with self._database.write(durable=False) as conn:
                figures.add(conn, self._today(), counted)
        except StorageError:
            self._tally.add_all(counted)

    def count_again(self) -> None:
        """Set what the journal knows of today, and of yesterday just after midnight."""
        now = self._clock.now()
        for moment in dict.fromkeys((now - _CATCH_UP, now), None):
            start = start_of_trading_day(moment)
            with self._database.read() as conn:
                states = journal_counts.orders_by_state(conn, start, start + timedelta(days=1))
                counted = {(ORDERS, state): float(count) for state, count in states.items()}
                if trading_day(moment) == self._today():  # of yesterday nobody knows any more
                    counted[USERS, ""] = journal_counts.users_active_since(conn, start)
            # A state that no order is in any more must not keep its old count.
            zeros = {(ORDERS, state.value): 0.0 for state in IntentState}
            self.put({**zeros, **counted}, trading_day(moment))

    def put(self, values: figures.Values, day: date | None = None) -> None:
        """Make these the figures of a day (today's), whatever they were before."""
        with self._database.write(durable=False) as conn:
            figures.put(conn, day or self._today(), values)

    def days(self, count: int) -> list[Day]:
        """The last so many trading days with today, the oldest first; days without figures too."""
        today = self._today()
        wanted = [today - timedelta(days=back) for back in range(count - 1, -1, -1)]
        found = {day: Day(day, {}) for day in wanted}
        with self._database.read() as conn:
            rows = figures.between(conn, wanted[0], today)
        for row in rows:
            found[row.day].values.setdefault(row.name, {})[row.label] = row.value
        return list(found.values())

    def today(self) -> Day:
        """Today's figures."""
        return self.days(1)[0]

    def summary(self, count: int) -> dict[str, Any]:
        """The last so many days as people and programs ask for them, the oldest first."""
        days = self.days(count)
        return {
            "from": days[0].day.isoformat(),
            "to": days[-1].day.isoformat(),
            "days": [summary_of(day) for day in days],
        }

    def prune(self) -> int:
        """Delete the figures of days that have been kept long enough; how many."""
        with self._database.write() as conn:
            return figures.prune(conn, self._today() - KEPT)

    def _today(self) -> date:
        return trading_day(self._clock.now())


def summary_of(day: Day) -> dict[str, Any]:
    """A day's figures as people ask for them, None of nothing: counts, milliseconds, percent."""
    orders = {state: int(count) for state, count in sorted(day.of(ORDERS).items())}
    placed = sum(count for state, count in orders.items() if state not in _NOT_COUNTED)
    api, broker = day.of("api_calls"), day.of("broker_calls")
    calls, broker_calls = sum(api.values()), sum(broker.values())
    hits, misses = day.total("cache_hits"), day.total("cache_misses")
    return {
        "day": day.day.isoformat(),
        "orders": orders,
        "orders_per_day": sum(orders.values()),
        "order_success_rate": _percent(orders.get("accepted", 0), placed),
        "trades_per_day": int(day.total(TRADES)),
        "api_calls": int(calls),
        "api_error_rate": _percent(api.get("5xx", 0), calls),
        "api_response_ms": _milliseconds(day.total("api_seconds"), calls),
        "api_p95_ms": _p95(day.of("api_within")),
        "broker_calls": int(broker_calls),
        "broker_error_rate": _percent(broker.get("failed", 0), broker_calls),
        "broker_response_ms": _milliseconds(day.total("broker_seconds"), broker_calls),
        "broker_p95_ms": _p95(day.of("broker_within")),
        "throttled_requests": int(day.total("throttled")),
        "authentication_failures": int(day.total("authentication_failures")),
        "token_lookup_failures": int(day.total("token_lookup_failures")),
        "circuit_opened": int(day.total("circuit_opened")),
        "cache_hit_rate": _percent(hits, hits + misses),
        "active_users": int(day.total(USERS)),
    }


def _percent(part: float, whole: float) -> float | None:
    return round(100 * part / whole, 3) if whole else None


def _milliseconds(seconds: float, calls: float) -> float | None:
    return round(1000 * seconds / calls, 2) if calls else None


def _p95(counts: dict[str, float]) -> float | None:
    bound = quantile(counts, 0.95)
    return None if bound is None or bound == float("inf") else bound * 1000
