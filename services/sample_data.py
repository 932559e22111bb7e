"""Sample data for the sandbox: orders in several states and some positions, to look at pages with.

They are real orders of the simulator's, placed like any other, under the strategy "sample".
Clearing cancels what rests, trades the rest flat and takes the sample's entries out of the journal;
the exchange's own book keeps its day, as every exchange does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from broker.base import Clock
from broker.errors import BrokerError
from broker.models import OrderType, Product, Side
from database import journal
from database.engine import Database
from database.journal import Intent, IntentKind, IntentState
from services.access import Principal
from services.accounts import Account
from services.errors import Conflict, ServiceError
from services.market_data import MarketDataService
from services.order_models import OrderDraft
from services.orders import OrderService
from services.portfolio import PortfolioService
from services.trial_order import far_below

STRATEGY = "sample"

_TRADES: tuple[tuple[str, Side, Product, int], ...] = (
    ("RELIANCE", Side.BUY, Product.MIS, 5),
    ("INFY", Side.BUY, Product.CNC, 10),
    ("TCS", Side.SELL, Product.MIS, 3),
    ("RELIANCE", Side.SELL, Product.MIS, 2),
)
_RESTING = ("SBIN", "HDFCBANK")
_EXCHANGE = "NSE"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """What was done: orders placed, cancelled, entries taken out; and what did not work."""

    placed: int = 0
    cancelled: int = 0
    removed: int = 0
    problems: tuple[str, ...] = ()


class SampleDataService:
    """Loads and clears the sample. Every method is `Conflict` where orders could be real."""

    def __init__(
        self, database: Database, orders: OrderService, portfolio: PortfolioService,
        market_data: MarketDataService, clock: Clock,
    ) -> None:
        self._database = database
        self._orders = orders
        self._portfolio = portfolio
        self._market_data = market_data
        self._clock = clock

    def load(self, principal: Principal, account: Account) -> Sample:
        """Place the sample's orders. `Conflict` when they are there already."""
        self._demand_sandbox(account)
        if self._mine(account):
            raise Conflict("The sample is loaded already: clear it first, or reload it.")
        problems: list[str] = []
        drafts = [
            OrderDraft(symbol, _EXCHANGE, side, OrderType.MARKET, product, quantity,
                       strategy=STRATEGY)
            for symbol, side, product, quantity in _TRADES
        ]
        drafts += self._resting(account, problems)
        placed = self._place(principal, account, drafts, problems)
        cancelled = 0
        if len(placed) == len(_TRADES) + len(_RESTING):  # one that was taken back, to look at
            self._orders.cancel(principal, account, placed[-1], strategy=STRATEGY)
            cancelled = 1
        return Sample(len(placed), cancelled, 0, tuple(problems))

    def clear(self, principal: Principal, account: Account) -> Sample:
        """Cancel and flatten what the sample left, and forget it."""
        self._demand_sandbox(account)
        problems: list[str] = []
        mine = {intent.broker_order_id: intent for intent in self._mine(account)
                if intent.kind is IntentKind.PLACE and intent.state is IntentState.ACCEPTED}
        net: Counter[tuple[str, Product]] = Counter()
        cancelled = 0
        for row in self._portfolio.orders(account, fresh=True):
            if row.order_id not in mine:
                continue
            if row.state.is_open:
                try:
                    self._orders.cancel(principal, account, row.order_id, strategy=STRATEGY)
                    cancelled += 1
                except (BrokerError, ServiceError) as error:
                    problems.append(f"{row.symbol}: {error.message}")
            signed = row.filled_quantity if row.side is Side.BUY else -row.filled_quantity
            net[row.symbol, row.product] += signed
        drafts = [
            OrderDraft(symbol, _EXCHANGE, Side.SELL if units > 0 else Side.BUY, OrderType.MARKET,
                       product, abs(units), strategy=STRATEGY)
            for (symbol, product), units in sorted(net.items()) if units
        ]
        placed = self._place(principal, account, drafts, problems)
        removed = 0
        if not problems:
            with self._database.write() as conn:
                removed = journal.forget_strategy(conn, account.id, STRATEGY)
        return Sample(len(placed), cancelled, removed, tuple(problems))

    def _resting(self, account: Account, problems: list[str]) -> list[OrderDraft]:
        """Limits far below the market, which stay open."""
        drafts = []
        for symbol in _RESTING:
            try:
                view = self._market_data.quote(account, symbol, _EXCHANGE)
            except (BrokerError, ServiceError) as error:
                problems.append(f"{symbol}: {error.message}")
                continue
            drafts.append(OrderDraft(
                symbol, _EXCHANGE, Side.BUY, OrderType.LIMIT, Product.MIS, 1,
                far_below(view.record, view.quote.last_price), strategy=STRATEGY,
            ))
        return drafts

    def _place(
        self, principal: Principal, account: Account, drafts: Sequence[OrderDraft],
        problems: list[str],
    ) -> list[str]:
        placed = []
        for draft in drafts:
            try:
                placed.append(self._orders.place(principal, account, draft).order_id)
            except (BrokerError, ServiceError) as error:
                problems.append(f"{draft.symbol}: {error.message}")
        return placed

    def _mine(self, account: Account) -> list[Intent]:
        with self._database.read() as conn:
            found = journal.list_intents(conn, [account.id], self._clock.now() - 7 * _DAY)
        return [intent for intent in found if intent.strategy == STRATEGY]

    def _demand_sandbox(self, account: Account) -> None:
        if not account.sandbox:
            raise Conflict("Sample data is for the sandbox: these orders would be real.")
