"""Fixtures for every test, and the word about what a machine could not test.

PostgreSQL, Redis and Chromium are used where they are: at `TEST_POSTGRES_URL`, `TEST_REDIS_URL`
and `CHROMIUM_PATH`, or in their usual places; so are nginx, supervisord and others. Where one is
missing its tests are left out, and the summary says so; with `REQUIRE_SERVICES=1` (set by
`.ci/run`) leaving out is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coverage
import pytest

from tests.support.programs import PROGRAMS, missing

if TYPE_CHECKING:
    from simulator.testing import Simulator

_LEFT_OUT = "left out: "
_LONGEST_FIRST = ("faults", "api", "operations", "contract", "integration", "web")
"""Folders whose files take longest. `--dist loadfile` hands files out in the order of the tests:
whatever begins last should be short, or one worker is waited for while the others have nothing."""
_MEASURED = 3
"""Of how many variants of one parametrised test the coverage is measured. Measuring doubles the
time of a test; the two thousand bodies that one route refuses all take the same way."""

_UNMEASURED = ("faults", "operations")
"""Folders whose child processes run without coverage: what they start is started elsewhere too, and
measuring it there costs minutes."""


@cache
def _postgres_fault() -> str | None:
    import psycopg

    url = _postgres_server()
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        return f"no PostgreSQL at {_without_password(url)} ({str(error).splitlines()[0]})"
    return None


@cache
def _redis_fault() -> str | None:
    import redis

    client = redis.Redis.from_url(_redis_server(), socket_connect_timeout=3)
    try:
        client.ping()
    except redis.RedisError as error:
        return f"no Redis at {_without_password(_redis_server())} ({type(error).__name__})"
    finally:
        client.close()
    return None


@cache
def _chromium_fault() -> str | None:
    return None if _chromium() else "no Chromium (install it, or set CHROMIUM_PATH)"


@cache
def _netns_fault() -> str | None:
    from tests.support import netns

    return netns.fault()


_FAULTS: dict[str, Callable[[], str | None]] = {
    "postgres": _postgres_fault,
    "redis": _redis_fault,
    "chromium": _chromium_fault,
    "netns": _netns_fault,
    **{mark: partial(missing, mark) for mark in PROGRAMS},
}


def _postgres_server() -> str:
    return os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")


def _redis_server() -> str:
    return os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/15")


def _chromium() -> str | None:
    named = os.environ.get("CHROMIUM_PATH")
    if named:
        return named if Path(named).is_file() else None
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def _without_password(url: str) -> str:
    return url.rpartition("@")[2] or url


def _need(service: str) -> None:
    """Leave the test out, or fail it where everything must be there, when a service is missing."""
    fault = _FAULTS[service]()
    if fault is None:
        return
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"REQUIRE_SERVICES=1, but there is {fault}", pytrace=False)
    pytest.skip(f"{_LEFT_OUT}{fault}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, in a run of everything on several workers."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return _LONGEST_FIRST.index(folder) if folder in _LONGEST_FIRST else len(_LONGEST_FIRST)


_variants: Counter[str] = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure no coverage for further variants of a test; see `_MEASURED`."""
    test = item.nodeid.partition("[")[0]
    _variants[test] += 1
    measuring = coverage.Coverage.current() if _variants[test] > _MEASURED else None
    if measuring is None:
        return (yield)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked postgres, redis, nginx, … need that service or program."""
    for service in _FAULTS:
        if item.get_closest_marker(service) is not None:
            _need(service)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say plainly what this machine could not test."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reason = str(report.longrepr[2]).removeprefix("Skipped: ")
            if reason.startswith(_LEFT_OUT):
                text = reason.removeprefix(_LEFT_OUT)
                reasons[text] = reasons.get(text, 0) + 1
    for reason, count in reasons.items():
        terminalreporter.write_line(f"LEFT OUT: {count} tests, {reason}", yellow=True)
    _tell_times(terminalreporter)


def _tell_times(terminalreporter: Any) -> None:
    """Where a run of everything spent its time: seconds of all workers by folder of tests."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                parts = report.nodeid.partition("::")[0].split("/")
                seconds["/".join(parts[1 : 3 if parts[1] == "unit" else 2])] += report.duration
    if sum(seconds.values()) > 60.0:
        longest = sorted(seconds.items(), key=lambda item: -item[1])
        told = ", ".join(f"{name} {spent:.0f}" for name, spent in longest)
        terminalreporter.write_line(f"SECONDS BY FOLDER: {told}")


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """Hash passwords at the least cost: a tenth of a second for each user adds up to minutes."""
    from argon2 import PasswordHasher

    from database import crypto

    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crypto, "_hasher", lambda: cheap)
        yield


@pytest.fixture(scope="module", autouse=True)
def _children_are_not_measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the children of some folders' tests run without coverage; see `_UNMEASURED`."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.relative_to(Path(__file__).parent).parts[0] in _UNMEASURED:
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """A simulator with the small master contract, shared by the tests of one process.

    A test that changes its behaviour resets it (`POST /_sim/reset`).
    """
    from simulator.testing import start

    with start() as running:
        yield running


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty scratch database on PostgreSQL, dropped afterwards."""
    _need("postgres")
    from tests.support.databases import scratch_postgres_url

    with scratch_postgres_url() as url:
        yield url


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A Redis database for one test at a time, emptied before and after."""
    _need("redis")
    import redis

    client = redis.Redis.from_url(_redis_server())
    with client.lock("test-suite-owns-this-database", timeout=120, blocking_timeout=120):
        _empty(client)
        try:
            yield _redis_server()
        finally:
            _empty(client)
    client.close()


def _empty(client: Any) -> None:
    keys = [key for key in client.scan_iter() if key != b"test-suite-owns-this-database"]
    if keys:
        client.delete(*keys)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The path of a Chromium to drive."""
    _need("chromium")
    found = _chromium()
    assert found is not None
    return found
