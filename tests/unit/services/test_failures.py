"""Unhandled errors: grouped by where they come from, counted, and without a word that was said."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from database.engine import Database
from services.failures import FailureService
from tests.support.clocks import ManualClock
from tests.support.databases import KINDS, scratch_database, sqlite_database
from utils.logging import bound

log = logging.getLogger("test.failures")


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with scratch_database(request.param, tmp_path) as made:
        yield made


def divide(secret: str) -> float:
    return len(secret) / 0


def look_up(secret: str) -> str:
    return {"": ""}[secret]


def fail(work: object, secret: str = "canary-0123456789", level: int = logging.ERROR) -> None:
    try:
        work(secret)  # type: ignore[operator]
    except Exception:
        log.log(level, "it failed for %s", "a reason", exc_info=True)


def counted() -> float:
    return REGISTRY.get_sample_value("openalgo_unhandled_errors_total") or 0.0


def test_errors_are_grouped_counted_and_tell_no_secret(database: Database) -> None:
    clock = ManualClock()
    service = FailureService(database, clock)
    before = counted()
    service.watch()
    service.watch()  # once is enough
    try:
        for number in range(3):
            with bound(request_id=f"r-{number}"):
                fail(divide, f"canary-{number}")
            clock.advance(60)
        fail(look_up)
        fail(divide, level=logging.WARNING)
        log.error("no trace, no group")
        keys, division = service.list()
        assert (keys.kind, keys.seen, keys.request_id) == ("KeyError", 1, "")
        assert (division.kind, division.seen) == ("ZeroDivisionError", 3)
        assert division.request_id == "r-2"
        assert (division.last_at - division.first_at).total_seconds() == 120
        assert division.place == "tests/unit/services/test_failures.py:divide"
        assert division.trail == f"{division.place} < {division.place.replace('divide', 'fail')}"
        assert counted() == before + 4
        clock.advance(1)
        fail(divide)
        assert service.list()[0].seen == 4  # joined with what is stored
        assert "canary" not in repr(service.list())
    finally:
        service.close()
    fail(look_up)
    assert service.list()[0].kind == "ZeroDivisionError"  # nobody watches any more


def test_without_a_database_groups_wait(tmp_path: Path) -> None:
    with sqlite_database(tmp_path, upgraded=False) as database:
        service = FailureService(database, ManualClock())
        service.watch()
        try:
            fail(divide)
            assert service.flush() == 0
            fail(divide)
            database.upgrade()
            assert [group.seen for group in service.list()] == [2]
        finally:
            service.close()
