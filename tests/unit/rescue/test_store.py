"""The database without the application, held against the migrated schema of both kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from database import flags, journal
from database.engine import Database
from database.journal import Intent, IntentKind, IntentState
from scripts.rescue.statuses import MEANING, Status
from scripts.rescue.store import Store, StoreFailed, open_store
from services.deployments import DeploymentService
from services.flags import FlagService
from tests.support.clocks import ManualClock
from tests.support.databases import KINDS, NOON, add_account, scratch_database
from utils.config import ROOT

SWITCH = "broker.jainam_prop"


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with scratch_database(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def store(database: Database) -> Store:
    url = database.url.set(drivername=database.url.get_backend_name())
    return open_store(url.render_as_string(hide_password=False))


def add_symbols(database: Database, broker: str, count: int) -> None:
    names = (
        "symbol, brsymbol, name, exchange, brexchange, token, expiry, strike, lotsize, "
        "instrumenttype, tick_size, broker, kind, isin, multiplier, tradable, generation"
    )
    with database.symbols_engine.begin() as conn:
        conn.exec_driver_sql("SELECT 1")
        for number in range(count):
            conn.exec_driver_sql(
                f"INSERT INTO symbol_token ({names}) VALUES ('S{number}', 'B\\t''{number}', 'n', "
                f"'NSE', '1', '{number}', '', 0, 1, 'EQ', 0.05, '{broker}', 'EQUITY', '', 1, 1, 3)"
            )
        conn.exec_driver_sql(
            f"INSERT INTO symbol_generation VALUES ('{broker}', 3, {count}, 'today', '{{}}')"
        )
        body = "decode('00ff0a', 'hex')" if not database.is_sqlite else "x'00ff0a'"
        conn.exec_driver_sql(f"INSERT INTO symbol_search VALUES ('{broker}', 'NSE', {body})")


def rows(database: Database) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    with database.symbols() as conn:
        for table, order in (
            ("symbol_token", "broker, symbol"), ("symbol_generation", "broker"),
            ("symbol_search", "broker"),
        ):
            columns = "brsymbol, broker, token" if table == "symbol_token" else "*"
            sql = f"SELECT {columns} FROM {table} ORDER BY {order}"
            found += [
                tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
                for row in conn.exec_driver_sql(sql)
            ]
    return found


def test_a_switch_is_seen_by_the_application(database: Database, store: Store) -> None:
    service = FlagService(database, ManualClock(NOON), max_age=0.0)
    assert store.flag(SWITCH) is None
    assert service.is_on(SWITCH, default=True)
    store.set_flag(SWITCH, "off")
    assert store.flag(SWITCH) == "off"
    assert not service.is_on(SWITCH, default=True)
    with database.write() as conn:
        flags.set_flag(conn, SWITCH, "on", at=NOON, by="it's \"asha\"")
    assert store.flag(SWITCH) == "on"
    store.set_flag(SWITCH, "off")
    store.set_flag(SWITCH, None)
    assert store.flag(SWITCH) is None
    assert service.is_on(SWITCH, default=True)
    with database.read() as conn:
        assert flags.version(conn) == 4  # every change moved the version that caches look at


def test_symbols_go_and_come_back_as_they_were(
    database: Database, store: Store, tmp_path: Path
) -> None:
    add_symbols(database, "jainam_prop", 5)
    add_symbols(database, "wisdom", 2)
    before = rows(database)
    assert store.count_symbols("jainam_prop") == 5
    assert store.take_symbols("jainam_prop", tmp_path) == 5
    assert [row for row in rows(database) if "jainam_prop" in row] == []
    assert len(rows(database)) == 4  # the other broker's
    assert store.take_symbols("jainam_prop", tmp_path) == 0  # again: what was saved stays
    assert store.put_symbols("jainam_prop", tmp_path) == 5
    assert rows(database) == before
    assert store.put_symbols("jainam_prop", tmp_path) == 5  # they are there: nothing is doubled
    assert rows(database) == before


def test_the_journal_tells_which_orders_may_still_work(database: Database, store: Store) -> None:
    account = add_account(database)
    base = Intent(
        "R", "T", IntentKind.PLACE, account, None, "q", NOON, symbol="INFY",
        exchange="NSE", side="BUY", product="MIS", quantity=3, price=Decimal("1.5"),
        state=IntentState.ACCEPTED,
    )
    now = datetime.now(UTC)
    with database.write() as conn:
        changes: tuple[dict[str, Any], ...] = (
            {"created_at": now},
            {"created_at": now, "book_state": "OPEN", "broker_order_id": "77"},
            {"created_at": now, "book_state": "FILLED"},
            {"created_at": now, "state": IntentState.REJECTED},
            {"created_at": now - timedelta(days=3)},
            {"created_at": now, "kind": IntentKind.CANCEL, "tag": ""},
        )
        for number, change in enumerate(changes):
            change = {"reference": f"R{number}", "tag": f"T{number}", **change}
            journal.new_intent(conn, replace(base, **change))
    found = store.orders_without_end("jainam_prop")
    assert [(row["reference"], row["broker_order_id"]) for row in found] == [
        ("R0", None), ("R1", "77")
    ]
    assert store.orders_without_end("wisdom") == []


def test_a_rollback_is_listed_among_the_deployments(database: Database, store: Store) -> None:
    store.note_deployment("1.0.0-it's", "rolled_back", "production")
    service = DeploymentService(database, ManualClock(NOON), "production")
    (row,) = service.list(5)
    assert (row.version, row.outcome, row.actor) == ("1.0.0-it's", "rolled_back", "rollback")
    assert abs(row.at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="unable to open"):
        open_store(f"sqlite:///{tmp_path}/none.db").flag(SWITCH)
    url = "postgresql://nobody:s3cret-canary@127.0.0.1:1/none"
    with pytest.raises(StoreFailed) as caught:
        open_store(url).flag(SWITCH)
    assert "s3cret-canary" not in str(caught.value)


def test_the_rescue_needs_the_standard_library_alone() -> None:
    """Without site-packages every module imports, and the help shows every exit status."""
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-m", "scripts.rescue", "--help"],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}, cwd="/",
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(MEANING) == set(Status)
    for status in Status:
        assert f"  {int(status):>3}  {MEANING[status]}" in done.stdout
