"""The books of an account as people and programs read them.

Rows carry the symbol of the master contract, found by token for a whole book at once, and whether
the order is ours, found by its tag. A copy of at most one second (holdings: ten) may answer; with
`fresh=True` the venue is read after the call, which is what decisions need. A book that cannot be
read is an error, never an empty list.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from broker.base import Clock, Deadline
from broker.errors import BrokerError
from broker.models import (
    ZERO,
    Exchange,
    Funds,
    Holding,
    InstrumentRef,
    Order,
    Position,
    Product,
)
from database import journal
from database.engine import Database
from database.errors import StorageError
from services.accounts import Account
from services.books import COPY_AGE, HOLDINGS_AGE, Books
from services.errors import NotFoundHere, ServiceError
from services.market_data import MarketDataService
from services.portfolio_views import (
    HoldingView,
    OrderView,
    PnlSource,
    PositionView,
    TradeView,
)
from services.price_keeper import PriceKeeper
from services.shared_reads import Copy
from services.symbols import SymbolRecord, SymbolService

__all__ = [
    "HoldingView", "OrderView", "PnlSource", "PortfolioService", "PositionView", "TradeView",
    "net_quantity", "profit_of",
]

log = logging.getLogger(__name__)

T = TypeVar("T")

PRICE_SECONDS = 1.5
"""What a position book spends on last prices at the most; it is shown without them then."""

_REMEMBERED_TAGS = 50_000


@dataclass(frozen=True, slots=True)
class _Ours:
    reference: str
    strategy: str


_FOREIGN = _Ours("", "")


class PortfolioService:
    """Reads of orders, trades, positions, holdings and funds. `timeout` in seconds."""

    def __init__(
        self,
        books: Books,
        symbols: SymbolService,
        market_data: MarketDataService,
        database: Database,
        clock: Clock,
        keeper: PriceKeeper,
        *,
        timeout: float = 10.0,
    ) -> None:
        self._books = books
        self._symbols = symbols
        self._market_data = market_data
        self._clock = clock
        self._keeper = keeper
        self._timeout = timeout
        self._tags = _Tags(database)
        self._shown: dict[int, tuple[Copy[list[Order]], list[OrderView]]] = {}

    # Orders and trades -------------------------------------------------------------------------

    def orders(
        self, account: Account, *, fresh: bool = False, deadline: Deadline | None = None
    ) -> list[OrderView]:
        """Today's orders, in the venue's sequence."""
        copy = self._books.orders(account, self._due(deadline), max_age=_age(fresh))
        shown = self._shown.get(account.id)
        if shown is None or shown[0] is not copy:
            shown = self._shown[account.id] = (copy, self._order_views(account, copy.value))
        return shown[1]

    def order(
        self,
        account: Account,
        order_id: str,
        *,
        fresh: bool = False,
        deadline: Deadline | None = None,
    ) -> OrderView:
        """One order, by the broker's id or our reference. `NotFoundHere` when it is not there."""
        for view in self.orders(account, fresh=fresh, deadline=deadline):
            if view.order_id == order_id or (view.reference and view.reference == order_id):
                return view
        raise NotFoundHere(f"Order {order_id} not found.")

    def trades(
        self, account: Account, *, fresh: bool = False, deadline: Deadline | None = None
    ) -> list[TradeView]:
        """Today's executions, one row each."""
        trades = self._books.trades(account, self._due(deadline), max_age=_age(fresh)).value
        records = self._records(account, (trade.instrument for trade in trades))
        ours = self._tags.of(trade.tag for trade in trades)
        views = []
        for trade in trades:
            symbol, exchange, known = _named(records, trade.instrument, trade.broker_symbol)
            mine = ours.get(trade.tag)
            views.append(TradeView(
                trade.trade_id, trade.order_id, symbol, exchange, known, trade.side, trade.product,
                trade.quantity, trade.price, trade.traded_at, mine is not None,
                mine.strategy if mine else "",
            ))
        return views

    # Positions ---------------------------------------------------------------------------------

    def positions(
        self, account: Account, *, fresh: bool = False, deadline: Deadline | None = None
    ) -> list[PositionView]:
        """Net positions, flat ones of today included, with P&L and whose number it is."""
        due = self._due(deadline)
        rows = self._books.positions(account, due, max_age=_age(fresh)).value
        records = self._records(account, (row.instrument for row in rows))
        held = [row.instrument for row in rows if row.quantity]
        prices = self._last_prices(account, held, due)
        if held:
            self._keeper.watch(account, held)
        views = []
        for row in rows:
            symbol, exchange, known = _named(records, row.instrument, row.broker_symbol)
            price = prices.get(row.instrument, ZERO)
            pnl, source = profit_of(row, price)
            views.append(PositionView(
                symbol, exchange, known, row.product, row.quantity, row.buy_quantity,
                row.sell_quantity, row.average_price, price, pnl, source,
            ))
        return views

    def open_position(
        self,
        account: Account,
        symbol: str,
        exchange: str,
        product: Product,
        *,
        fresh: bool = False,
        deadline: Deadline | None = None,
    ) -> int:
        """Signed net quantity of one instrument and product; 0 when the book has none.

        `UnknownSymbol` for a symbol that the master contract does not have.
        """
        ref = self._symbols.require(account.broker, exchange, symbol).ref
        rows = self._books.positions(account, self._due(deadline), max_age=_age(fresh)).value
        return net_quantity(rows, ref, product)

    # Holdings and funds ------------------------------------------------------------------------

    def holdings(
        self, account: Account, *, fresh: bool = False, deadline: Deadline | None = None
    ) -> list[HoldingView]:
        """Shares in the demat account, valued at the last price where there is one."""
        due = self._due(deadline)
        max_age = 0.0 if fresh else HOLDINGS_AGE
        rows = self._books.holdings(account, due, max_age=max_age).value
        refs = [ref for row in rows for ref in row.instruments]
        records = self._records(account, refs)
        shown = [(row, _traded_at(row, records)) for row in rows]
        prices = self._last_prices(account, [ref for _, ref in shown if ref is not None], due)
        return [_holding_view(row, ref, records, prices) for row, ref in shown]

    def funds(
        self, account: Account, *, fresh: bool = False, deadline: Deadline | None = None
    ) -> Funds:
        """Limits of the account in rupees."""
        return self._books.funds(account, self._due(deadline), max_age=_age(fresh)).value

    # Inside ------------------------------------------------------------------------------------

    def _order_views(self, account: Account, rows: list[Order]) -> list[OrderView]:
        records = self._records(account, (row.instrument for row in rows))
        ours = self._tags.of(row.tag for row in rows)
        views = []
        for row in rows:
            symbol, exchange, known = _named(records, row.instrument, row.broker_symbol)
            mine = ours.get(row.tag, _FOREIGN)
            views.append(OrderView(
                row.order_id, symbol, exchange, known, row.side, row.order_type, row.product,
                row.validity, row.quantity, row.filled_quantity, row.pending_quantity, row.price,
                row.trigger_price, row.average_price, row.state, row.state_text, row.reason,
                row.placed_at, row.updated_at, mine is not _FOREIGN, mine.reference, mine.strategy,
            ))
        return views

    def _records(
        self, account: Account, refs: Iterable[InstrumentRef]
    ) -> dict[InstrumentRef, SymbolRecord]:
        return self._symbols.many_by_token(account.broker, set(refs))

    def _last_prices(
        self, account: Account, refs: list[InstrumentRef], deadline: Deadline
    ) -> dict[InstrumentRef, Decimal]:
        """Last prices where they can be had; a book is not held up by them."""
        if not refs:
            return {}
        due = deadline.within(PRICE_SECONDS)
        try:
            quotes = self._market_data.by_ref(account, refs, deadline=due)
        except (BrokerError, ServiceError) as error:
            log.info("a book is shown without last prices", extra={
                "account": account.label, "error": error.kind})
            return {}
        return {ref: quote.last_price for ref, quote in quotes.items()}

    def _due(self, deadline: Deadline | None) -> Deadline:
        return deadline or Deadline(self._clock, self._timeout)


