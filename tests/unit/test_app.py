"""The application: what it is made of, whom it believes; building it connects to nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import app as application
from app import TrustedProxies, create_app
from utils.config import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return {
        "ENVIRONMENT": "development",
        "DATABASE_URL": f"sqlite:///{folder / 'openalgo.db'}",
        "LOG_DIR": str(folder / "log"),
        "SECRET_KEY": "0f4c5e9a7b" * 4,
        "API_KEY_PEPPER": "9a7b0f4c5e" * 4,
        "PORT": "5999",
    } | changes


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(env_file=None, environ=environment(tmp_path))


def test_building_it_connects_to_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("building the application must not connect")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    app = create_app(settings)
    assert not (tmp_path / "openalgo.db").exists()
    app.gateway.close()


def test_it_starts_migrates_answers_and_stops(settings: Settings) -> None:
    app = create_app(settings)
    app.start_background()
    try:
        client = app.test_client()
        assert client.get("/health/ready").json == {"status": "ready"}
        assert client.post("/api/v1/ping", json={"apikey": "x"}).status_code == 403
        text = client.get("/metrics").get_data(as_text=True)
        assert 'openalgo_api_request_seconds_count{route="/ping",status="403"}' in text
    finally:
        app.stop_background()


def test_metrics_go_by_route_and_never_by_path(settings: Settings) -> None:
    app = create_app(settings)
    client = app.test_client()
    for number in range(3):
        client.get(f"/api/v1/secret-path-{number}")
    text = client.get("/metrics").get_data(as_text=True)
    assert "secret-path" not in text
    app.gateway.close()


def test_an_api_call_has_no_cookie_session(settings: Settings) -> None:
    app = create_app(settings)
    answer = app.test_client().post("/api/v1/ping", json={})
    assert "Set-Cookie" not in answer.headers
    app.gateway.close()


def test_faulty_settings_end_it_with_every_fault_and_no_value(tmp_path: Path) -> None:
    faulty = environment(tmp_path, PORT="99999", JAINAM_RATE_LIMIT="canary-value")
    done = subprocess.run(
        [sys.executable, "-c", "import app; app.create_app()"],
        cwd=ROOT, env={"PATH": os.environ["PATH"], **faulty}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "PORT" in done.stderr
    assert "JAINAM_RATE_LIMIT" in done.stderr
    assert "canary-value" not in done.stderr
    assert "Traceback" not in done.stderr


def test_serving_processes_do_not_load_the_migrations() -> None:
    code = "import app, sys; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# Proxies ---------------------------------------------------------------------------------------


def seen(remote: str, forwarded: str = "", proto: str = "") -> tuple[str, str]:
    """Address and scheme that an application sees behind proxies in 10.0.0.0/8."""
    found: dict[str, Any] = {}

    def inner(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found.update(environ)
        return []

    environ = {
        "REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded,
        "HTTP_X_FORWARDED_PROTO": proto, "wsgi.url_scheme": "http",
    }  # fmt: skip
    TrustedProxies(inner, ["10.0.0.0/8", "::1"])(environ, None)
    return found["REMOTE_ADDR"], found["wsgi.url_scheme"]


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.2.2.2", "203.0.113.9"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("203.0.113.7", "127.0.0.1", "203.0.113.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "<script>", "10.0.0.1"),
        ("not an address", "1.1.1.1", "not an address"),
    ],
)
def test_only_trusted_proxies_are_believed(remote: str, forwarded: str, address: str) -> None:
    """Field defect 36: limits were counted by the proxy's address."""
    assert seen(remote, forwarded)[0] == address


@pytest.mark.parametrize(
    ("remote", "proto", "scheme"),
    [("10.0.0.1", "https", "https"), ("10.0.0.1", "ftp", "http"), ("1.2.3.4", "https", "http")],
)
def test_the_scheme_of_trusted_proxies(remote: str, proto: str, scheme: str) -> None:
    assert seen(remote, proto=proto)[1] == scheme


# python app.py ---------------------------------------------------------------------------------


def test_main_refuses_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = {
        f"JAINAM_{name}": "x" * 20
        for name in ("INTERACTIVE_API_KEY", "INTERACTIVE_API_SECRET", "MARKET_API_KEY",
                     "MARKET_API_SECRET")
    }  # fmt: skip
    secrets = {"BACKUP_KEY": "5e9a7b0f4c" * 4, **credentials}
    for name, value in environment(tmp_path, ENVIRONMENT="production", **secrets).items():
        monkeypatch.setenv(name, value)
    assert application.main() == 1
    assert "gunicorn" in capsys.readouterr().err


def test_main_tells_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path, PORT="0").items():
        monkeypatch.setenv(name, value)
    assert application.main() == 1
    assert "PORT" in capsys.readouterr().err
