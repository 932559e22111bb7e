"""The daily history: added up over processes, counted again from the journal, kept 90 days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.errors import OutcomeUnknown
from broker.models import Product, Side
from database import journal
from database.engine import Database
from database.journal import Intent, IntentKind, IntentState
from services.figures import Day, FigureService, summary_of
from services.portfolio_views import TradeView
from services.trading_figures import STRATEGIES, TradingFigures, count_trades
from tests.support.clocks import ManualClock
from tests.support.databases import KINDS, add_account, scratch_database, sqlite_database
from utils.clock import trading_day
from utils.metrics import OTHER
from utils.tally import Tally


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with scratch_database(request.param, tmp_path) as made:
        yield made


def place(database: Database, clock: ManualClock, account_id: int, state: IntentState) -> None:
    number = clock.now().timestamp()
    intent = Intent(
        reference=f"R{number}", tag=f"T{number}"[:20], kind=IntentKind.PLACE,
        account_id=account_id, user_id=None, request_id="r", created_at=clock.now(),
    )
    with database.write() as conn:
        intent_id = journal.new_intent(conn, intent)
        for step in (IntentState.SENDING, state):
            journal.change(conn, intent_id, step, "test", at=clock.now())
    clock.advance(1)


def test_processes_add_up_and_the_journal_is_counted_again(database: Database) -> None:
    clock = ManualClock()
    one, two = Tally(), Tally()
    first, second = FigureService(database, clock, one), FigureService(database, clock, two)
    for tally in (one, two):
        tally.add("api_calls", "2xx", 3)
    one.add("api_calls", "5xx")
    first.write_down()
    second.write_down()
    second.write_down()
    account = add_account(database)
    for state in (IntentState.ACCEPTED, IntentState.ACCEPTED, IntentState.REJECTED):
        place(database, clock, account, state)
    for _ in range(2):
        first.count_again()
    day = second.today()
    assert day.of("api_calls") == {"2xx": 6, "5xx": 1}
    assert day.of("orders")["accepted"] == 2
    told = summary_of(day)
    assert (told["orders_per_day"], told["order_success_rate"]) == (3, 66.667)
    assert (told["api_calls"], told["api_error_rate"]) == (7, 14.286)
    assert told["broker_error_rate"] is None
    assert told["cache_hit_rate"] is None


def test_days_without_figures_are_there_and_old_ones_go(tmp_path: Path) -> None:
    clock = ManualClock()
    with sqlite_database(tmp_path) as database:
        figures = FigureService(database, clock, Tally())
        today = trading_day(clock.now())
        for back in (0, 90, 91):
            figures.put({("trades", "a|buy"): 1.0 + back}, today - timedelta(days=back))
        week = figures.days(7)
        assert [day.day for day in week] == [today - timedelta(days=n) for n in range(6, -1, -1)]
        assert [day.total("trades") for day in week] == [0, 0, 0, 0, 0, 0, 1]
        assert figures.prune() == 1
        assert figures.days(92)[1].total("trades") == 91


def test_what_can_not_be_written_is_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    tally = Tally()
    with sqlite_database(tmp_path, upgraded=False) as database:
        tally.add("api_calls", "2xx")
        figures = FigureService(database, clock, tally)
        figures.write_down()  # there is no table yet
        tally.add("api_calls", "2xx")
        database.upgrade()
        figures.write_down()
        assert figures.today().of("api_calls") == {"2xx": 2}


def test_a_summary_names_the_bucket_of_the_95th_percentile() -> None:
    values = {"api_within": {"0.1": 94.0, "0.25": 6.0}, "broker_within": {"+Inf": 1.0}}
    told = summary_of(Day(date(2026, 11, 20), values))
    assert told["api_p95_ms"] == 250
    assert told["broker_p95_ms"] is None  # beyond every bucket: nothing can be said


# Trades by strategy ----------------------------------------------------------------------------

TRADE = TradeView(
    "1", "1", "INFY", "NSE", True, Side.BUY, Product.MIS, 5, Decimal(100), None, True, "alpha"
)
ACCOUNT: Any = SimpleNamespace(id=1, label="prop-b")


def test_trades_and_positions_by_strategy() -> None:
    sold = TRADE._replace(side=Side.SELL)
    rows = [
        TRADE, TRADE, sold, sold._replace(symbol="TCS"), TRADE._replace(ours=False),
        TRADE._replace(strategy=" "),
        TRADE._replace(strategy="flat"), sold._replace(strategy="flat"),
    ]  # fmt: skip
    counted = count_trades([(ACCOUNT, rows)], set())
    assert counted == {
        ("trades", "alpha|buy"): 2, ("trades", "alpha|sell"): 2,
        ("trades", "external|buy"): 1, ("trades", "none|buy"): 1,
        ("trades", "flat|buy"): 1, ("trades", "flat|sell"): 1,
        ("active_positions", "alpha"): 2, ("active_positions", "external"): 1,
        ("active_positions", "none"): 1, ("active_positions", "flat"): 0,
    }  # fmt: skip


def test_strategies_can_not_explode_and_keep_their_names() -> None:
    rows = [TRADE._replace(strategy=f"s{number:03}") for number in range(STRATEGIES + 30)]
    counted = count_trades([(ACCOUNT, rows)], {"alpha"})
    trades = {label: count for (name, label), count in counted.items() if name == "trades"}
    assert len(trades) == STRATEGIES
    assert trades[f"{OTHER}|buy"] == 31
    late = count_trades([(ACCOUNT, [*rows, TRADE])], {"alpha"})
    assert late["trades", "alpha|buy"] == 1


class Books:
    """Stands in for the portfolio and the sessions."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.error: Exception | None = None
        self.connected = True

    def status(self, account: Any) -> Any:
        return SimpleNamespace(connected=self.connected)

    def trades(self, account: Any) -> list[TradeView]:
        self.reads.append(account.label)
        if self.error:
            raise self.error
        return [TRADE]


def test_only_books_with_something_new_are_read(tmp_path: Path) -> None:
    clock, books = ManualClock(), Books()
    with sqlite_database(tmp_path) as database:
        figures = FigureService(database, clock, Tally())
        ids = [add_account(database, label) for label in ("prop-b", "prop-c")]
        accounts: Any = SimpleNamespace(all=lambda: [
            SimpleNamespace(id=number, label=f"account {number}") for number in ids
        ])
        trading = TradingFigures(database, accounts, books, books, figures, clock)  # type: ignore[arg-type]
        assert trading.count()
        assert books.reads == []  # nothing was traded today
        place(database, clock, ids[1], IntentState.ACCEPTED)
        place(database, clock, ids[0], IntentState.REJECTED)
        assert trading.count()
        assert books.reads == [f"account {ids[1]}"]
        assert figures.today().of("trades") == {"alpha|buy": 1}
        for books.error, books.connected in (OutcomeUnknown("gone"), True), (None, False):
            assert not trading.count()  # what could not be read is not zero
            assert figures.today().of("trades") == {"alpha|buy": 1}
