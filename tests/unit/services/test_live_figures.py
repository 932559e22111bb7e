"""Metrics that are looked at when they are asked for: with a database, and without one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.gateway import Gateway
from services.live_figures import newest_backup
from utils.config import load_settings


def gateway_at(url: str, folder: Path) -> Gateway:
    environ = {
        "DATABASE_URL": url, "LOG_DIR": str(folder / "log"), "STATE_DIR": str(folder / "run"),
        **{name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")},
    }  # fmt: skip
    return Gateway(load_settings(env_file=None, environ=environ))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = gateway_at(f"sqlite:///{tmp_path / 'openalgo.db'}", tmp_path)
    made.database.upgrade()
    yield made
    made.close()


def told(gateway: Gateway) -> dict[str, float]:
    """Series and values, of what is no bucket."""
    lines = gateway.live_figures.exposition().decode().splitlines()
    pairs = [line.rpartition(" ") for line in lines if line[:1] not in ("#", "")]
    return {name: float(value) for name, _, value in pairs if "_bucket" not in name}


def test_what_the_database_knows(gateway: Gateway) -> None:
    gateway.figures.put({
        ("trades", "a|b|sell"): 3.0, ("orders", "accepted"): 7.0, ("active_positions", "a|b"): 1.0,
    })
    gateway.deployments.record("v1.0.0", actor="test")
    gateway.access.create_user("asha", "a long password of asha")
    values = told(gateway)
    assert values['trades_total{direction="sell",strategy="a|b"}'] == 3
    assert values['active_positions{strategy="a|b"}'] == 1
    assert values['openalgo_orders_today{state="accepted"}'] == 7
    assert values["openalgo_users"] == 1
    assert values['openalgo_check_up{check="database"}'] == 1
    made = 'openalgo_deployment_timestamp_seconds{outcome="deployed",version="v1.0.0"}'
    assert abs(values[made] - gateway.clock.now().timestamp()) < 60
    assert values[f'openalgo_process_threads{{pid="{os.getpid()}",role="worker"}}'] > 0
    assert values['openalgo_host_memory_bytes{state="total"}'] > 0


def test_without_a_database_it_says_so_and_asks_once(tmp_path: Path) -> None:
    gateway = gateway_at("postgresql://nobody@127.0.0.1:1/nothing", tmp_path)
    asked: list[object] = []
    for method in ("read", "write", "symbols"):
        original = getattr(gateway.database, method)

        def counted(*args: object, _original: object = original, **more: object) -> object:
            asked.append(_original)
            return _original(*args, **more)  # type: ignore[operator]

        setattr(gateway.database, method, counted)
    values = told(gateway)
    assert values['openalgo_check_up{check="database"}'] == 0
    assert "openalgo_users" not in values
    assert any(name.startswith("openalgo_host_") for name in values)
    assert len(asked) == 1
    gateway.database.dispose()


def test_the_newest_backup_is_known_by_its_name(tmp_path: Path) -> None:
    assert newest_backup(tmp_path / "nowhere") == 0
    for name in ("backup-20261126-101500", "backup-20261126-100000", "backup-99999999"):
        (tmp_path / f"{name}.json").touch()
    (tmp_path / "backup-20270101-000000.bak").touch()  # its manifest is not there yet
    assert newest_backup(tmp_path) == 1795688100
