"""The state file: the same books before and after, day by day, and what a failure costs."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from simulator import inject
from simulator.oms.orders import CANCELLED, FILLED, NEW, PENDING_CANCEL, PENDING_REPLACE
from simulator.oms.rollover import roll
from simulator.profiles import Credential
from simulator.state import keeper as keeping
from tests.support.simulator_state import Run, Times


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "state.sqlite"


def busy(run: Run) -> None:
    """A day with some of everything, saved in the middle."""
    engine, instrument = run.engine, run.instrument()
    run.place()
    moved = run.rest()
    run.save()
    run.place(orderSide="SELL", orderQuantity=25, orderUniqueIdentifier="ü\ud800")
    engine.execute(moved, 4, instrument.low)
    engine.replace(moved, moved.terms())
    engine.withdraw(run.rest())
    run.place(orderQuantity=10**30)
    run.place(productType="CNC", orderSide="SELL", orderQuantity=20)
    foreign = {"client": "OTHER7", "quantity": 50, "price": 1200}
    inject.order(engine, instrument, {**foreign, "filled": 50, "status": "Filled"})
    inject.position(engine, instrument, {**foreign, "carried": True})
    run.save()
    inject.position(engine, instrument, {"quantity": -5, "price": 1300, "product": "NRML"})
    inject.holdings(engine, {"holdings": [{"isin": "INE002A01018", "nse": 2885, "quantity": 7}]})
    inject.balance(engine, {"cash": 5_000_000, "entries": None})
    inject.balance(run.exchange.engines["generic-json"], {"entries": [{"limitHeader": "X"}]})
    engine.new_id()


def test_a_new_life_shows_the_same_books_and_counts_on(path: Path, times: Times) -> None:
    first = Run(path, times)
    assert first.keeper.became == "new"
    busy(first)
    before = first.books()
    first.end()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    times.wall += 60
    times.mono = 5.0  # another boot
    second = Run(path, times)
    assert second.keeper.became == "kept"
    assert second.books() == before
    assert before["jainam-b"]["waiting"] == 1
    assert second.engine.counters > first.engine.counters
    placed = second.place()
    assert placed.app_id > first.engine.counters[0]
    assert int(placed.trades[0].execution_id) > first.engine.counters[2]
    after = second.books()
    second.end()
    third = Run(path, times)
    assert third.books() == after


def test_an_open_order_still_fills_and_cancels(path: Path, times: Times) -> None:
    first = Run(path, times)
    kept, other = first.rest(), first.rest()
    first.end()
    second = Run(path, times)
    account = second.engine.orders[kept.app_id].account
    assert account is not None
    assert account.blocked > 0
    second.engine.execute(second.engine.orders[kept.app_id], 10, kept.price)
    second.engine.withdraw(second.engine.orders[other.app_id])
    assert second.engine.orders[kept.app_id].status == FILLED
    assert second.engine.orders[other.app_id].status == CANCELLED
    assert second.engine.matching.waiting == 0
    assert account.blocked == pytest.approx(0)
    assert account.net(second.instrument(), "MIS") == 10


def test_only_what_changed_is_written(path: Path, times: Times) -> None:
    run = Run(path, times)
    run.place()
    run.save()
    written: list[Any] = []
    store = run.keeper._store
    assert store is not None
    store.write = written.extend  # type: ignore[method-assign,assignment]
    run.save()
    assert written == []
    order = run.place()
    run.save()
    (batch,) = written
    counts = {table.name: len(rows) for table, rows in batch.rows.items()}
    assert counts == {
        "venues": 1, "logins": 0, "orders": 1, "reports": len(order.reports), "trades": 1,
        "accounts": 1, "positions": 1, "holdings": 3,
    }  # fmt: skip
    assert not batch.anew


def test_another_day_begins_anew(path: Path, times: Times) -> None:
    first = Run(path, times)
    first.place()
    first.end()
    times.wall += 86_400
    second = Run(path, times)
    assert second.keeper.became == "new"
    assert not second.engine.orders
    assert second.engine.clients.all()[0].positions == {}
    second.end()
    times.wall -= 86_400  # nothing of the old day is left in the file
    assert Run(path, times).keeper.became == "new"


def test_a_day_that_ends_while_it_runs_is_what_is_kept(path: Path, times: Times) -> None:
    first = Run(path, times)
    first.place()
    first.place(productType="NRML")
    first.save()
    times.wall += 86_400
    assert roll(first.engine)
    before = first.books()["jainam-b"]
    first.end()
    second = Run(path, times)
    assert second.keeper.became == "kept"
    assert second.books()["jainam-b"] == before
    assert before["orders"] == []
    assert len(before["figures"][0]["positions"]) == 1


def test_a_reset_is_kept_too(path: Path, times: Times) -> None:
    first = Run(path, times)
    first.place()
    first.save()
    first.exchange.reset()
    first.end()
    second = Run(path, times)
    assert second.keeper.became == "kept"
    assert not second.engine.orders


@pytest.mark.parametrize("options", [{"seed": 2}, {"day": date(2026, 11, 19)}])
def test_another_master_begins_anew(path: Path, times: Times, options: dict[str, Any]) -> None:
    first = Run(path, times)
    first.place()
    first.end()
    second = Run(path, times, **options)
    assert second.keeper.became == "new"
    assert not second.engine.orders
    assert not list(path.parent.glob("*.aside-*"))


def test_a_venue_that_is_not_served_keeps_its_rows(path: Path, times: Times) -> None:
    first = Run(path, times)
    inject.balance(first.exchange.engines["generic-json"], {"cash": 77})
    first.end()
    second = Run(path, times, profiles=("jainam-b",))
    second.place()
    second.end()
    third = Run(path, times)
    assert third.exchange.engines["generic-json"].clients.all()[0].cash == 77
    assert len(third.engine.orders) == 1


def test_an_added_login_finds_its_book_again(path: Path, times: Times) -> None:
    first = Run(path, times)
    first.save()
    first.exchange.add_credential(
        Credential("extra", "jainam-b", "pro", "IK", "IS", "MK", "MS", "EXTRA", "EXTRAMD", ("E",))
    )
    inject.balance(first.engine, {"user": "EXTRA", "cash": 42})
    first.end()
    second = Run(path, times)
    assert ("interactive", "IK") in second.exchange.credentials
    found = second.engine.clients.named(None, "EXTRA")
    assert found is not None
    assert found.cash == 42


class TestOnItsWay:
    """What the exchange had not answered when the process was killed."""

    @pytest.fixture
    def run(self, path: Path, times: Times) -> Iterator[Run]:
        run = Run(path, times)
        yield run
        if run.keeper._store is not None:
            run.keeper._store.close()

    def killed(self, run: Run, path: Path, times: Times) -> Run:
        run.save()
        assert run.keeper._store is not None
        run.keeper._store.close()
        run.keeper._store = None
        return Run(path, times)

    def test_a_new_order_is_acknowledged(self, run: Run, path: Path, times: Times) -> None:
        run.engine.behaviour.latency = "realistic"
        run.engine._defer = lambda _delay, _action: None
        order = run.place()
        again = self.killed(run, path, times)
        assert again.engine.orders[order.app_id].status == FILLED
        books = again.books()
        again.end()
        assert Run(path, times).books() == books

    def test_a_cancel_is_finished(self, run: Run, path: Path, times: Times) -> None:
        order = run.rest()
        run.engine.behaviour.latency = "realistic"
        run.engine._defer = lambda _delay, _action: None
        run.engine.withdraw(order)
        assert order.status == PENDING_CANCEL
        again = self.killed(run, path, times)
        assert again.engine.orders[order.app_id].status == CANCELLED
        assert again.engine.matching.waiting == 0

    def test_a_modification_is_lost_and_says_so(self, run: Run, path: Path, times: Times) -> None:
        order = run.rest()
        run.engine.behaviour.latency = "realistic"
        run.engine._defer = lambda _delay, _action: None
        run.engine.replace(order, order.terms())
        assert order.status == PENDING_REPLACE
        again = self.killed(run, path, times)
        found = again.engine.orders[order.app_id]
        assert (found.status, found.reason) == (
            NEW, "Modification lost: the exchange was restarted",
        )  # fmt: skip


def test_a_write_that_fails_is_said_once_and_made_up_for(
    path: Path, times: Times, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(path, times)
    run.save()
    store = run.keeper._store
    assert store is not None

    def full(_batches: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", full)
        for _ in range(3):
            run.place()
            run.save()
    assert [r.levelno for r in caplog.records].count(logging.ERROR) == 1
    assert "disk is full" in caplog.text
    before = run.books()
    run.end()
    assert Run(path, times).books() == before


def test_changes_are_written_while_it_runs(
    path: Path, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PERIOD", 0.01)
    monkeypatch.setattr(keeping, "_SETTLE", 0.0)

    async def live() -> None:
        run = Run(path, times, latency="realistic")
        written = asyncio.Event()
        store = run.keeper._store
        assert store is not None
        write, loop = store.write, asyncio.get_running_loop()

        def noted(batches: Any) -> None:
            batches = list(batches)
            write(batches)
            if any(rows for b in batches for t, rows in b.rows.items() if t.name == "orders"):
                loop.call_soon_threadsafe(written.set)

        store.write = noted  # type: ignore[method-assign]
        run.keeper.start()
        run.place()
        await asyncio.wait_for(written.wait(), 10)
        await run.keeper.close()

    asyncio.run(live())
    assert len(Run(path, times).engine.orders) == 1
