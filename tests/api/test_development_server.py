"""`python app.py`: serves in development, with a simulator of its own while none is configured."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.servers import ROOT, free_port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": "development",
        "PORT": str(port),
        "SIMULATOR_PORT": str(free_port()),
        "SIMULATOR_MASTER": "small",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'openalgo.db'}",
        "LOG_DIR": str(tmp_path / "log"),
        "SECRET_KEY": secrets.token_hex(32),
        "API_KEY_PEPPER": secrets.token_hex(32),
    }
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environ)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def answer_of(process: subprocess.Popen[bytes], url: str) -> httpx.Response:
    deadline = time.monotonic() + 60
    while True:
        try:
            return httpx.get(f"{url}/health", trust_env=False)
        except httpx.TransportError:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, "it did not answer"
            time.sleep(0.1)


def test_it_serves_a_sandbox_and_takes_its_simulator_along(
    server: tuple[subprocess.Popen[bytes], str],
) -> None:
    process, url = server
    health = answer_of(process, url).json()
    assert health["sandbox"] is True
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("simulator" in " ".join(child.cmdline()) for child in children)

    process.send_signal(signal.SIGINT)
    process.wait(20)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
