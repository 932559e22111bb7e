"""`make run` and its processes: started in order, found, ended together, never left behind.

A small application stands in for the gateway, in a copy of the project: what is tested here is who
starts and ends whom. tests/operations/test_make_run.py does the same with the real one.
"""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from scripts.devtools import instances
from tests.operations.serving import copy_project, gone, names, running, wait_for

APPLICATION = '''
"""Stands in for the gateway: answers, tells its environment, records commands."""
import json
import os
from pathlib import Path

import click
from flask import Flask, jsonify

def create_app():
    if os.environ.get("BROKEN"):
        raise RuntimeError("broken on purpose")
    app = Flask("stand-in")

    @app.get("/health/live")
    def live():
        return "ok"

    @app.get("/environment")
    def environment():
        names = ("SANDBOX", "JAINAM_BASE_URL", "WISDOM_BASE_URL", "LOG_CONSOLE_LEVEL")
        return jsonify({name: os.environ.get(name) for name in names})

    @app.cli.command("master-contract", context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1)
    def master_contract(words):
        with Path("run/loads").open("a") as stream:
            stream.write(json.dumps([words, os.environ.get("JAINAM_BASE_URL")]) + "\\n")
        raise SystemExit(int(os.environ.get("LOAD_STATUS", "0")))

    return app
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the stand-in for an application."""
    folder = tmp_path_factory.mktemp("project")
    copy_project(
        folder, "scripts", "utils", "config", "simulator", "database", "migrations", "broker"
    )
    (folder / "app.py").write_text(APPLICATION, encoding="utf-8")
    return folder


def test_start_serve_stop_and_again(project: Path) -> None:
    with running(project) as run:
        run.ready()
        assert f"serves http://127.0.0.1:{run.port}" in run.output
        assert "SANDBOX" in run.output
        assert "users create NAME --admin" in run.output
        assert "api-key create NAME" in run.output
        told = run.get("/environment")
        assert told["SANDBOX"] == "true"
        assert told["JAINAM_BASE_URL"] == told["WISDOM_BASE_URL"]
        assert told["JAINAM_BASE_URL"].startswith("http://127.0.0.1:")
        assert told["LOG_CONSOLE_LEVEL"] == "WARNING"
        hint = project / "run" / str(run.port) / "sandbox.env"
        assert told["JAINAM_BASE_URL"] in hint.read_text(encoding="utf-8")
        assert (project / "db" / str(run.port) / "openalgo.db").is_file()
        family = run.family()
        assert "gunicorn" in names(family)
        assert "simulator" in names(family)
        environ = {"PORT": str(run.port)}
        assert run.end(signal.SIGINT) == 0
        assert gone(family)
        assert not hint.exists()
        assert "Traceback" not in run.output
    with running(project, **environ) as again:
        again.ready()
        assert again.end(signal.SIGTERM) == 0


def test_the_master_contract_of_every_broker_is_loaded(project: Path) -> None:
    loads = project / "run" / "loads"
    loads.unlink(missing_ok=True)
    brokers = sorted(
        json.loads(path.read_text(encoding="utf-8"))["name"]
        for path in (project / "broker").glob("*/plugin.json")
    )
    assert len(brokers) >= 2
    with running(project, LOAD_STATUS="3") as run:
        run.ready()
        wait_for(lambda: run.output.count("was not loaded") == len(brokers))
        base_url = run.get("/environment")["JAINAM_BASE_URL"]
        assert run.end() == 0
    lines = [json.loads(line) for line in loads.read_text(encoding="utf-8").splitlines()]
    assert sorted(words[1] for words, _ in lines) == brokers
    assert all(words[0] == "download" and words[2] == "--if-stale" for words, _ in lines)
    assert {url for _, url in lines} == {base_url}


def test_a_disabled_broker_is_not_loaded(project: Path) -> None:
    loads = project / "run" / "loads"
    loads.unlink(missing_ok=True)
    with running(project, JAINAM_ENABLED="false", LOAD_STATUS="3") as run:
        run.ready()
        wait_for(lambda: "was not loaded" in run.output)
        assert run.end() == 0
    assert "jainam_prop" not in loads.read_text(encoding="utf-8")


def test_killed_without_warning_it_leaves_nobody_behind(project: Path) -> None:
    with running(project) as run:
        run.ready()
        family = run.family()
        assert len(family) >= 3
        run.process.kill()
        run.process.wait()
        wait_for(lambda: gone(family))


def test_a_second_one_on_the_same_port_is_told(project: Path) -> None:
    with running(project) as first:
        first.ready()
        with running(project, PORT=str(first.port)) as second:
            assert second.ended() == 1
            assert f"runs already (process {first.process.pid})" in second.output
        with running(project) as elsewhere:
            elsewhere.ready()
            assert (
                elsewhere.get("/environment")["JAINAM_BASE_URL"]
                != (first.get("/environment")["JAINAM_BASE_URL"])
            )
            assert elsewhere.end() == 0
        assert instances.stop(instances.lock_path(project, str(first.port))) is True
        assert first.ended() == 0


def test_a_taken_port_is_said_before_anything_starts(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with running(project, PORT=str(taken.getsockname()[1])) as run:
            assert run.ended() == 1
            assert "is taken by another program: choose a free one" in run.output


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        ("simulator", "The simulator ended by itself"),
        ("gunicorn", "The gateway ended by itself"),
    ],
)
def test_it_ends_when_a_child_ends(project: Path, victim: str, message: str) -> None:
    with running(project) as run:
        run.ready()
        family = run.family()
        first = next(process for process in family if victim in " ".join(process.cmdline()))
        first.kill()
        assert run.ended() == 1
        assert message in run.output
        wait_for(lambda: gone(family))


def test_a_gateway_that_does_not_start_says_where_to_look(project: Path) -> None:
    with running(project, BROKEN="1") as run:
        assert run.ended() == 1
        assert "The gateway did not start" in run.output
        assert "error.log says why" in run.output
    log = (project / "log" / str(run.port) / "error.log").read_text(encoding="utf-8")
    assert "broken on purpose" in log
    assert "during worker exit" not in log


def test_faults_of_the_configuration_come_first(project: Path) -> None:
    with running(project, WEB_THREADS="many", SECRET_KEY="short") as run:
        assert run.ended() == 1
        assert "The configuration has 2 faults" in run.output
        assert "Traceback" not in run.output


def test_an_own_simulator_is_left_to_its_owner(project: Path) -> None:
    environ = {f"JAINAM_{kind}_API_{part}": "own-credential-1"
               for kind in ("INTERACTIVE", "MARKET") for part in ("KEY", "SECRET")}  # fmt: skip
    with running(project, **environ, JAINAM_BASE_URL="http://127.0.0.1:9") as run:
        run.ready()
        assert "TEST: orders go to the address on this machine" in run.output
        assert "simulator" not in names(run.family())
        assert run.get("/environment")["JAINAM_BASE_URL"] == "http://127.0.0.1:9"
        assert run.end() == 0


def test_interrupted_while_it_starts_it_leaves_nobody_behind(project: Path) -> None:
    with running(project) as run:
        family = wait_for(run.family)
        assert run.end() == 0
        wait_for(lambda: gone(family))
