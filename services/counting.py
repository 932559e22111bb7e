"""What the application counts while it works: every event once, for Prometheus and for the day.

Each function is one event. Its Prometheus series has bounded labels (utils/metrics.py); what the
daily history and the quality scenarios need is counted beside it (utils/tally.py). Nothing here
raises, and a call costs a few microseconds at the most.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.breaker import BreakerState
from utils.metrics import SECONDS, counter, gauge, histogram
from utils.tally import DAY, Buckets

HEALTHY = frozenset({"ok", "refused", "not_found", "invalid_order"})
"""Outcomes of a broker call that speak for the broker's health: it answered, and was understood."""

FAST_FAIL = "circuit_open"
CREDENTIALS = ("api_key", "password", "broker")
LIMITS = ("api", "order", "smart", "login", "queue", "broker")

_API = histogram(
    "openalgo_api_request_seconds",
    "Time of API calls, by route and HTTP status.",
    ("route", "status"),
)
_BROKER = histogram(
    "openalgo_broker_call_seconds",
    "Time of calls to brokers on the wire, by account, operation and outcome.",
    ("account", "operation", "outcome"),
)
_WAITS = histogram(
    "openalgo_broker_wait_seconds",
    "Time that calls waited for their turn under the broker's limits.",
    ("account", "operation"),
)
_THROTTLED = counter(
    "openalgo_throttled_requests_total",
    "Requests refused for calling too often, by the limit that refused them.",
    ("limit",),
)
_AUTHENTICATION = counter(
    "openalgo_authentication_failures_total",
    "Credentials that were refused: API keys and passwords by us, logins by a broker.",
    ("credential",),
)
_LOOKUPS = counter(
    "openalgo_token_lookup_failures_total",
    "Symbols for which the broker's master contract has no token.",
    ("broker",),
)
_FAST_FAILS = histogram(
    "openalgo_fast_fail_seconds",
    "Time of API calls that were refused because the broker's circuit is open.",
)
_CIRCUITS = gauge(
    "openalgo_circuit_state",
    "Circuit breaker of a broker's API: 0 closed, 1 half open, 2 open; the worst of the workers.",
    ("circuit",),
    across_workers="livemax",
)
_EXECUTION = histogram(
    "trade_execution_latency_seconds",
    "Time from the receipt of an order to the broker's acceptance.",
)
_CACHE = counter(
    "openalgo_cache_requests_total",
    "Look-ups in a cache of a worker, by whether it had the answer.",
    ("cache", "result"),
)
_POOL = gauge(
    "openalgo_database_connections",
    "Connections to the database: in use, and the most there may be; of all workers.",
    ("state",),
)
_LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
_BUCKETS = Buckets(SECONDS)

for _credential in CREDENTIALS:  # a series that is there from the start has no first increase
    _AUTHENTICATION.inc(0, credential=_credential)
for _limit in LIMITS:
    _THROTTLED.inc(0, limit=_limit)


def know_brokers(names: Iterable[str]) -> None:
    """Have the series of these brokers from the start."""
    for name in names:
        _LOOKUPS.inc(0, broker=name)


def api_call(route: str, status: int, seconds: float, own: float, code: str = "") -> None:
    """An API call was answered after `seconds`, of which `own` were neither wait nor broker."""
    _API.observe(seconds, route=route, status=status)
    DAY.add_all({
        ("api_calls", f"{status // 100}xx"): 1,
        ("api_seconds", ""): seconds,
        ("api_within", _BUCKETS.label(seconds)): 1,
        ("api_own_within", _BUCKETS.label(own)): 1,
    })
    if not code:
        return
    if code == FAST_FAIL:
        _FAST_FAILS.observe(seconds)
        DAY.add("fast_fail_within", _BUCKETS.label(seconds))
    elif status == 429 and code != "rate_limit":  # that one is counted where it is decided
        throttled("broker" if code == "rate_limited" else "queue")


def broker_call(account: str, operation: str, outcome: str, seconds: float) -> None:
    """A call to a broker ended as `outcome`: "ok" or the kind of its error."""
    _BROKER.observe(seconds, account=account, operation=operation, outcome=outcome)
    if outcome == FAST_FAIL:
        return  # it never went out
    DAY.add_all({
        ("broker_calls", "ok" if outcome in HEALTHY else "failed"): 1,
        ("broker_seconds", ""): seconds,
        ("broker_within", _BUCKETS.label(seconds)): 1,
    })


def broker_wait(account: str, operation: str, seconds: float) -> None:
    """A call waited for its turn under a broker's limits."""
    _WAITS.observe(seconds, account=account, operation=operation)
    DAY.add("wait_within", _BUCKETS.label(seconds))


def throttled(limit: str) -> None:
    """A request was refused for calling too often; `limit` is one of `LIMITS`."""
    _THROTTLED.inc(limit=limit)
    DAY.add("throttled", limit)


def authentication_failed(credential: str) -> None:
    """A credential was refused; `credential` is one of `CREDENTIALS`."""
    _AUTHENTICATION.inc(credential=credential)
    DAY.add("authentication_failures", credential)


def lookup_failed(broker: str) -> None:
    """A symbol was asked for that the broker's master contract does not have."""
    _LOOKUPS.inc(broker=broker)
    DAY.add("token_lookup_failures", broker)


def order_accepted(seconds: float) -> None:
    """A broker accepted an order, `seconds` after it was received."""
    _EXECUTION.observe(seconds)
    DAY.add("execution_within", _BUCKETS.label(seconds))


def cache_used(cache: str, hits: int, misses: int) -> None:
    """A cache was asked so often since the last time."""
    _CACHE.inc(hits, cache=cache, result="hit")
    _CACHE.inc(misses, cache=cache, result="miss")
    if hits or misses:
        DAY.add_all({("cache_hits", cache): hits, ("cache_misses", cache): misses})


def pool_in_use(used: int, most: int) -> None:
    """So many connections of this process are in use, of so many that there may be."""
    _POOL.set(used, state="used")
    _POOL.set(most, state="most")


def circuit_changed(name: str, state: BreakerState) -> None:
    """The circuit called `name` (a broker's host and API) changed its state."""
    _CIRCUITS.set(_LEVELS[state], circuit=name)
    if state is BreakerState.OPEN:
        DAY.add("circuit_opened", name)
