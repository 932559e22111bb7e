"""One venue's order engine: accepts, acknowledges, fills, modifies, cancels, and remembers (§17.2).

Nothing here knows of HTTP. What happens later (acknowledgements with latency) goes through
`defer`, which the server binds to its event loop and tests to whatever they like. `listeners`
receive every order, trade and position event in the order they happen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from typing import Any

from simulator.clock import IST_OFFSET, Clock
from simulator.market.catalog import Catalog
from simulator.market.instruments import Instrument
from simulator.market.prices import PriceBook
from simulator.oms import risk
from simulator.oms.accounts import Account, Position
from simulator.oms.changes import Changes
from simulator.oms.clients import Clients
from simulator.oms.matching import Matching
from simulator.oms.orders import (
    CANCELLED,
    FILLED,
    NEW,
    PARTIAL,
    PENDING_CANCEL,
    PENDING_NEW,
    PENDING_REPLACE,
    REJECTED,
    REPLACED,
    TERMINAL,
    Order,
    Terms,
    Trade,
)
from simulator.oms.rows import order_bytes, trade_bytes
from simulator.profiles import PROFILES, Credential, Profile
from simulator.settings import Behaviour, Quirks
from simulator.truth import Truth

Defer = Callable[[float, Callable[[], None]], None]
Listener = Callable[[str, "Engine", Any], None]


def at_once(_delay: float, action: Callable[[], None]) -> None:
    """The `defer` of a venue without an event loop."""
    action()


class Engine:
    """Orders, trades and accounts of one venue."""

    def __init__(
        self,
        profile: Profile,
        catalog: Catalog,
        prices: PriceBook,
        clock: Clock,
        seed: int,
        defer: Defer = at_once,
    ) -> None:
        self.profile = profile
        self.catalog = catalog
        self.prices = prices
        self.clock = clock
        self.quirks = Quirks()
        self.behaviour = Behaviour()
        self.truth = Truth()
        self.listeners: list[Listener] = []
        self.changes = Changes()
        self.quirks_version = 0
        self._seed = seed
        self._defer = defer
        self._credentials: list[Credential] = []
        self._next_id = 0
        self._sequence = 0
        self.clear()

    def clear(self) -> None:
        """Forget orders, trades and accounts; start as new (order ids keep growing)."""
        self.orders: dict[int, Order] = {}
        self.trades: list[Trade] = []
        #: Accounts of other clients whose rows show up in dealer books (control API).
        self.foreign_accounts: list[Account] = []
        self.clients = Clients(self.profile)
        for credential in self._credentials:
            self.clients.add(credential)
        self.matching = Matching(self)
        self.random = random.Random(f"{self._seed}:{self.profile.name}")
        self.day: date = self.clock.trading_date()
        self.truth.clear(self.clock.mono_ns())
        self.changes.all()
        # Ids start where the time of day puts them: a restart must not give today's ids again.
        base = 1_000_000_000 + list(PROFILES).index(self.profile.name) * 100_000_000
        today = int((self.clock.wall() + IST_OFFSET) % 86_400) * 1_000
        self._next_id = max(self._next_id, base + today)
        self._executions = 400_000 + today

    def add_credential(self, credential: Credential) -> None:
        """Let a login trade here."""
        self._credentials.append(credential)
        self.clients.add(credential)

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """Every login that may trade here, in the order in which they came."""
        return tuple(self._credentials)

    @property
    def counters(self) -> tuple[int, int, int]:
        """The last order id, SequenceNumber and execution id given."""
        return self._next_id, self._sequence, self._executions

    def count_on(self, order_id: int, sequence: int, execution: int) -> None:
        """Go on counting after these; what was given once is never given again.

        The start of the day's ids (see `clear`) stays where it is higher: ids that a kill kept
        out of the file lie below it.
        """
        self._next_id = max(self._next_id, order_id)
        self._sequence = max(self._sequence, sequence)
        self._executions = max(self._executions, execution)

    # -- life of an order --------------------------------------------------------------------

    def submit(
        self,
        account: Account,
        login: str,
        instrument: Instrument,
        side: str,
        terms: Terms,
        *,
        source: str = "",
        generated_by: str = "TWS",
    ) -> Order:
        """Take a valid order into the books and pass it to the exchange."""
        order = Order(
            app_id=self.new_id(),
            account=account,
            client=account.row_client,
            login=login,
            instrument=instrument,
            side=side,
            order_type=terms.order_type,
            product=terms.product,
            tif=terms.tif,
            quantity=terms.quantity,
            disclosed=terms.disclosed,
            price=terms.price,
            stop_price=terms.stop_price,
            tag=terms.tag,
            source=source,
            generated_by=generated_by,
            created=self.clock.wall(),
        )
        self.orders[order.app_id] = order
        self.note(order)
        self.later(lambda: self._acknowledge(order))
        return order

    def _acknowledge(self, order: Order) -> None:
        if order.status != PENDING_NEW:
            return
        account = order.account
        if account is None:
            return
        reason = self._refusal(order, account)
        if reason:
            order.status = REJECTED
            order.reason = reason
            self.note(order)
            return
        order.status = NEW
        order.exchange_id = self.exchange_id(order)
        self.note(order)
        self.matching.arrive(order)

    def replace(self, order: Order, terms: Terms) -> None:
        """Send new terms to the exchange, which takes or refuses them a little later."""
        previous = order.status
        order.status = PENDING_REPLACE
        self.note(order)
        self.later(lambda: self._replace(order, terms, previous))

    def _replace(self, order: Order, terms: Terms, previous: str) -> None:
        account = order.account
        if order.status in TERMINAL or order.status == PENDING_CANCEL or account is None:
            return
        old, blocked = order.terms(), order.blocked
        status = order.status if order.status != PENDING_REPLACE else previous
        order.adopt(terms)
        reason = self._refusal(order, account) if order.leaves >= 0 else "16420"
        if reason:
            order.adopt(old)
            account.blocked += blocked - order.blocked
            order.blocked = blocked
            order.status, order.reason = status, reason
            self.note(order)
            return
        order.reason = ""
        order.tag = terms.tag or old.tag
        order.status = FILLED if order.leaves == 0 else REPLACED
        self.note(order)
        self.matching.arrive(order)

    def _refusal(self, order: Order, account: Account) -> str:
        """Why the terms can't stand; blocks the margin when they can."""
        return risk.terms_refusal(
            order, self.profile, self.behaviour, self.clock, self.prices
        ) or risk.block(order, account, self.profile, self.prices)

    def withdraw(self, order: Order, reason: str = "") -> None:
        """Ask the exchange to cancel; a fill may still win the race."""
        order.status = PENDING_CANCEL
        self.note(order)
        self.later(lambda: self.finish_cancel(order, reason))

    def finish_cancel(self, order: Order, reason: str = "") -> None:
        """The exchange's word: cancelled, keeping what was filled."""
        if order.status in TERMINAL:
            return
        order.status = CANCELLED
        order.reason = reason
        self.release(order)
        self.matching.leave(order)
        self.note(order)

    def resume(self, order: Order, previous: str) -> None:
        """Finish what the exchange had not answered yet when the process ended.

        previous: the state before a modification, which is lost and says so.
        """
        if order.status == PENDING_NEW and not order.exchange_id:
            self.later(lambda: self._acknowledge(order))
        elif order.status == PENDING_CANCEL and self.matching.holds(order):
            self.later(lambda: self.finish_cancel(order))
        elif order.status == PENDING_REPLACE and self.matching.holds(order):
            order.status = previous
            order.reason = "Modification lost: the exchange was restarted"
            self.note(order)

    def reject(self, order: Order, reason: str) -> None:
        """Refuse an open order with a text (control API)."""
        order.status, order.reason = REJECTED, reason
        self.release(order)
        self.matching.leave(order)
        self.note(order)

    # -- fills -----------------------------------------------------------------------------

    def execute(self, order: Order, quantity: int, price: float) -> Trade:
        """One execution: trade, order and position move together; events in that order."""
        order.average = (order.average * order.filled + price * quantity) / (
            order.filled + quantity
        )
        blocked = order.blocked * quantity / max(order.leaves, 1)
        order.filled += quantity
        order.executions += 1
        order.status = FILLED if order.leaves == 0 else PARTIAL
        report = order.report(self.sequence(), self.clock.wall(), self.clock.mono())
        self._executions += 1
        trade = Trade(order, str(self._executions), order.executions + 1, quantity, price, report)
        order.trades.append(trade)
        self.trades.append(trade)
        account = order.account
        position: Position | None = None
        if account is not None:
            order.blocked -= blocked
            account.blocked -= blocked
            if order.leaves == 0:
                self.release(order)
            position = account.apply(
                order.instrument,
                order.product,
                order.sign,
                risk.units(self.profile, order.instrument, quantity),
                price,
            )
            position.sequence = self.sequence()
            self.changes.traded(account, position)
        self.changes.order(order)
        if order.status == FILLED:
            self.matching.leave(order)
        self._write_ahead(order, trade)
        if self.listeners:
            self.publish("trade", trade)
            self.publish("order", order)
            if position is not None:
                self.publish("position", (account, position))
        return trade

    def release(self, order: Order) -> None:
        """Give back the margin an order still blocks."""
        if order.account is not None:
            order.account.blocked -= order.blocked
        order.blocked = 0.0

    # -- small things ----------------------------------------------------------------------

    def note(self, order: Order) -> None:
        """Put the order's state into its history and tell the listeners."""
        order.report(self.sequence(), self.clock.wall(), self.clock.mono())
        self.changes.order(order)
        if self.listeners:
            self.publish("order", order)
        self._write_ahead(order)

    def _write_ahead(self, order: Order, trade: Trade | None = None) -> None:
        """Write rows once they are final: to write a book of thousands at once holds all up."""
        if order.status in TERMINAL:
            order_bytes(order, self.quirks, self.quirks_version)
        if trade is not None:
            trade_bytes(trade, self.quirks, self.quirks_version)

    def publish(self, kind: str, payload: Any) -> None:
        for listener in self.listeners:
            listener(kind, self, payload)

    def later(self, action: Callable[[], None]) -> None:
        """Do it now, or after 20-80 ms when latency is realistic."""
        if self.behaviour.latency == "off":
            action()
        else:
            self._defer(self.random.uniform(0.02, 0.08), action)

    def sequence(self) -> int:
        """SequenceNumber: strictly increasing, and in step with the clock."""
        self._sequence = max(self._sequence + 1, self.clock.tick())
        return self._sequence

    def new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def exchange_id(self, order: Order) -> str:
        return f"1{order.instrument.number:02d}{order.app_id:013d}"

    def settings_changed(self) -> None:
        """Rendered rows are void after a quirk changed."""
        self.quirks_version += 1
