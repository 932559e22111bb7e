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

from simulator.clock import Clock
from simulator.envelope import XtsError
from simulator.market.catalog import Catalog
from simulator.market.instruments import Instrument
from simulator.market.prices import PriceBook
from simulator.oms import risk
from simulator.oms.accounts import Account, Position
from simulator.oms.clients import Clients, not_mapped
from simulator.oms.matching import Matching
from simulator.oms.orders import (
    CANCELLED,
    FILLED,
    LIVE,
    NEW,
    PARTIAL,
    PENDING_CANCEL,
    PENDING_NEW,
    PENDING_REPLACE,
    REJECTED,
    REPLACED,
    TERMINAL,
    Order,
    Trade,
)
from simulator.oms.validation import (
    Terms,
    check_quantity,
    instrument_of,
    modify_terms,
    place_terms,
    text,
    whole,
)
from simulator.profiles import PROFILES, Credential, Profile
from simulator.settings import Behaviour, Quirks
from simulator.truth import OrderRecord, Truth

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
        self.quirks_version = 0
        self._seed = seed
        self._defer = defer
        self._credentials: list[Credential] = []
        self._next_id = 0
        self._sequence = 0
        self._serial = 0
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
        self.truth.clear()
        # Ids start where the time of day puts them: a restart must not give today's ids again.
        base = 1_000_000_000 + list(PROFILES).index(self.profile.name) * 100_000_000
        start = base + int(self.clock.wall() % 86_400) * 1_000
        self._next_id = max(self._next_id, start)
        self._executions = int(self.clock.wall() % 86_400) * 1_000 + 400_000

    def add_credential(self, credential: Credential) -> None:
        """Let a login trade here."""
        self._credentials.append(credential)
        self.clients.add(credential)

    # -- requests --------------------------------------------------------------------------

    def record(self, body: dict[str, Any] | None, user: str, received: int) -> OrderRecord:
        """Write down an order request as received, before anything is decided about it."""
        self._serial += 1
        fields = body or {}
        tag = fields.get("orderUniqueIdentifier")
        client = fields.get("clientID")
        made = OrderRecord(
            serial=self._serial,
            received_at=received,
            tag=tag if isinstance(tag, str) else "",
            client=client if isinstance(client, str) else "",
            user=user,
            body=body,
        )
        self.truth.orders.append(made)
        return made

    def place(
        self, credential: Credential, body: dict[str, Any], record: OrderRecord, drop: bool = False
    ) -> tuple[int, str, str]:
        """Take an order; returns (AppOrderID, tag, client). XtsError when refused at once."""
        try:
            segment, token, side, terms = place_terms(body)
            client = text(body, "clientID")
            account = self.clients.for_order(credential, client)
            instrument = instrument_of(self.catalog, segment, token)
            check_quantity(self.profile, instrument, terms.quantity, "orderQuantity")
        except XtsError as refusal:
            record.refusal = f"{refusal.code}: {refusal.description}"
            raise
        app_id = self.new_id()
        record.accepted = True
        record.app_order_id = app_id
        if account is None or drop:
            record.dropped = True
            return app_id, terms.tag, client
        order = self._make(app_id, account, credential.user_id, instrument, side, terms)
        order.source = text(body, "apiOrderSource")
        record.order = order
        self._accept(order)
        return app_id, terms.tag, account.request_client

    def _make(
        self,
        app_id: int,
        account: Account,
        login: str,
        instrument: Instrument,
        side: str,
        terms: Terms,
        generated_by: str = "TWSAPI",
    ) -> Order:
        return Order(
            app_id=app_id,
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
            source="",
            generated_by=generated_by,
            created=self.clock.wall(),
        )

    def _accept(self, order: Order) -> None:
        self.orders[order.app_id] = order
        self.note(order)
        self.later(lambda: self._acknowledge(order))

    def submit(
        self, account: Account, login: str, instrument: Instrument, side: str, terms: Terms
    ) -> Order:
        """An order the venue makes itself (square-off) or that another terminal entered."""
        order = self._make(self.new_id(), account, login, instrument, side, terms, "TWS")
        self._accept(order)
        return order

    def _acknowledge(self, order: Order) -> None:
        if order.status != PENDING_NEW:
            return
        account = order.account
        if account is None:
            return
        reason = risk.terms_refusal(order, self.profile, self.behaviour, self.clock, self.prices)
        if not reason:
            reason = risk.block(order, account, self.profile, self.prices)
        if reason:
            order.status = REJECTED
            order.reason = reason
            self.note(order)
            return
        order.status = NEW
        order.exchange_id = self.exchange_id(order)
        self.note(order)
        self.matching.arrive(order)

    def modify(self, credential: Credential, body: dict[str, Any]) -> Order:
        """`PUT /orders`: refuse at once what can't be, else replace (or refuse) later."""
        app_id = whole(body, "appOrderID")
        order = self.mine(credential, app_id, text(body, "clientID"))
        terms = modify_terms(body)
        if order.status not in LIVE:
            raise XtsError("e-orders-0001", f"Order is not in a modifiable state: {order.status}")
        check_quantity(self.profile, order.instrument, terms.quantity, "modifiedOrderQuantity")
        if terms.quantity < order.filled:
            raise XtsError("e-orders-0001", "Quantity is less than the traded quantity")
        previous = order.status
        order.status = PENDING_REPLACE
        self.note(order)
        self.later(lambda: self._replace(order, terms, previous))
        return order

    def _replace(self, order: Order, terms: Terms, previous: str) -> None:
        account = order.account
        if order.status != PENDING_REPLACE or account is None:
            return
        old = (
            order.order_type,
            order.product,
            order.tif,
            order.quantity,
            order.disclosed,
            order.price,
            order.stop_price,
            order.blocked,
            order.triggered,
        )
        order.order_type, order.product, order.tif = terms.order_type, terms.product, terms.tif
        order.quantity, order.disclosed = terms.quantity, terms.disclosed
        order.price, order.stop_price = terms.price, terms.stop_price
        reason = risk.terms_refusal(order, self.profile, self.behaviour, self.clock, self.prices)
        if not reason:
            reason = risk.block(order, account, self.profile, self.prices)
        if reason:
            account.blocked += old[7] - order.blocked
            (
                order.order_type,
                order.product,
                order.tif,
                order.quantity,
                order.disclosed,
                order.price,
                order.stop_price,
                order.blocked,
                order.triggered,
            ) = old
            order.status, order.reason = previous, reason
            self.note(order)
            return
        order.reason = ""
        order.tag = terms.tag or order.tag
        order.status = FILLED if order.leaves == 0 else REPLACED
        self.note(order)
        self.matching.arrive(order)

    def cancel(self, credential: Credential, app_id: Any, client: str) -> Order:
        """`DELETE /orders`."""
        order = self.mine(credential, app_id, client)
        if order.status in TERMINAL or order.status == PENDING_CANCEL:
            raise XtsError("e-orders-0001", f"Order is already {order.status}")
        self.withdraw(order)
        return order

    def cancel_all(self, accounts: list[Account], segment: str, token: int) -> int:
        """Cancel every open order of some accounts in a segment; token 0 means all of it."""
        open_orders = [
            o
            for o in self.orders.values()
            if o.account in accounts
            and o.status not in TERMINAL
            and o.segment == segment
            and token in (0, o.token)
        ]
        for order in open_orders:
            self.withdraw(order)
        return len(open_orders)

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
        if order.status == FILLED:
            self.matching.leave(order)
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

    def mine(self, credential: Credential, app_id: Any, client: str) -> Order:
        """The order a modify or cancel means; refusals as §17.2."""
        account = self.clients.for_order(credential, client)
        order = self.orders.get(as_id(app_id))
        if order is None:
            raise XtsError("e-orders-0001", "Order not found")
        if account is None or order.account is not account:
            raise not_mapped()
        return order

    def note(self, order: Order) -> None:
        """Put the order's state into its history and tell the listeners."""
        order.report(self.sequence(), self.clock.wall(), self.clock.mono())
        if self.listeners:
            self.publish("order", order)

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


def as_id(value: Any) -> int:
    """An AppOrderID from JSON or a query; -1 for what is none."""
    if isinstance(value, bool):
        return -1
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    return -1
