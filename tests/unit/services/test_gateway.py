"""The container of the services: where its state lies, what recurs, and that it gives back."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.base import Clock
from broker.slots import MemorySlotStore
from database import idempotency, jobs
from database.engine import Database
from database.errors import DatabaseUnavailable
from services.gateway import Gateway, state_dir
from tests.support.clocks import ManualClock
from utils.config import Settings, load_settings


def settings_with(folder: Path, **changes: str) -> Settings:
    return load_settings(
        env_file=None,
        environ={
            "DATABASE_URL": f"sqlite:///{folder / 'openalgo.db'}",
            "LOG_DIR": str(folder / "log"),
            "SECRET_KEY": "0f4c5e9a7b" * 4,
            "API_KEY_PEPPER": "9a7b0f4c5e" * 4,
        }
        | changes,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gateway(tmp_path: Path, clock: ManualClock) -> Any:
    def slots(directory: Path, clock: Clock) -> MemorySlotStore:
        return MemorySlotStore(clock)

    gateway = Gateway(settings_with(tmp_path), clock=clock, slots=slots)
    yield gateway
    gateway.close()


def test_state_goes_with_the_database(tmp_path: Path) -> None:
    beside = state_dir(settings_with(tmp_path))
    assert beside == tmp_path / "state"
    one = state_dir(settings_with(tmp_path, DATABASE_URL="postgresql://u:p@127.0.0.1/one"))
    two = state_dir(settings_with(tmp_path, DATABASE_URL="postgresql://u:p@127.0.0.1/two"))
    assert one != two
    assert "p@" not in str(one)


def test_building_it_makes_no_file(gateway: Gateway, tmp_path: Path) -> None:
    assert not (tmp_path / "openalgo.db").exists()
    assert not list(tmp_path.glob("state/locks/*"))


def test_an_empty_database_is_migrated_at_start(gateway: Gateway) -> None:
    gateway.start_background()
    assert gateway.access.has_users() is False
    assert {work.name for work in gateway.scheduler.list()} == {
        "anomalies", "backup", "certificates", "contracts", "figures", "host", "prune", "ready",
        "reconcile", "risk", "secrets", "sessions", "trading figures", "write down",
    }  # fmt: skip


def test_the_first_reconciliation_looks_at_the_whole_day(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    fake = SimpleNamespace(
        on_start=lambda: seen.append("on_start"), run_once=lambda: seen.append("run_once")
    )
    monkeypatch.setattr(gateway, "reconciler", fake)
    for _ in range(3):
        gateway._reconcile()
    assert seen == ["on_start", "run_once", "run_once"]


def test_contracts_are_loaded_one_after_the_other_for_brokers_that_are_on(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def refresh(names: list[str]) -> list[Any]:
        seen.append(f"start {names[0]}")
        return [SimpleNamespace(id=names[0])]

    contracts = SimpleNamespace(
        refresh=refresh, wait=lambda job, patience: seen.append(f"wait {job}"), close=lambda: None
    )
    accounts = SimpleNamespace(
        all=lambda: [SimpleNamespace(broker=name) for name in ("a", "off", "b", "a")],
        is_broker_enabled=lambda name: (name != "off", ""),
    )
    monkeypatch.setattr(gateway, "master_contract", contracts)
    monkeypatch.setattr(gateway, "accounts", accounts)
    gateway._refresh_contracts()
    assert seen == ["start a", "wait a", "start b", "wait b"]


def test_what_is_old_is_pruned(gateway: Gateway, clock: ManualClock) -> None:
    gateway.database.upgrade()
    with gateway.database.write() as conn:
        job, _ = jobs.enqueue(conn, "master_contract", "x", "me", at=clock.now())
        jobs.finish(conn, job.id, jobs.JobState.DONE, at=clock.now(), report={})
    gateway._prune()
    with gateway.database.read() as conn:
        assert jobs.get(conn, job.id) is not None
    clock.advance(timedelta(days=91).total_seconds())
    gateway._prune()
    with gateway.database.read() as conn:
        assert jobs.get(conn, job.id) is None
        assert idempotency.unfinished(conn) == []


def test_it_can_be_built_before_a_fork(gateway: Gateway) -> None:
    gateway.database.upgrade()
    assert gateway.access.has_users() is False
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"%d" % gateway.access.has_users())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"0"
    os.close(reading)
    os.close(writing)
    assert gateway.access.has_users() is False


def test_a_database_that_is_away_at_the_start_is_asked_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot begin makes gunicorn give up the whole server."""

    def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("the database system is starting up")

    with monkeypatch.context() as broken:
        broken.setattr(Database, "read", gone)
        broken.setattr(Database, "write", gone)
        gateway.start_background()
    assert gateway.scheduler.run("settle in")
    assert gateway.access.has_users() is False
    assert gateway.scheduler.renew()


def test_closing_twice_is_no_error(gateway: Gateway) -> None:
    gateway.start_background()
    gateway.close()
    gateway.close()


def test_redis_is_asked_where_it_is_configured(tmp_path: Path) -> None:
    nowhere = settings_with(
        tmp_path,
        DATABASE_URL="postgresql://u:p@127.0.0.1:1/none",
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    gateway = Gateway(nowhere)
    checks = {check.name: check.ok for check in gateway.health.check_storage().checks}
    assert checks == {"database": False, "redis": False}
    gateway.database.dispose()
