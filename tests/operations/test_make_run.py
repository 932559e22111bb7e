"""From an empty machine to the first filled order, with commands alone: the real gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.operations.serving import Run, copy_project, gone, running, wait_for

PASSWORD = "a long enough password, 42"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of everything that serves."""
    return copy_project(
        tmp_path,
        *("app.py", "blueprints", "broker", "cli", "config", "database", "migrations"),
        *("scripts", "services", "simulator", "static", "templates", "utils"),
    )


def command(project: Path, environ: dict[str, str], *words: str, stdin: str = "") -> str:
    """What a person types in another terminal; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", *words],
        cwd=project,
        env={**os.environ, **environ},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def post(run: Run, path: str, **body: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{run.port}/api/v1/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        pytest.fail(f"{path}: {error.code} {error.read().decode()}")


@pytest.mark.slow
def test_headless_from_nothing_to_a_filled_order(project: Path) -> None:
    with running(project) as run:
        run.ready()
        environ = run.environ
        command(
            project, environ, "users", "create", "asha", "--admin", "--password-stdin",
            stdin=f"{PASSWORD}\n",
        )  # fmt: skip
        key = command(project, environ, "api-key", "create", "asha")
        assert len(key.split()) == 1
        wait_for(lambda: run.says("The master contract of 'jainam_prop' is "), 60)
        command(project, environ, "master-contract", "download", "jainam_prop", "--if-stale")

        placed = post(
            run, "placeorder", apikey=key, strategy="first", symbol="RELIANCE", exchange="NSE",
            action="BUY", product="MIS", pricetype="MARKET", quantity="1",
        )  # fmt: skip
        assert placed["status"] == "success"
        assert placed["sandbox"] is True

        def state() -> str:
            answer = post(
                run, "orderstatus", apikey=key, strategy="first", orderid=placed["orderid"]
            )
            return str(answer["data"]["order_status"])

        wait_for(lambda: state() == "complete", 10)
        orders = post(run, "orderbook", apikey=key)["data"]["orders"]
        assert [order["orderid"] for order in orders] == [placed["orderid"]]
        family = run.family()
        assert run.end() == 0
        wait_for(lambda: gone(family))
        for path in (project / "log").rglob("*.log"):
            assert key not in path.read_text(encoding="utf-8"), path
            assert PASSWORD not in path.read_text(encoding="utf-8"), path

    with running(project, **environ) as again:
        again.ready()
        wait_for(lambda: again.says("The master contract of 'jainam_prop' is today's"), 60)
        family = again.family()
        assert again.end() == 0
        wait_for(lambda: gone(family))
