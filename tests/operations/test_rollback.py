"""IV2: deploy, trade, roll back, find the broker gone and the other one trading; then undo it.

The releases, the supervisord, the gateway, the simulator and the database are real.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.installed import Installed, Prepared, installed
from tests.operations.serving import wait_for

pytestmark = pytest.mark.timeout(600)  # a machine that is busy with other tests takes its time

BROKERS = {"jainam_prop": True, "wisdom": True}


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installed, Prepared]]:
    with installed(tmp_path_factory.mktemp("drill")) as found:
        here, _ = found
        wait_for(lambda: here.brokers() == BROKERS)
        yield found


def symbols(prepared: Prepared) -> dict[str, int]:
    with sqlite3.connect(prepared.folder / "symbols.db") as conn:
        counts = "SELECT broker, count(*) FROM symbol_token GROUP BY broker"
        found = dict(conn.execute(counts))
        orphans = (
            "SELECT count(*) FROM symbol_search "
            "WHERE broker NOT IN (SELECT broker FROM symbol_generation)"
        )
        assert conn.execute(orphans).fetchone() == (0,)
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return found


def crowd() -> float:
    """How many times longer than alone something takes here now: 1 on a quiet machine."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def exposure_of(here: Installed) -> dict[str, list[dict[str, object]]]:
    newest = max((here.state / "rollback" / "open").resolve().glob("exposure-*.json"))
    return json.loads(newest.read_text(encoding="utf-8"))


