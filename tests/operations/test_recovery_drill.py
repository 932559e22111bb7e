"""The recovery drill: the database killed, the disk and the settings lost, everything restored.

What is brought along is what an operator keeps elsewhere: BACKUP_KEY and the way to the bucket.
The figures it prints stand in docs/operations/disaster-recovery.md.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.servers import Served
from tests.api.conftest import Api
from tests.integration.backups.conftest import Store
from tests.integration.backups.conftest import s3_url as s3_url
from tests.integration.backups.conftest import store as store
from utils.config import ROOT

pytestmark = pytest.mark.timeout(600)

RTO_SECONDS = 3600
RPO_SECONDS = 900


def run(script: str, *options: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "scripts" / script), *options],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, **environ},
        capture_output=True, text=True, check=False, timeout=300,
    )


def order(api: Api, price: str) -> str:
    answer = api.post(
        "placeorder", strategy="drill", symbol="RELIANCE", exchange="NSE", action="BUY",
        pricetype="LIMIT", product="MIS", quantity="1", price=price,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["orderid"])


def test_recovery_drill(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    key = "5d1e7a9c3b0f4e6d8a2c1b7f9e0d3c5a5d1e7a9c3b0f4e6d"
    bucket = store.variables()
    with Served(disk, environ={"BACKUP_KEY": key, **bucket}) as served:
        api = Api(served)
        before = [order(api, "1200") for _ in range(3)]
        made = run("backup.sh", environ=served.environ)
        assert made.returncode == 0, made.stderr
        backed_up = time.time()
        assert run("verify_database.sh", environ=served.environ).returncode == 0
        weekly = run("verify_backups.sh", environ=served.environ)
        assert weekly.returncode == 0, weekly.stderr
        assert weekly.stdout.count("[x]") == 4
        lost = [order(api, "1201"), order(api, "1202")]

        # The disaster: every process killed, the disk gone, and with it every setting.
        for worker in served.gateway.workers():
            worker.kill()
        served.gateway.process.kill()
        served.gateway.process.wait()
        died = time.time()
        shutil.rmtree(disk)
        disk.mkdir()

        began = time.monotonic()
        env_file = disk / "etc" / "openalgo.env"
        brought = {"BACKUP_KEY": key, "BACKUP_DIR": str(disk / "backups"), **bucket}
        restored = run(
            "restore_database.sh", "latest", "--yes", "--env-file", str(env_file), environ=brought
        )
        assert restored.returncode == 0, restored.stdout + restored.stderr
        assert served.environ["SECRET_KEY"] in env_file.read_text(encoding="utf-8")
        served.restart()
        again = Api(served)
        shown = {row["orderid"]: row for row in again.post("orderbook").json()["data"]["orders"]}
        rto = time.monotonic() - began
        rpo = died - backed_up

        assert set(before) | set(lost) <= set(shown)  # the broker never forgot them
        for order_id in (before[0], lost[1]):  # and the journal knows them all again
            journal = again.http.get(f"/api/v1/orders/{order_id}", params={"apikey": again.key})
            assert journal.status_code == 200, journal.text
        with sqlite3.connect(disk / "openalgo.db") as conn:
            origins = "SELECT origin, count(*) FROM order_intents GROUP BY origin ORDER BY origin"
            assert conn.execute(origins).fetchall() == [("order", 3), ("recovered", 2)]
        assert again.post("cancelorder", orderid=lost[0], strategy="drill").status_code == 200
        assert order(again, "1203")
    with capsys.disabled():
        print(f"\nrecovery drill: RTO {rto:.1f} s (target {RTO_SECONDS}), "
              f"RPO {rpo:.1f} s at a backup every {RPO_SECONDS} s; orders lost: 0")
    assert rto <= RTO_SECONDS


def test_what_must_be_brought_along_is_said(tmp_path: Path) -> None:
    nothing = run("restore_database.sh", "--yes", "--env-file", str(tmp_path / "none"), environ={})
    assert nothing.returncode == 1
    assert "BACKUP_KEY is not set: bring it along" in nothing.stderr
    empty = run(
        "restore_database.sh", "--yes", "--env-file", str(tmp_path / "none"),
        environ={"BACKUP_KEY": "k" * 40, "BACKUP_DIR": str(tmp_path / "empty")},
    )
    assert empty.returncode == 1
    assert re.search(r"There is no backup 'latest' in .*empty", empty.stderr), empty.stderr
