"""Who serves a port: the lock is the truth, whatever files and numbers are left behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from scripts.devtools import instances
from tests.unit.tooling.holding import held


def test_one_process_holds_a_port(tmp_path: Path) -> None:
    path = instances.lock_path(tmp_path, "5001")
    with held(path) as process:
        assert instances.holder(path) == process.pid
        with pytest.raises(instances.Running, match=str(process.pid)):
            instances.take(path)
        assert list(instances.running(tmp_path)) == [("5001", process.pid)]
    assert instances.holder(path) is None
    with instances.take(path):
        pass
    assert list(instances.running(tmp_path)) == []


def test_a_file_without_a_lock_means_nothing(tmp_path: Path) -> None:
    path = instances.lock_path(tmp_path, "5001")
    path.parent.mkdir(parents=True)
    path.write_text("1", encoding="utf-8")
    assert instances.holder(path) is None
    assert instances.stop(path) is False
    assert instances.stop(tmp_path / "absent") is False


def test_stop_waits_until_the_holder_is_gone(tmp_path: Path) -> None:
    path = instances.lock_path(tmp_path, "5001")
    with held(path) as process:
        assert instances.stop(path) is True
        assert process.wait(5) == -signal.SIGTERM
    assert instances.holder(path) is None


def test_a_deaf_holder_is_killed(tmp_path: Path) -> None:
    path = instances.lock_path(tmp_path, "5001")
    with held(path, "deaf") as process:
        assert instances.stop(path, patience=0.2) is True
        assert process.wait(5) == -signal.SIGKILL
