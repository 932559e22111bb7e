"""The probes: what they call, what they say, and how they end. None of them can place an order."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts.probes import infrastructure, smoke
from scripts.probes.__main__ import main
from scripts.rescue.http import Client
from scripts.rescue.installation import Installation

KEY = "a-read-key-for-tests"


class Gateway:
    """Answers by path, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.health: dict[str, Any] = {
            "status": "ok", "version": "1.0.0", "timestamp": "now", "sandbox": True,
            "checks": {"database": {"status": "up"}},
        }
        self.statuses: dict[str, int] = {}
        self.brokers = [{
            "name": "wisdom", "connected": True, "master_contract": {"rows": 10},
            "accounts": [{"account": "wisdom", "connected": True}],
        }]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = {
                    "/health": outer.health, "/api/v1/brokers": {"data": outer.brokers},
                    "/api/v1/openapi.json": {"paths": {}},
                }.get(self.path, {})
                self._send(body)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not body.get("apikey"):
                    outer.statuses.setdefault("refused", 403)
                    self._send({"message": "no key"}, outer.statuses["refused"])
                    return
                outer.asked.append((self.path, body))
                self._send({"status": "success", "data": {}})

            def _send(self, body: Any, status: int | None = None) -> None:
                content = json.dumps(body).encode()
                self.send_response(status or outer.statuses.get(self.path, 200))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_smoke_test_reads_everything_and_places_nothing(gateway: Gateway) -> None:
    report = smoke.run(Client(gateway.url, KEY), version="1.0.0", brokers=("wisdom",))
    assert report.failures == []
    paths = [path for path, _ in gateway.asked]
    assert paths == [f"/api/v1/{name}" for name in (*smoke.READS, "quotes")]
    assert all(body["account"] == "wisdom" for _, body in gateway.asked)
    forbidden = ("order/", "placeorder", "modifyorder", "cancelorder", "closeposition", "basket")
    assert not any(word in path for path in paths for word in forbidden)


def test_the_smoke_test_says_what_does_not_work(gateway: Gateway) -> None:
    gateway.statuses = {"/api/v1/orderbook": 502, "/health/ready": 503, "refused": 200}
    report = smoke.run(Client(gateway.url, KEY), version="2.0.0", brokers=("jainam_prop",))
    assert report.failures == [
        "/health/ready answers 503", "1.0.0 is served, not 2.0.0",
        "a call without a key is answered with 200", "jainam_prop is not offered",
        "wisdom: orderbook answers 502: ",
    ]
    nobody = smoke.run(Client("http://127.0.0.1:1"))
    assert len(nobody.failures) == 1 and "does not answer" in nobody.failures[0]
    other = smoke.run(Client(gateway.url, KEY), account="prop-c")
    assert "the account prop-c is not connected, or not this key's" in other.failures


def test_health_has_three_ends(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["health", "--url", gateway.url]
    assert main(options) == 0
    assert "ok, version 1.0.0, SANDBOX" in capsys.readouterr().out
    gateway.health["status"] = "degraded"
    assert main(options) == 1
    gateway.health["status"] = "unavailable"
    gateway.statuses["/health"] = 503
    assert main([*options, "--quiet"]) == 2
    gateway.statuses["/health"] = 403
    assert main(options) == 2
    assert "--api-key-file" in capsys.readouterr().out
    assert main(["health", "--url", "http://127.0.0.1:1"]) == 2


def test_the_host_is_held_against_the_layout(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "opt"
    release = base / "releases" / "1"
    (release / ".venv" / "bin").mkdir(parents=True)
    (release / ".venv" / "bin" / "python").touch()
    (base / "current").symlink_to("releases/1")
    for name in ("state", "log", "bin"):
        (tmp_path / name).mkdir()
    tool = tmp_path / "bin" / "systemctl"
    tool.write_text('#!/bin/sh\ntest "$1 $2" = "is-active openalgo.service"\n', "utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    env_file = tmp_path / "openalgo.env"
    port = gateway.url.rpartition(":")[2]
    env_file.write_text(
        f"PORT={port}\nLOG_DIR={tmp_path / 'log'}\nDATABASE_URL=sqlite:///{tmp_path / 'x.db'}\n"
        "REDIS_URL=redis://127.0.0.1:1/0\n", encoding="utf-8",
    )
    env_file.chmod(0o644)
    here = Installation(base / "current", base, env_file, tmp_path / "state", None, {})
    failures = infrastructure.verify(here, "systemd", host="127.0.0.1:1").failures
    texts = " | ".join(failures)
    for expected in (
        "can be read by others (644): chmod 600", "no database is at",
        "openalgo.service is enabled: no", "Redis can't be reached at 127.0.0.1:1",
        "the certificate of 127.0.0.1:1 is not good",
    ):
        assert expected in texts
    assert len(failures) == 5 + ("GB free" in texts)
    env_file.chmod(0o600)
    (tmp_path / "x.db").touch()
    assert len(infrastructure.verify(here, "systemd").failures) <= len(failures) - 3
