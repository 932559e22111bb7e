"""The state file: the same books before and after, day by day, and files that are none."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from simulator import inject
from simulator.clock import Clock
from simulator.exchange import Exchange, Options
from simulator.oms import desk
from simulator.oms.books import history, order_rows, trade_rows
from simulator.oms.engine import Engine
from simulator.oms.orders import CANCELLED, FILLED, NEW, PENDING_CANCEL, PENDING_REPLACE, Order
from simulator.oms.portfolio import balance, holdings, position_rows
from simulator.oms.rollover import roll
from simulator.profiles import Credential
from simulator.state import keeper as keeping
from simulator.state.keeper import Keeper

RELIANCE = 2885
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC).timestamp()


class Times:
    """Wall and monotonic time that tests move."""

    def __init__(self) -> None:
        self.wall = NOON
        self.mono = 1_000.0


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "state.sqlite"


def exchange_at(times: Times, **options: Any) -> Exchange:
    chosen: dict[str, Any] = {"profiles": ("jainam-b", "generic-json"), "size": "small"}
    clock = Clock(lambda: times.wall, lambda: times.mono)
    return Exchange(Options(**{**chosen, **options}), clock)


class Run:
    """One life of a simulator with a state file."""

    def __init__(self, path: Path, times: Times, **options: Any) -> None:
        self.exchange = exchange_at(times, **options)
        self.keeper = Keeper(path, self.exchange)
        self.engine = self.exchange.engines["jainam-b"]

    def save(self) -> None:
        asyncio.run(self.keeper.save())

    def end(self) -> None:
        asyncio.run(self.keeper.close())

    def place(self, **changes: Any) -> Order:
        body = {
            "exchangeSegment": "NSECM", "exchangeInstrumentID": RELIANCE, "productType": "MIS",
            "orderType": "MARKET", "orderSide": "BUY", "timeInForce": "DAY",
            "disclosedQuantity": 0, "orderQuantity": 10, "limitPrice": 0, "stopPrice": 0,
            "orderUniqueIdentifier": "T", "clientID": "*****", **changes,
        }  # fmt: skip
        credential = self.exchange.credentials[("interactive", "SIMJAINAMBINTERACTIVE01")]
        record = desk.record(self.engine, body, credential.user_id, 0)
        return self.engine.orders[desk.place(self.engine, credential, body, record, False)[0]]

    def rest(self, **changes: Any) -> Order:
        """An order that stays open, far below the market."""
        low = self.instrument().low
        return self.place(**{"orderType": "LIMIT", "limitPrice": low, **changes})

    def instrument(self) -> Any:
        found = self.exchange.catalog.find("NSECM", RELIANCE)
        assert found is not None
        return found

    def books(self) -> dict[str, Any]:
        """Everything that a client can read, as text."""
        return {name: shown(engine) for name, engine in self.exchange.engines.items()}


def shown(engine: Engine) -> dict[str, Any]:
    accounts = [*engine.clients.all(), *engine.foreign_accounts]
    which = [
        position_rows(accounts, day, engine.profile, engine.quirks, engine.prices)
        for day in ("DayWise", "NetWise")
    ]
    return {
        "orders": order_rows(engine, accounts, True),
        "histories": {i: history(engine, order) for i, order in engine.orders.items()},
        "trades": trade_rows(engine, accounts, True),
        "positions": which,
        "holdings": [holdings(a, engine.quirks, NOON) for a in accounts],
        "balances": [balance(a, engine.quirks) for a in accounts],
        "figures": [inject.account_document(a) for a in accounts],
        "waiting": engine.matching.waiting,
    }


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
    store.write = written.extend  # type: ignore[method-assign]
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


class TestBadFiles:
    def aside(self, path: Path) -> Path:
        (found,) = path.parent.glob("*.aside-*")
        return found

    @pytest.mark.parametrize("content", [b"not a database at all " * 400, b"{}"])
    def test_a_damaged_file_is_set_aside(
        self, path: Path, times: Times, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.parent.mkdir()
        path.write_bytes(content)
        run = Run(path, times)
        assert run.keeper.became == "set aside"
        assert self.aside(path).read_bytes() == content
        assert f"set aside as {path.name}.aside-20261120-120000" in caplog.text
        run.place()
        run.end()
        path.with_name("again").write_bytes(content)
        path.with_name("again").replace(path)
        assert Run(path, times).keeper.became == "set aside"
        assert len(list(path.parent.glob("*.aside-*"))) == 2

    def test_damage_in_the_middle_is_noticed(self, path: Path, times: Times) -> None:
        run = Run(path, times)
        for _ in range(40):
            run.place()
        run.end()
        content = bytearray(path.read_bytes())
        content[4096 : 4096 * 4] = b"\xff" * 4096 * 3
        path.write_bytes(content)
        again = Run(path, times)
        assert again.keeper.became == "set aside"
        assert not again.engine.orders

    def test_another_program_s_file_is_set_aside(self, path: Path, times: Times) -> None:
        path.parent.mkdir()
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE venues (a)")
        other.close()
        assert Run(path, times).keeper.became == "set aside"
        assert self.aside(path).stat().st_size > 0

    @pytest.mark.parametrize(
        "spoil",
        [
            "UPDATE orders SET symbol = 'NO SUCH'",
            "UPDATE orders SET quantity = 'many'",
            "UPDATE orders SET tag = 5",
            "UPDATE orders SET account = 'nobody'",
            "UPDATE accounts SET key = 'nobody' WHERE key = 'pro:SIMBPRO1A01'",
            "UPDATE trades SET sequence = -sequence",
            "DROP TABLE holdings",
        ],
    )
    def test_rows_that_fit_nothing_are_set_aside(
        self, path: Path, times: Times, spoil: str
    ) -> None:
        run = Run(path, times)
        run.place()
        run.end()
        with sqlite3.connect(path) as other:
            other.execute(spoil)
        other.close()
        again = Run(path, times)
        assert again.keeper.became == "set aside"
        assert not again.engine.orders
        assert all(a.positions == {} for a in again.engine.clients.all())
        again.place()
        again.end()
        assert Run(path, times).keeper.became == "kept"

    def test_an_empty_file_is_a_new_one(self, path: Path, times: Times) -> None:
        path.parent.mkdir()
        path.touch()
        assert Run(path, times).keeper.became == "new"

    def test_a_place_for_no_file_stops_nothing(
        self, path: Path, times: Times, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.mkdir(parents=True)
        run = Run(path, times)
        assert run.keeper.became == "unusable"
        assert "the books are not kept" in caplog.text
        run.place()
        run.end()
        assert path.is_dir()

    def test_a_file_in_use_is_left_alone(
        self, path: Path, times: Times, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("simulator.state.store._PATIENCE", 0.05)
        first = Run(path, times)
        first.place()
        assert Run(path, times).keeper.became == "unusable"
        before = first.books()
        first.end()
        assert Run(path, times).books() == before


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
