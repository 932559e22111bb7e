"""The process: command line, first line of output, signals, parent watch, cache of the master."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simulator import cli
from simulator.testing import ROOT, SimulatorFailed, launch, start
from tests.support.waiting import wait_until
from tests.support.xts_client import XtsClient


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_start_trade_and_stop(tmp_path: Path) -> None:
    log = tmp_path / "simulator.log"
    sim = launch(profiles=("jainam-b",), latency="realistic", arguments=("--log", str(log)))
    client = XtsClient(sim, "jainam-b")
    app_id = client.placed()
    wait_until(lambda: client.row(app_id)["OrderStatus"] == "Filled")
    client.close()
    assert sim.control("health")["profiles"] == ["jainam-b"]
    assert sim.stop() == 0
    text = log.read_text()
    assert "listening" in text
    assert client.token not in text


def test_interrupt_stops_cleanly() -> None:
    sim = launch()
    sim.process.send_signal(signal.SIGINT)
    assert sim.process.wait(10) == 0
    assert sim.stop() == 0


def test_it_goes_with_its_parent() -> None:
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from simulator.testing import launch\n"
        "print(launch().pid, flush=True)\n"
        "import os; os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    pid = int(done.stdout)

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        state = Path(f"/proc/{pid}/stat")
        return state.exists() and state.read_text().split()[2] == "Z"

    wait_until(gone)


def test_it_watches_a_process_that_is_not_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        sim = launch(arguments=("--parent-pid", str(other.pid)))
        other.communicate(b"\n")
    assert sim.process.wait(10) == 0
    sim.stop()


def test_a_port_in_use_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port), "--master", "small")
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(SimulatorFailed):
        launch(arguments=("--nosuch",))


def test_full_master_is_cached(tmp_path: Path) -> None:
    arguments = ("--cache-dir", str(tmp_path), "--date", "2026-11-20")
    for _ in range(2):
        with start(master="full", arguments=arguments) as sim:
            assert sum(sim.control("health")["master"].values()) == 200_000
    (home,) = tmp_path.iterdir()
    assert home.name.endswith("2026-11-20")


def test_switches(tmp_path: Path) -> None:
    options = ("--empty-segments", "NSECD", "--empty-segments", "MCXFO", "--malformed", "3")
    with start(limits="off", arguments=(*options, "--hours", "real")) as sim:
        health = sim.control("health")
        assert (health["limits"], health["master"]["NSECD"]) == ("off", 0)
        client = XtsClient(sim, "jainam-b")
        body = {"exchangeSegmentList": ["NSECD"]}
        assert client.market("POST", "/instruments/master", json=body).json()["result"] == ""
        text = client.market(
            "POST", "/instruments/master", json={"exchangeSegmentList": ["NSECM"]}
        ).json()["result"]
        assert len(text.split("\n")) == 173
        client.close()


def test_print_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--print-credentials", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    pro = document["jainam-b"][0]
    assert pro["interactive_key"] == "SIMJAINAMBINTERACTIVE01"
    assert pro["interactive_secret"] == "Sim#b$1001"
    assert [c["role"] for c in document["jainam-c"]] == ["pro", "pro", "normal"]
    assert cli.main(["--print-credentials", "--profile", "generic-json"]) == 0
    shown = capsys.readouterr().out
    assert "SIMGENERICINTERACTIVE01" in shown
    assert "JAINAM" not in shown