def test_deployed_traded_rolled_back_and_brought_back(drill: tuple[Installed, Prepared]) -> None:
    here, prepared = drill
    before = symbols(prepared)
    assert here.version() == "0.9.0"
    deployed = here.deploy("--watch", "2", "--every", "1", "--wait", "120")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert "Backed up." in deployed.stdout and "Migrated." in deployed.stdout
    assert "watching" in deployed.stdout
    assert here.version() == "1.0.0"
    wait_for(lambda: here.brokers() == BROKERS)
    status, placed = here.order("jainam_prop")
    assert (status, placed["status"]) == (200, "success"), placed
    status, resting = here.order("jainam_prop", "LIMIT", "1200")
    assert status == 200, resting

    dry = here.rollback("--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "return from 1.0.0 to 0.9.0" in dry.stdout
    assert here.version() == "1.0.0"
    assert not (here.state / "rollback" / "open").exists()

    began = time.monotonic()
    done = here.rollback("--yes", "--cancel-orders", "--square-off")
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 60 * crowd()
    found = exposure_of(here)
    assert [row["order_id"] for row in found["orders"]] == [resting["orderid"]]
    assert [row["quantity"] for row in found["positions"]] == [1]
    assert here.version() == "0.9.0"
    assert here.brokers() == {"wisdom": True}
    assert symbols(prepared) == {"wisdom": before["wisdom"]}
    reached = len(prepared.simulator.orders("jainam-b"))
    status, refused = here.order("jainam_prop")
    assert status in (400, 409) and refused["status"] == "error", refused
    assert len(prepared.simulator.orders("jainam-b")) == reached
    status, book = here.post("positionbook", account="jainam_prop")
    assert status == 200, book
    assert all(int(row["quantity"]) == 0 for row in book["data"]), book
    status, traded = here.order("wisdom")
    assert (status, traded["status"]) == (200, "success"), traded
    assert "error" not in (prepared.folder / "log" / "error.log").read_text(encoding="utf-8")
    assert oct(here.env_file.stat().st_mode)[-3:] == "640"

    calls = here.calls.read_text(encoding="utf-8")
    assert "supervisorctl stop openalgo\n" in calls
    assert "supervisorctl start openalgo\n" in calls
    here.calls.unlink()
    again = here.rollback("--yes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Step 3: 0.9.0 is served (done before)" in again.stdout
    assert "stop openalgo" not in here.calls.read_text(encoding="utf-8")

    undone = here.rollback("--undo", "--yes")
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert here.version() == "1.0.0"
    assert here.brokers() == BROKERS
    assert symbols(prepared) == before
    status, placed = here.order("jainam_prop")
    assert (status, placed["status"]) == (200, "success"), placed
    assert here.rollback("--undo", "--yes").returncode == 60


def test_the_same_with_an_application_that_cannot_start(
    drill: tuple[Installed, Prepared]
) -> None:
    here, prepared = drill
    before = symbols(prepared)
    app = here.base / "releases" / "1.0.0" / "app.py"
    good = app.read_text(encoding="utf-8")
    app.write_text("raise RuntimeError('broken on purpose')\n", encoding="utf-8")
    assert here.script(str(here.bin / "supervisorctl"), "stop", "openalgo").returncode == 0
    assert not here.answers()

    done = here.rollback("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert exposure_of(here)["source"] == "the broker's books"  # asked by the older release
    assert here.version() == "0.9.0"
    assert here.brokers() == {"wisdom": True}
    assert symbols(prepared) == {"wisdom": before["wisdom"]}
    status, traded = here.order("wisdom")
    assert (status, traded["status"]) == (200, "success"), traded

    tool = (here.state / "rollback" / "open").resolve() / "tool" / "scripts" / "rollback.sh"
    still_broken = here.rollback("--undo", "--yes", "--wait", "3")
    assert still_broken.returncode == 50, still_broken.stdout + still_broken.stderr
    app.write_text(good, encoding="utf-8")
    assert tool.exists()
    undone = here.rollback("--undo", "--yes")
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert here.version() == "1.0.0"
    assert here.brokers() == BROKERS
    assert symbols(prepared) == before


def test_a_version_that_does_not_serve_is_taken_back(drill: tuple[Installed, Prepared]) -> None:
    here, _ = drill
    (here.checkout / "config" / "gunicorn.py").write_text("raise SystemExit(1)\n", "utf-8")
    here.commit("1.1.0")
    done = here.deploy("--no-backup", "--wait", "4")
    assert done.returncode in (14, 20), done.stdout + done.stderr
    assert "TAKING BACK" in done.stderr and "1.0.0 serves again" in done.stderr
    assert here.version() == "1.0.0"
    assert (here.base / "current").resolve().name == "1.0.0"
    listed = (here.state / "deployments.jsonl").read_text(encoding="utf-8").splitlines()
    last = json.loads(listed[-1])
    assert (last["version"], last["outcome"]) == ("1.1.0", "failed")


def test_sample_data_is_loaded_cleared_and_loaded_again(drill: tuple[Installed, Prepared]) -> None:
    here, prepared = drill

    def sample() -> list[str]:
        _, book = here.post("orderbook", account="wisdom")
        return sorted(
            row["order_status"] for row in book["data"]["orders"] if row["strategy"] == "sample"
        )

    options = ("--account", "wisdom")
    assert "6 orders placed, 1 cancelled" in prepared.flask("sample-data", "load", *options)
    wait_for(lambda: sample() == ["cancelled", *["complete"] * 4, "open"])
    assert "6 orders placed" in prepared.flask("sample-data", "reload", *options)
    cleared = prepared.flask("sample-data", "clear", *options)
    assert "3 orders placed, 1 cancelled, 11 taken out" in cleared
    with sqlite3.connect(prepared.folder / "openalgo.db") as conn:
        left = "SELECT count(*) FROM order_intents WHERE strategy = 'sample'"
        assert conn.execute(left).fetchone() == (0,)


def test_the_copy_that_is_kept_needs_nothing_of_the_releases(
    drill: tuple[Installed, Prepared], tmp_path: Path
) -> None:
    here, _ = drill
    record = max((here.state / "rollback").glob("*Z-jainam_prop"))
    tool = record / "tool" / "scripts" / "rollback.sh"
    shown = here.script(
        str(tool), "--undo", "--dry-run", "--app", str(here.base), "--env-file",
        str(here.env_file), "--state", str(here.state), "--method", "supervisor",
    )
    assert shown.returncode == 60, shown.stdout + shown.stderr  # it was undone already
