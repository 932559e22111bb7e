"""A process that does the scheduled work alone serves what it counts."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.operations.serving import free_port, wait_for
from utils.config import ROOT


def test_the_process_of_the_scheduled_work_has_metrics(tmp_path: Path) -> None:
    port = free_port()
    environ = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'openalgo.db'}",
        "LOG_DIR": str(tmp_path / "log"),
        **{name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")},
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "jobs", "run"]
    refused = subprocess.run(
        [*command, "--metrics", "nowhere"], cwd=ROOT, env=environ, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "Metrics can't be served at 'nowhere'" in refused.stderr
    process = subprocess.Popen([*command, "--metrics", f":{port}"], cwd=ROOT, env=environ)
    try:

        def told() -> str:
            assert process.poll() is None
            url = f"http://127.0.0.1:{port}/metrics"
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    text: str = answer.read().decode()
                    return text
            except OSError:
                return ""

        assert "openalgo_authentication_failures_total" in wait_for(told)
    finally:
        process.terminate()
        assert process.wait(30) == 0