class _Tags:
    """Which tags are ours. What the journal has said once about a tag holds for ever."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._known: dict[str, _Ours | None] = {}

    def of(self, tags: Iterable[str]) -> dict[str, _Ours]:
        """The tags among these that are ours. A journal that is gone makes none of them ours."""
        wanted = {tag for tag in tags if tag}
        known = self._known
        missing = [tag for tag in wanted if tag not in known]
        if missing:
            known = self._ask(missing)
        return {tag: ours for tag in wanted if (ours := known.get(tag)) is not None}

    def _ask(self, missing: list[str]) -> dict[str, _Ours | None]:
        try:
            with self._database.read() as conn:
                found = journal.by_tags(conn, missing)
        except StorageError:
            log.warning("the journal cannot be read: orders are shown without their strategy")
            return self._known
        answers: dict[str, _Ours | None] = dict.fromkeys(missing)
        answers.update(
            (tag, _Ours(intent.reference, intent.strategy)) for tag, intent in found.items()
        )
        with self._guard:
            if len(self._known) + len(answers) > _REMEMBERED_TAGS:
                self._known = {}
            self._known = {**self._known, **answers}
            return self._known


def net_quantity(rows: Iterable[Position], ref: InstrumentRef, product: Product) -> int:
    """Signed net quantity over the rows of one instrument and product."""
    return sum(row.quantity for row in rows if row.instrument == ref and row.product is product)


def profit_of(row: Position, last_price: Decimal) -> tuple[Decimal, PnlSource]:
    """Profit or loss of a position in rupees, and whose number it is.

    The venue's own where it sends both parts. XTS often sends none (XTS reference §7.7); then
    realised = min(bought, sold) × (sell average - buy average) × multiplier, and what is open is
    valued at the last price.
    """
    if row.realised is not None and row.unrealised is not None:
        return row.realised + row.unrealised, PnlSource.BROKER
    closed = min(row.buy_quantity, row.sell_quantity)
    realised = closed * (row.sell_average - row.buy_average) * row.multiplier
    if row.quantity == 0:
        return realised, PnlSource.COMPUTED
    if last_price <= 0:
        return realised, PnlSource.REALISED
    unrealised = row.quantity * (last_price - row.average_price) * row.multiplier
    return realised + unrealised, PnlSource.COMPUTED


def _age(fresh: bool) -> float:
    return 0.0 if fresh else COPY_AGE


def _named(
    records: dict[InstrumentRef, SymbolRecord], ref: InstrumentRef, broker_symbol: str
) -> tuple[str, str, bool]:
    record = records.get(ref)
    if record is None:
        return broker_symbol or ref.token, ref.exchange.value, False
    return record.symbol, record.exchange, True


def _traded_at(
    row: Holding, records: dict[InstrumentRef, SymbolRecord]
) -> InstrumentRef | None:
    """The exchange to show a holding at: NSE where it is listed there, else the first known."""
    known = [ref for ref in row.instruments if ref in records]
    at_nse = [ref for ref in known if ref.exchange is Exchange.NSE]
    return next(iter(at_nse or known or row.instruments), None)


def _holding_view(
    row: Holding,
    ref: InstrumentRef | None,
    records: dict[InstrumentRef, SymbolRecord],
    prices: dict[InstrumentRef, Decimal],
) -> HoldingView:
    symbol, exchange, known = row.isin, "", False
    price = ZERO
    if ref is not None:
        symbol, exchange, known = _named(records, ref, row.isin)
        price = prices.get(ref, ZERO)
    cost = row.average_price * row.quantity
    pnl = price * row.quantity - cost if price and cost else ZERO
    percent = pnl * 100 / cost if cost else ZERO
    return HoldingView(
        symbol, exchange, known, row.isin, row.quantity, row.sellable, row.average_price, price,
        pnl, percent,
    )
