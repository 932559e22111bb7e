"""What the risk rules read of an account: each thing once an order, and only when a rule asks.

The sequence of the reads is what makes the sums safe: the journal first, then the order book, then
the positions. An order that moves on meanwhile is seen at least once, perhaps twice, and never not
at all; so a sum may be too large for a moment, which refuses, and is never too small. Fills that
the position book lacks are added (`services.lagging`). Orders from elsewhere are in the books.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from broker.base import Clock, Deadline
from broker.errors import ProtocolError
from broker.models import Funds, InstrumentRef, Order, Position, Product, Side
from database import journal
from database import risk as days
from database.engine import Database
from database.journal import Intent, IntentKind
from services.accounts import Account
from services.books import COPY_AGE, Books
from services.exposure import UNSEEN_FOR
from services.lagging import Key, LagWatch, Missing
from services.market_data import MarketDataService
from services.portfolio import profit_of
from services.recording import Recorder
from services.risk_rules import Wish
from utils.clock import trading_day


class RiskReader:
    """Reads accounts for the risk rules."""

    def __init__(
        self,
        books: Books,
        market_data: MarketDataService,
        recorder: Recorder,
        database: Database,
        clock: Clock,
    ) -> None:
        self._books = books
        self._market_data = market_data
        self._recorder = recorder
        self._database = database
        self._clock = clock
        self._lag = LagWatch(books, clock)

    def facts(self, wish: Wish, deadline: Deadline) -> AccountFacts:
        """What can be read for one order; nothing is read yet."""
        return AccountFacts(self, wish, deadline)

    def last_prices(
        self, account: Account, refs: list[InstrumentRef], deadline: Deadline
    ) -> dict[InstrumentRef, Decimal]:
        """Last prices of all of these; `ProtocolError` when one has none."""
        if not refs:
            return {}
        quotes = self._market_data.by_ref(account, refs, deadline=deadline)
        for ref in refs:
            if ref not in quotes or quotes[ref].last_price <= 0:
                raise ProtocolError(f"The broker has no last price for {ref.exchange}:{ref.token}.")
        return {ref: quotes[ref].last_price for ref in refs}

    def in_flight(self, account: Account, orders: list[Order], intents: list[Intent]) -> (
        list[Intent]
    ):
        """The intents that this book does not show yet."""
        ids = {row.order_id for row in orders}
        tags = {row.tag for row in orders if row.tag}
        return [
            intent for intent in intents
            if intent.kind is IntentKind.PLACE
            and intent.tag not in tags and intent.broker_order_id not in ids
        ]

    def intents(self, account: Account) -> list[Intent]:
        """Today's orders and modifications of open outcome, and accepted ones not seen yet."""
        now = self._clock.now()
        today = trading_day(now)
        with self._recorder.reading() as conn:
            waiting = journal.open_intents(conn, account_id=account.id)
            unseen = journal.unseen(
                conn, account.id, now - UNSEEN_FOR, kinds=(IntentKind.PLACE, IntentKind.MODIFY)
            )
        return [
            intent for intent in (*waiting, *unseen)
            if intent.kind is not IntentKind.CANCEL and trading_day(intent.created_at) == today
        ]

    def orders(self, account: Account, deadline: Deadline) -> list[Order]:
        """Today's orders, read now."""
        return self._books.orders(account, deadline).value

    def positions(
        self, account: Account, orders: list[Order], ref: InstrumentRef, deadline: Deadline
    ) -> tuple[list[Position], dict[Key, Missing]]:
        """The positions of a second ago at most, and the fills that they lack in one instrument."""
        return self._lag.positions(
            account, orders, lambda key: key[0] == ref, deadline, max_age=COPY_AGE
        )

    def funds(self, account: Account, deadline: Deadline) -> Funds:
        """The account's limits, read now."""
        return self._books.funds(account, deadline).value

    def result(
        self, account: Account, deadline: Deadline, positions: list[Position] | None = None
    ) -> Decimal:
        """Profit or loss of the position book. Raises when an open position has no price."""
        if positions is None:
            positions = self._books.kept_positions(account, deadline, COPY_AGE)
        unknown = [
            row.instrument for row in positions
            if row.quantity and (row.realised is None or row.unrealised is None)
        ]
        prices = self.last_prices(account, list(dict.fromkeys(unknown)), deadline)
        return sum(
            (profit_of(row, prices.get(row.instrument, Decimal(0)))[0] for row in positions),
            Decimal(0),
        )

    def best_result(self, account: Account, result: Decimal) -> Decimal:
        """The best result of the day, this one included, which is kept."""
        now = self._clock.now()
        day = trading_day(now)
        with self._database.read() as conn:
            known = days.known_best(conn, account.id, day)
        if known is not None and result <= known:
            return known
        with self._database.write() as conn:
            return days.best_result(conn, account.id, day, result, at=now)

    def prune(self, keep: timedelta) -> int:
        """Forget the best results of days that are over; how many."""
        with self._database.write() as conn:
            return days.prune_days(conn, trading_day(self._clock.now() - keep))


