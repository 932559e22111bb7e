"""Journal entries that wait for the database outlive the process that made them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from broker.base import Priority
from database import journal
from database.engine import Database
from database.errors import DatabaseUnavailable
from database.journal import Intent, IntentKind, IntentState
from services.late_entries import ALLOCATED, Change, LateEntries, LateEntry
from services.order_models import ChildResult, ChildStatus, Placed
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft
from tests.support.venue import VENUES

AT = datetime(2026, 11, 20, 6, 30, 1, 234567, tzinfo=UTC)
INTENT = Intent(
    reference="R-1", tag="T-1", kind=IntentKind.PLACE, account_id=1, user_id=2, request_id="req",
    created_at=AT, symbol="RELIANCE", quantity=5, price=Decimal("1234.05"),
    state=IntentState.RECEIVED, deadline_at=AT + timedelta(seconds=10), message="ünïcode\nline",
)
ENTRY = LateEntry(INTENT, (
    Change(AT, "slot granted", IntentState.SENDING), Change(AT, "remark", message="why"),
    Change(AT, "broker accepted", IntentState.ACCEPTED, "77"),
))

MakeTrader = Callable[[], Trader]


@pytest.fixture
def make_trader(main_database: Database, tmp_path: Path, clock: ManualClock) -> MakeTrader:
    VENUES.clear()
    return lambda: Trader(main_database, tmp_path, clock)


def exit_without_a_database(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> Placed:
    def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("the server closed the connection")

    trader.stack.sessions.connection(trader.account)
    with monkeypatch.context() as broken:
        broken.setattr(Database, "write", gone)
        return trader.desk.orders.place(
            trader.principal, trader.account, draft(), priority=Priority.EXIT
        )


def die(trader: Trader) -> None:
    """What the kernel does with the files of a process that is killed."""
    late = trader.desk.recorder._late
    os.close(late._file)
    late._file = -1


def files(folder: Path) -> list[Path]:
    return sorted((folder / "late").iterdir())


def test_an_entry_is_the_same_after_its_line() -> None:
    assert LateEntry.from_json(ENTRY.to_json()) == ENTRY
    assert "\n" not in ENTRY.to_json()


def test_what_a_killed_process_could_not_journal_is_journalled_by_another(
    make_trader: MakeTrader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_trader()
    first.desk.recorder.open()
    placed = exit_without_a_database(first, monkeypatch)
    die(first)
    second = make_trader()
    second.desk.reconciler.run_once()
    assert second.states(placed.reference) == ["received", "sending", "accepted"]
    assert second.intent(placed.reference).broker_order_id == placed.order_id
    assert files(tmp_path) == []


def test_what_an_ended_process_could_not_journal_is_journalled_by_another(
    make_trader: MakeTrader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = make_trader()
    first.desk.recorder.open()
    placed = exit_without_a_database(first, monkeypatch)
    with monkeypatch.context() as broken:
        broken.setattr(Database, "write", lambda *_, **__: _raise(DatabaseUnavailable("away")))
        first.desk.recorder.close()
    assert "wait for the next start" in caplog.text
    assert len(files(tmp_path)) == 1
    second = make_trader()
    second.desk.reconciler.run_once()
    assert second.states(placed.reference) == ["received", "sending", "accepted"]
    assert files(tmp_path) == []


def _raise(error: Exception) -> None:
    raise error


def test_a_living_process_keeps_its_own(
    make_trader: MakeTrader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_trader(), make_trader()
    first.desk.recorder.open()
    placed = exit_without_a_database(first, monkeypatch)
    second.desk.reconciler.run_once()
    with second.database.read() as conn:
        assert journal.get(conn, placed.reference) is None
    assert len(files(tmp_path)) == 1
    first.desk.reconciler.run_once()
    assert first.states(placed.reference) == ["received", "sending", "accepted"]
    first.desk.recorder.close()
    assert files(tmp_path) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_exit_that_waits_for_the_journal_is_not_made_twice(
    make_trader: MakeTrader, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """On a full disk the books can be read and not written: what is under way must still count."""
    trader = make_trader()
    other = make_trader() if processes == 2 else trader
    other.stack.sessions.connection(other.account)
    trader.desk.orders.place(trader.principal, trader.account, draft(quantity=10))
    trader.desk.reconciler.run_once()
    trader.venue.script("place", "lost")

    def full(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("database or disk is full")

    def close(trader: Trader) -> list[ChildResult]:
        return trader.desk.baskets.close_positions(trader.principal, trader.account)

    with monkeypatch.context() as broken:
        broken.setattr(Database, "write", full)
        first, again = close(trader), close(other)
    assert [row.status for row in first] == [ChildStatus.UNKNOWN]
    assert [row.status for row in again] == [ChildStatus.ERROR]
    assert first[0].reference in again[0].message
    assert trader.venue.calls("place") == 2  # the entry and one exit


def test_a_full_disk_does_not_stop_it(tmp_path: Path) -> None:
    """The file has its blocks from the start, and does not grow."""
    late = LateEntries(tmp_path / "late")
    late.prepare()
    (path,) = files(tmp_path)
    before = path.stat()
    assert before.st_blocks * 512 >= ALLOCATED
    for _ in range(50):
        assert late.add(ENTRY)
    assert (path.stat().st_size, path.stat().st_blocks) == (ALLOCATED, before.st_blocks)


def test_an_entry_that_cannot_be_written_down_still_waits(tmp_path: Path) -> None:
    (tmp_path / "late").write_text("in the way")
    late = LateEntries(tmp_path / "late")
    assert not late.add(ENTRY)
    assert late.first() == ENTRY


def test_an_entry_is_written_once_though_it_was_not_ticked_off(make_trader: MakeTrader) -> None:
    trader = make_trader()
    entry = replace(ENTRY, intent=replace(
        INTENT, account_id=trader.account.id, user_id=trader.principal.user_id
    ))
    for _ in range(2):
        with trader.database.write() as conn:
            entry.write(conn)
    assert [event.cause for event in trader.events("R-1")] == [
        "request", "slot granted", "remark", "broker accepted",
    ]


def test_what_cannot_be_read_or_written_is_told_and_holds_nothing_up(
    make_trader: MakeTrader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trader = make_trader()
    dead = LateEntries(tmp_path / "late")
    dead.add(replace(ENTRY, intent=replace(INTENT, account_id=4711, reference="R-0", tag="T-0")))
    ours = replace(INTENT, account_id=trader.account.id, user_id=trader.principal.user_id)
    dead.add(replace(ENTRY, intent=ours))
    os.pwrite(dead._file, b'{"intent": {"reference": "R-to', dead._used)
    os.close(dead._file)
    trader.desk.reconciler.run_once()
    assert trader.states("R-1") == ["received", "sending", "accepted"]
    told = [record.message for record in caplog.records if record.levelname == "CRITICAL"]
    assert any("cannot be read" in text and "R-to" in text for text in told)
    assert any("refuses a late entry" in text and "R-0" in text for text in told)
    assert files(tmp_path) == []
