"""The ids of a client's request arrive at the broker, over HTTP on both sides."""

from __future__ import annotations

import secrets
from pathlib import Path

from app import create_app
from tests.support.raw_server import answer, serve
from tests.support.venue import CREDENTIALS
from utils.config import load_settings

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def headers_of(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    pairs = (line.partition(": ") for line in lines)
    return {name.lower(): value for name, _, value in pairs}


def test_ids_arrive_at_the_broker(tmp_path: Path) -> None:
    with serve(answer(b'{"type":"error","code":"e-app-001","description":"no"}')) as venue:
        settings = load_settings(env_file=None, environ={
            "DATABASE_URL": f"sqlite:///{tmp_path / 'openalgo.db'}",
            "LOG_DIR": str(tmp_path / "log"),
            "STATE_DIR": str(tmp_path / "run"),
            "JAINAM_BASE_URL": venue.url,
            **{f"JAINAM_{name.upper()}": value for name, value in CREDENTIALS.items()},
            **{name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")},
        })  # fmt: skip
        app = create_app(settings)
        app.gateway.database.upgrade()
        app.gateway.accounts.sync_environment()
        boss = app.gateway.access.create_user("boss", "a long password of boss", is_admin=True)
        _, key = app.gateway.access.create_key(boss, "test", "admin", None)
        given = {"X-Request-ID": "job-7", "traceparent": f"00-{TRACE}-{SPAN}-01"}
        told = app.test_client().post("/api/v1/funds", json={"apikey": key}, headers=given)
        app.gateway.close()
    span = told.headers["X-Span-ID"]
    assert venue.requests
    for request in venue.requests:
        seen = headers_of(request)
        assert seen["x-request-id"] == "job-7"
        assert (seen["x-trace-id"], seen["x-span-id"]) == (TRACE, span)
        assert seen["traceparent"] == f"00-{TRACE}-{span}-01"
        assert span != SPAN
