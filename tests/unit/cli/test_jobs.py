"""`flask jobs`: scheduled work in a process of its own, told to systemd, given back at its end."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.notify_socket import notify_socket
from tests.support.stacks import environment
from utils.config import ROOT

FLASK = [sys.executable, "-m", "flask", "--app", "app"]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    yield {
        **os.environ, **environment(), "RUN_JOBS": "false", "LOG_DIR": str(tmp_path / "log"),
        "LOG_CONSOLE_LEVEL": "CRITICAL", "DATABASE_URL": f"sqlite:///{tmp_path / 'openalgo.db'}",
        "WATCHDOG_USEC": "600000",
        **{name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")},
    }  # fmt: skip


def test_it_leads_although_web_workers_may_not_and_ends_gracefully(
    environ: dict[str, str], tmp_path: Path
) -> None:
    def leader() -> str | None:
        done = subprocess.run(
            [*FLASK, "jobs", "list", "--json"], cwd=ROOT, env=environ, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        assert {"sessions", "reconcile", "contracts"} <= {job["name"] for job in found["jobs"]}
        return found["leader"]

    with notify_socket(tmp_path) as heard:
        process = subprocess.Popen(
            [*FLASK, "jobs", "run"], cwd=ROOT, env={**environ, "NOTIFY_SOCKET": heard.address}
        )
        try:
            assert heard.hears("READY").pid == process.pid
            assert heard.hears("WATCHDOG").pid == process.pid
            assert f":{process.pid}:" in (leader() or "")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert heard.hears("STOPPING").pid == process.pid
        finally:
            process.kill()
            process.wait()
    assert leader() is None
