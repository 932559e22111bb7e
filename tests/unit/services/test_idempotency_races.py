"""Processes that race for the same idempotency keys make one order a key, also when one dies."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from database.engine import Database
from tests.support.databases import KINDS, add_account, add_user, scratch_database
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
PROCESSES = 3


def racer(folder: Path, database: Database, number: int, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "tests.support.racing", str(folder),
            database.engine.url.render_as_string(hide_password=False), "--seed", str(number),
            *options,
        ],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_racing_processes_make_one_order_a_key(kind: str, tmp_path: Path) -> None:
    """Keys are given back, answered as unknown and left behind by a kill, all at the same time."""
    with scratch_database(kind, tmp_path) as database:
        ids = ["--user", str(add_user(database)), "--account", str(add_account(database))]
        racers = [racer(tmp_path, database, n, *ids) for n in range(PROCESSES)]
        racers.append(racer(tmp_path, database, PROCESSES, *ids, "--die-at", "1"))
        try:
            wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == len(racers), 60.0)
            (tmp_path / "go").touch()
            told = [process.communicate(timeout=90)[0] for process in racers]
        finally:
            for process in racers:
                process.kill()
                process.communicate()
    violations = tmp_path / "violations"
    assert not violations.exists(), violations.read_text()
    assert [process.returncode for process in racers[:PROCESSES]] == [0] * PROCESSES
    assert racers[PROCESSES].returncode in (0, -signal.SIGKILL)
    lines = {line for text in told for line in text.splitlines()}
    orders = {f"{path.stem} {path.read_text()}" for path in tmp_path.glob("*.order")}
    assert len(orders) == 6
    assert lines == orders  # every client was told the one order of its key
