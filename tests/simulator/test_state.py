"""The process with `--state`: stopped and started again, it goes on with its day."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simulator.testing import ProcessSimulator, launch
from tests.support.waiting import wait_until
from tests.support.xts_client import XtsClient


def books(client: XtsClient) -> dict[str, Any]:
    return {
        "orders": client.book(),
        "histories": [client.history(int(row["AppOrderID"])) for row in client.book()],
        "positions": [client.positions("DayWise"), client.positions("NetWise")],
        "available": client.available(),
        "holdings": client.call("GET", "/portfolio/holdings", clientID=client.client).json(),
        "trades": client.call("GET", "/orders/dealertradebook", clientID=client.client).json(),
    }


def committed(state: Path) -> list[str]:
    """States of the orders in the file, read from a copy: the simulator has the file for itself.

    A journal that is in use means that the file's last change may still be undone.
    """
    copy, journal = state.with_name("copy"), state.with_name(f"{state.name}-journal")
    copy.write_bytes(state.read_bytes())
    if journal.exists() and any(journal.read_bytes()[:8]):
        return []
    with closing(sqlite3.connect(copy)) as connection:
        try:
            rows = connection.execute("SELECT status FROM orders ORDER BY app_id").fetchall()
        except sqlite3.Error:
            return []
    return [status for (status,) in rows]


def started(state: Path) -> tuple[ProcessSimulator, XtsClient]:
    sim = launch(limits="off", arguments=("--state", str(state), "--seed", "3"))
    return sim, XtsClient(sim, "jainam-b")


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_books_outlive_the_process(tmp_path: Path, end: str) -> None:
    state = tmp_path / "state.sqlite"
    sim, client = started(state)
    filled = client.placed()
    low = sim.control("price", None, segment="NSECM", token=2885)["low"]
    resting = client.placed(orderType="LIMIT", limitPrice=low)
    old = books(client)
    assert {int(row["AppOrderID"]) for row in old["orders"]} == {filled, resting}
    if end == "kill":
        wait_until(lambda: committed(state) == ["Filled", "New"])
    getattr(sim.process, end)()
    sim.process.wait(10)
    client.close()
    sim.stop()

    sim, client = started(state)
    assert books(client) == old
    assert client.cancel(resting).status_code == 200
    assert client.row(resting)["OrderStatus"] == "Cancelled"
    assert client.placed() > resting
    client.close()
    assert sim.stop() == 0


def test_without_it_nothing_is_kept(tmp_path: Path) -> None:
    sim = launch(arguments=("--cache-dir", str(tmp_path)))
    client = XtsClient(sim, "jainam-b")
    client.placed()
    client.close()
    assert sim.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_stops_no_start(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    state.write_bytes(b"rubbish" * 1_000)
    sim, client = started(state)
    assert client.book() == []
    client.placed()
    client.close()
    assert sim.stop() == 0
    assert len(list(tmp_path.glob("state.sqlite.aside-*"))) == 1
    sim, client = started(state)
    assert len(client.book()) == 1
    client.close()
    sim.stop()
