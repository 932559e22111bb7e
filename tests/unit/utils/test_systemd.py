"""What systemd is told, and that nothing happens where there is no systemd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.notify_socket import notify_socket
from utils import systemd


def test_a_message_reaches_the_socket_with_all_its_lines(tmp_path: Path) -> None:
    with notify_socket(tmp_path) as heard:
        environ = {"NOTIFY_SOCKET": heard.address}
        assert systemd.notify(systemd.READY, systemd.status("on 5000"), environ=environ)
        assert heard.hears("READY").lines == {"READY": "1", "STATUS": "on 5000"}
        assert heard.messages[0].pid == os.getpid()
        assert systemd.notify(*systemd.reloading(), systemd.main_process(7), environ=environ)
        lines = heard.hears("RELOADING").lines
        assert lines["MAINPID"] == "7" and int(lines["MONOTONIC_USEC"]) > 0


def test_without_a_listener_nothing_happens(tmp_path: Path) -> None:
    assert not systemd.notify(systemd.READY, environ={})
    gone = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    assert not systemd.notify(systemd.READY, environ=gone)
    assert not systemd.notify(systemd.READY, environ={"NOTIFY_SOCKET": "@openalgo-nobody"})


def test_gunicorn_is_kept_from_speaking_and_we_still_can(tmp_path: Path) -> None:
    with notify_socket(tmp_path) as heard:
        environ = {"NOTIFY_SOCKET": heard.address}
        systemd.take_over(environ)
        systemd.take_over(environ)
        assert "NOTIFY_SOCKET" not in environ
        assert systemd.notify(systemd.ALIVE, environ=environ)
        assert heard.hears("WATCHDOG")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90000000", 90.0), ("", None), ("0", None), ("-5", None), ("x", None)]
)
def test_the_watchdogs_time_is_read(text: str, seconds: float | None) -> None:
    assert systemd.watchdog_seconds({"WATCHDOG_USEC": text}) == seconds
    assert systemd.watchdog_seconds({}) is None
