"""Trades and positions by strategy, counted from the brokers' trade books.

The journal knows what was accepted; what was executed stands in the trade book. Once a minute the
process that holds the scheduler's lease reads the book of every connected account on which an
order was accepted today, and sets the day's figures from all of it: counting again changes
nothing, whatever process does it. A strategy is what the order said; trades that did not go
through this gateway belong to "external". The names of strategies are the clients', so a day
takes at most `STRATEGIES` of them; later ones are "other".
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from broker.base import Clock
from broker.errors import BrokerError
from database import journal_counts
from database.engine import Database
from services.accounts import Account, AccountService
from services.errors import ServiceError
from services.figures import POSITIONS, TRADES, FigureService
from services.portfolio import PortfolioService, TradeView
from services.sessions import SessionService
from utils.clock import start_of_trading_day
from utils.metrics import OTHER
from utils.turns import giving_way

log = logging.getLogger(__name__)

STRATEGIES = 50
EXTERNAL, NAMELESS = "external", "none"

_LONGEST_NAME = 64


class TradingFigures:
    """Reads trade books and sets the figures `trades` and `active_positions` of the day."""

    def __init__(
        self,
        database: Database,
        accounts: AccountService,
        sessions: SessionService,
        portfolio: PortfolioService,
        figures: FigureService,
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._sessions = sessions
        self._portfolio = portfolio
        self._figures = figures
        self._clock = clock

    @giving_way()
    def count(self) -> bool:
        """Set the figures; False when a book could not be read, and nothing was set."""
        with self._database.read() as conn:
            traded = journal_counts.accounts_that_traded(
                conn, start_of_trading_day(self._clock.now())
            )
        books = []
        for account in self._accounts.all():
            if account.id not in traded:
                continue
            trades = self._read(account)
            if trades is None:
                return False
            books.append((account, trades))
        if books:
            known = self._figures.today().of(TRADES)
            names = {label.rpartition("|")[0] for label in known}
            self._figures.put(count_trades(books, names))
        return True

    def _read(self, account: Account) -> list[TradeView] | None:
        if not self._sessions.status(account).connected:
            return None
        try:
            return self._portfolio.trades(account)
        except (BrokerError, ServiceError) as error:
            log.info("the trade book of %s can't be read for the figures", account.label,
                     extra={"error_code": error.kind})
            return None


def count_trades(
    books: Iterable[tuple[Account, list[TradeView]]], known: set[str]
) -> dict[tuple[str, str], float]:
    """The figures of these books. `known` are names of strategies that have a figure already."""
    names = set(known)
    trades: Counter[str] = Counter()
    net: Counter[tuple[str, int, str, str, str]] = Counter()
    for account, rows in books:
        for row in rows:
            name = _name_of(row)
            if name not in names and len(names) >= STRATEGIES:
                name = OTHER
            names.add(name)
            side = str(row.side).lower()
            trades[f"{name}|{side}"] += 1
            signed = row.quantity if side == "buy" else -row.quantity
            net[name, account.id, row.exchange, row.symbol, str(row.product)] += signed
    open_positions = Counter(name for (name, *_), quantity in net.items() if quantity)
    return {
        **{(TRADES, label): float(count) for label, count in trades.items()},
        **{(POSITIONS, name): float(open_positions[name]) for name in {key[0] for key in net}},
    }


def _name_of(row: TradeView) -> str:
    if not row.ours:
        return EXTERNAL
    return row.strategy.strip()[:_LONGEST_NAME] or NAMELESS
