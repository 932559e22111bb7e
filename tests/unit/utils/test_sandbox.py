"""The sandbox: the simulator as a child, and the variables that lead the gateway to it."""

from __future__ import annotations

import secrets
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from utils import sandbox
from utils.config import Settings, load_settings
from utils.sandbox import SandboxError, port_is_free, sandbox_environment, stop_process

LOGINS = {
    f"jainam-{cluster}": [
        {
            "role": role,
            "interactive_key": f"IK-{cluster}-{role}",
            "interactive_secret": f"IS#{cluster}$",
            "market_key": f"MK-{cluster}-{role}",
            "market_secret": f"MS@{cluster}",
            "client_codes": [f"CLIENT-{cluster}"],
        }
        for role in ("pro", "normal")
    ]
    for cluster in "abc"
} | {
    "generic-json": [
        {
            "role": "investor",
            "interactive_key": "IK-w",
            "interactive_secret": "IS#w$",
            "market_key": "MK-w",
            "market_secret": "MS@w",
            "client_codes": ["INVESTOR"],
        }
    ]
}
URL = "http://127.0.0.1:7555"


def settings_for(root: Path, **environ: str) -> Settings:
    base = {name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")}
    return load_settings(
        environ={**base, "SIMULATOR_MASTER": "small", **environ}, env_file=None, root=root
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `run/` takes the place of the project's."""
    monkeypatch.setattr(
        sandbox, "sandbox_file", lambda port: tmp_path / "run" / str(port) / "sandbox.env"
    )
    return tmp_path


class TestVariables:
    def test_every_broker_is_led_to_the_simulator(self, root: Path) -> None:
        found = sandbox_environment(settings_for(root), URL, LOGINS)
        assert found == {
            "SANDBOX": "true",
            "JAINAM_BASE_URL": URL,
            "JAINAM_INTERACTIVE_API_KEY": "IK-b-pro",
            "JAINAM_INTERACTIVE_API_SECRET": "IS#b$",
            "JAINAM_MARKET_API_KEY": "MK-b-pro",
            "JAINAM_MARKET_API_SECRET": "MS@b",
            "WISDOM_BASE_URL": URL,
            "WISDOM_INTERACTIVE_API_KEY": "IK-w",
            "WISDOM_INTERACTIVE_API_SECRET": "IS#w$",
            "WISDOM_MARKET_API_KEY": "MK-w",
            "WISDOM_MARKET_API_SECRET": "MS@w",
        }

    def test_cluster_and_dealer_choose_the_login(self, root: Path) -> None:
        settings = settings_for(root, JAINAM_SYMPHONY_SERVER="C", JAINAM_ACCOUNT_TYPE="NORMAL")
        found = sandbox_environment(settings, URL, LOGINS)
        assert found["JAINAM_INTERACTIVE_API_KEY"] == "IK-c-normal"
        assert found["JAINAM_CLIENT_ID"] == "CLIENT-c"

    def test_a_simulator_elsewhere_is_none(self, root: Path) -> None:
        with pytest.raises(SandboxError, match="not on this machine"):
            sandbox_environment(settings_for(root), "http://10.0.0.1:7443", LOGINS)

    def test_a_missing_login_is_said(self, root: Path) -> None:
        with pytest.raises(SandboxError, match="no login for cluster 'b'"):
            sandbox_environment(settings_for(root), URL, {})


class TestSimulator:
    def test_it_starts_and_is_found_and_goes(self, root: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            settings = settings_for(root, SIMULATOR_PORT=str(port), PORT="5055")
            running = sandbox.start(settings)
        try:
            assert running.url.startswith("http://127.0.0.1:")
            assert not running.url.endswith(f":{port}")
            assert stat.S_IMODE(running.file.stat().st_mode) == 0o600
            led = settings_for(root, PORT="5055")
            assert led.sandbox is True
            assert led.jainam.base_url == running.url
            secret = led.jainam.interactive_api_secret
            assert secret is not None
            wanted = running.environment["JAINAM_INTERACTIVE_API_SECRET"]
            assert secret.get_secret_value() == wanted
            assert led.wisdom.has_credentials
        finally:
            running.stop()
        assert running.process.poll() is not None
        assert not running.file.exists()
        assert running.file.with_name("simulator-state.sqlite").exists()
        running.stop()

    def test_one_that_does_not_start_is_reported(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(SandboxError, match=r"did not start; .*simulator\.log says why"):
            sandbox.start(settings_for(root))


def child(program: str, **options: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
        start_new_session=True, **options,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_deaf_process_is_killed_with_its_group() -> None:
    program = (
        "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "os.fork(); print('ready', flush=True) if os.getpid() == os.getpgrp() else None;"
        "signal.pause()"
    )
    process = child(program)
    stop_process(process, 0.1)
    assert process.returncode == -9
    assert process.stdout is not None
    assert process.stdout.read() == ""  # the grandchild is gone too, or this would never end


def test_a_process_that_ended_is_left_alone() -> None:
    process = child("print('ready', flush=True)")
    process.wait()
    stop_process(process, 5)
    assert process.returncode == 0


def test_a_taken_port_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not port_is_free(port)
    assert port_is_free(port)
