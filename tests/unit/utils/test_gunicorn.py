"""How gunicorn serves: its configuration, its hooks and its access lines, with a real gunicorn."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from utils.config import ROOT
from utils.gunicorn_log import GatewayLogger
from utils.trace import NOTED_KEY, TRACE_KEY, Trace

APPLICATION = '''
"""A small application that records what gunicorn's hooks call."""
import os
from pathlib import Path
from utils.metrics import counter, exposition
from utils.trace import noted, trace_of

class Application:
    def start_background(self, worker):
        Path(os.environ["MARKS"], f"started-{os.getpid()}").touch()

    def stop_background(self, worker):
        Path(os.environ["MARKS"], f"stopped-{os.getpid()}").touch()

    def __call__(self, environ, start_response):
        noted(environ)["user_id"] = 7
        headers = list(trace_of(environ).headers().items())
        counter("answers", "for a test").inc()
        body = exposition() if environ["PATH_INFO"] == "/metrics" else str(os.getpid()).encode()
        start_response("200 OK", [("Content-Length", str(len(body))), *headers])
        return [body]

application = Application()
'''


@dataclass
class Served:
    """A running gunicorn."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"X-Request-ID": "r-1"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def lines(self, name: str) -> list[dict[str, Any]]:
        text = (self.folder / "log" / name).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def marks(self, kind: str) -> set[str]:
        return {path.name.split("-")[1] for path in self.folder.glob(f"{kind}-*")}


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    """Poll until it holds; fails loudly when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def gunicorn(folder: Path, **environ: str) -> Iterator[Served]:
    (folder / "small_application.py").write_text(APPLICATION, encoding="utf-8")
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"),
            "small_application:application",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "PORT": str(port),
            "LOG_DIR": str(folder / "log"),
            "MARKS": str(folder),
            **{name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")},
            **environ,
        },
        stderr=subprocess.PIPE,
    )
    served = Served(process, port, folder)

    def answers() -> bool:
        assert process.poll() is None, "gunicorn ended by itself"
        try:
            return bool(served.get("/"))
        except OSError:
            return False

    try:
        wait_for(answers)
        yield served
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_it_serves_reloads_and_stops(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as served:
        first = served.get("/place?apikey=canary").decode()
        assert served.marks("started") == {first}
        served.process.send_signal(signal.SIGHUP)
        wait_for(lambda: served.marks("stopped") == {first})
        wait_for(lambda: served.get("/").decode() != first)
        served.process.terminate()
        assert served.process.wait(20) == 0
        assert served.marks("stopped") == served.marks("started")
        assert len(served.marks("started")) == 2

        wanted = [line for line in served.lines("access.log") if line["path"] == "/place"]
        assert len(wanted) == 1
        line = wanted[0]
        assert (line["method"], line["status"]) == ("GET", 200)
        assert (line["request_id"], line["user_id"], line["remote"]) == ("r-1", 7, "127.0.0.1")
        assert 0 <= line["seconds"] < 10
        assert "canary" not in json.dumps(served.lines("access.log"))
        messages = [line["message"] for line in served.lines("app.log")]
        assert any(message.startswith("Listening at: ") for message in messages)


def test_an_idle_client_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with gunicorn(tmp_path) as served:
        idle = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        idle.request("GET", "/")
        assert idle.getresponse().read()
        served.process.terminate()
        assert served.process.wait(10) == 0  # graceful_timeout would be 15 s
        idle.close()


def test_two_workers_are_summed_and_old_figures_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"left over from an earlier run")
    environ = {"WEB_CONCURRENCY": "2", "PROMETHEUS_MULTIPROC_DIR": str(folder)}

    def answers(served: Served) -> float:
        found = re.search(rb"^answers_total (\S+)", served.get("/metrics"), re.M)
        assert found is not None
        return float(found[1])

    with gunicorn(tmp_path, **environ) as served:
        wait_for(lambda: len(served.marks("started")) == 2)
        before = answers(served)
        for _ in range(40):
            served.get("/")
        assert answers(served) == before + 41
        assert not (folder / "counter_1.db").exists()
        assert len(list(folder.glob("counter_*.db"))) >= 1


def test_a_fault_of_the_configuration_is_one_clear_message(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"],
        cwd=ROOT,
        env={**os.environ, "PORT": "canary", "LOG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "PORT: should be a valid integer" in done.stderr
    assert "Traceback" not in done.stderr
    assert "canary" not in done.stderr


@pytest.mark.parametrize(("status", "code"), [("404 NOT FOUND", 404), (200, 200), ("", None)])
def test_an_access_line(status: object, code: int | None, caplog: pytest.LogCaptureFixture) -> None:
    logger = GatewayLogger.__new__(GatewayLogger)
    logger.access_log = logging.getLogger("test-access")
    logger._rate = 1.0
    answer = SimpleNamespace(status=status, headers=[], sent=5)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/p", "QUERY_STRING": "k=1"}
    environ[NOTED_KEY] = {"user_id": 3}  # type: ignore[assignment]
    with caplog.at_level("INFO", "test-access"):
        logger.access(answer, None, environ, timedelta(milliseconds=5))
        logger.reopen_files()
        logger.close_on_exec()
    (record,) = caplog.records
    assert (record.status, record.seconds, record.user_id) == (code, 0.005, 3)  # type: ignore[attr-defined]
    assert "QUERY_STRING" not in record.__dict__.values()


TRACES = [f"{(2 * number + 1) * 2**31 // 1000:032x}" for number in range(1000)]


def _lines_of(
    caplog: pytest.LogCaptureFixture, rate: float, status: int = 200, seconds: float = 0.01,
    noted: dict[str, Any] | None = None, sampled: bool = False,
) -> list[Any]:
    logger = GatewayLogger.__new__(GatewayLogger)
    logger.access_log = logging.getLogger("test-access")
    logger._rate = rate
    caplog.clear()
    with caplog.at_level("INFO", "test-access"):
        for trace_id in TRACES:
            environ = {
                TRACE_KEY: Trace("r", trace_id, "b" * 16, sampled=sampled),
                NOTED_KEY: dict(noted or {}),
            }
            answer = SimpleNamespace(status=status, headers=[], sent=5)
            logger.access(answer, None, environ, timedelta(seconds=seconds))
    return list(caplog.records)


def test_ordinary_requests_are_sampled_by_their_trace(caplog: pytest.LogCaptureFixture) -> None:
    kept = _lines_of(caplog, 0.1)
    assert len(kept) == 100
    assert {record.sample_rate for record in kept} == {0.1}
    again = [record.trace_id for record in _lines_of(caplog, 0.1)]
    assert again == [record.trace_id for record in kept]
    assert len(_lines_of(caplog, 0)) == 0
    everything = _lines_of(caplog, 1)
    assert len(everything) == 1000
    assert not hasattr(everything[0], "sample_rate")


@pytest.mark.parametrize(
    "why",
    [
        {"status": 500}, {"status": 404}, {"seconds": 1.01}, {"sampled": True},
        {"noted": {"keep": True, "reference": "REF", "error_code": ""}},
    ],
)  # fmt: skip
def test_errors_slow_requests_and_orders_are_never_sampled_away(
    caplog: pytest.LogCaptureFixture, why: dict[str, Any]
) -> None:
    kept = _lines_of(caplog, 0.0, **why)
    assert len(kept) == len(TRACES)
    assert not hasattr(kept[0], "sample_rate")
    assert not hasattr(kept[0], "keep")