class AccountFacts:
    """`services.risk_rules.Facts` of one order; reads on demand and remembers."""

    def __init__(self, reader: RiskReader, wish: Wish, deadline: Deadline) -> None:
        self._reader = reader
        self._wish = wish
        self._account = wish.account
        self._due = deadline
        self._intents: list[Intent] | None = None
        self._orders: list[Order] | None = None
        self._positions: tuple[list[Position], dict[Key, Missing]] | None = None
        self._price: Decimal | None = None
        self._funds: Funds | None = None
        self._result: Decimal | None = None

    def last_price(self) -> Decimal:
        if self._price is None:
            ref = self._wish.record.ref
            self._price = self._reader.last_prices(self._account, [ref], self._due)[ref]
        return self._price

    def capital(self) -> Decimal:
        if self._funds is None:
            self._funds = self._reader.funds(self._account, self._due)
        return self._funds.available + self._funds.utilised

    def open_orders(self) -> int:
        intents, orders = self._journal(), self._book()
        working = sum(row.state.is_open and not self._is_own(row) for row in orders)
        return working + len(self._reader.in_flight(self._account, orders, intents))

    def orders_today(self) -> int:
        intents, orders = self._journal(), self._book()
        return len(orders) + len(self._reader.in_flight(self._account, orders, intents))

    def reach(self, side: Side) -> int:
        """Over all products of the instrument: what is held and what may still be traded on this
        side. Products do not set each other off, as they do not at the venue.
        """
        working = self._working(side)
        positions, missing = self._held()
        ref, sign = self._wish.record.ref, 1 if side is Side.BUY else -1
        total = 0
        for product in Product:
            key = (ref, product)
            net = sum(
                row.quantity for row in positions
                if row.instrument == ref and row.product is product
            )
            lacks = missing.get(key, Missing(0, 0))
            late = lacks.bought if side is Side.BUY else lacks.sold
            total += max(0, sign * net + late + working.get(product, 0))
        return total

    def result(self) -> Decimal:
        if self._result is None:
            held = self._positions[0] if self._positions is not None else None
            self._result = self._reader.result(self._account, self._due, held)
        return self._result

    def best_result(self) -> Decimal:
        return self._reader.best_result(self._account, self.result())

    def stop_price(self) -> Decimal | None:
        wish = self._wish
        stops = [
            row.trigger_price for row in self._book()
            if row.state.is_open and row.order_type.needs_trigger
            and row.side is wish.side.opposite and row.instrument == wish.record.ref
            and row.product is wish.product and row.pending_quantity >= wish.remaining
        ]
        if not stops:
            return None
        return min(stops) if wish.side is Side.BUY else max(stops)

    def _working(self, side: Side) -> dict[Product, int]:
        """By product, units on this side that working orders and this one may still trade."""
        wish = self._wish
        intents, orders = self._journal(), self._book()
        found: dict[Product, int] = {wish.product: wish.remaining} if side is wish.side else {}
        wanted = _modified(intents)
        for row in orders:
            if not row.state.is_open or row.side is not side or self._is_own(row):
                continue
            if row.instrument == wish.record.ref:
                total = max(row.quantity, wanted.get(row.order_id, 0))
                pending = max(row.pending_quantity, total - row.filled_quantity)
                found[row.product] = found.get(row.product, 0) + pending
        for intent in self._reader.in_flight(self._account, orders, intents):
            ref = wish.record.ref
            if (intent.exchange, intent.token) == (ref.exchange.value, ref.token) and (
                intent.side == side.value
            ):
                product = Product(intent.product)
                found[product] = found.get(product, 0) + intent.quantity
        return found

    def _is_own(self, row: Order) -> bool:
        """Whether a row is the order that is to be modified, which counts as it shall stand."""
        replaces = self._wish.replaces
        return replaces is not None and row.order_id == replaces.order_id

    def _journal(self) -> list[Intent]:
        if self._intents is None:
            self._intents = self._reader.intents(self._account)
        return self._intents

    def _book(self) -> list[Order]:
        self._journal()
        if self._orders is None:
            self._orders = self._reader.orders(self._account, self._due)
        return self._orders

    def _held(self) -> tuple[list[Position], dict[Key, Missing]]:
        orders = self._book()
        if self._positions is None:
            self._positions = self._reader.positions(
                self._account, orders, self._wish.record.ref, self._due
            )
        return self._positions


def _modified(intents: list[Intent]) -> dict[str, int]:
    """The largest total that a modification in flight asks for, by order id."""
    found: dict[str, int] = {}
    for intent in intents:
        if intent.kind is IntentKind.MODIFY:
            order = intent.target_order_id
            found[order] = max(found.get(order, 0), intent.quantity)
    return found
