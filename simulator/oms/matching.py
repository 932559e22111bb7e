"""Matching on the moving price: market, limit and stop orders, partial fills, IOC (§17.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.market.instruments import Instrument
from simulator.oms.orders import (
    BUY,
    LIVE,
    MARKET,
    PENDING_CANCEL,
    PENDING_REPLACE,
    STOP_LIMIT,
    STOP_MARKET,
    TERMINAL,
    Order,
)

if TYPE_CHECKING:
    from simulator.oms.engine import Engine

Key = tuple[str, int]
_MATCHABLE = LIVE | {PENDING_CANCEL, PENDING_REPLACE}


class Matching:
    """Open orders by instrument, and what fills them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[Key, dict[int, Order]] = {}

    def arrive(self, order: Order) -> None:
        """A new or replaced order meets the market; what stays open waits for `tick`."""
        if order.status in TERMINAL:
            self.leave(order)
            return
        self.hold(order)
        if self._engine.behaviour.fill != "auto":
            return
        self._match(order, self._engine.prices.last(order.instrument), arriving=True)
        if order.tif == "IOC" and order.status in LIVE:
            self._engine.finish_cancel(order)

    def leave(self, order: Order) -> None:
        """Take an order off the market."""
        key = (order.segment, order.token)
        waiting = self._open.get(key)
        if waiting is not None:
            waiting.pop(order.app_id, None)
            if not waiting:
                del self._open[key]

    def holds(self, order: Order) -> bool:
        """Whether an order is open at the exchange."""
        return order.app_id in self._open.get((order.segment, order.token), ())

    def hold(self, order: Order) -> None:
        """Have an order wait for `tick`, without matching it now."""
        self._open.setdefault((order.segment, order.token), {})[order.app_id] = order

    @property
    def waiting(self) -> int:
        """How many orders are open at the exchange."""
        return sum(len(orders) for orders in self._open.values())

    def tick(self) -> None:
        """The market moved: one price per instrument, then every order that waits on it."""
        engine = self._engine
        for orders in list(self._open.values()):
            waiting = list(orders.values())
            instrument = waiting[0].instrument
            if not engine.clock.is_open(instrument.segment):
                for order in waiting:
                    engine.finish_cancel(order, "Cancelled at market close")
                continue
            if engine.behaviour.fill == "auto":
                last = engine.prices.last(instrument)
                for order in waiting:
                    if order.status in _MATCHABLE:
                        self._match(order, last)

    def touch(self, instrument: Instrument) -> None:
        """Match one instrument at once (its price was set by hand)."""
        engine = self._engine
        waiting = self._open.get((instrument.segment, instrument.token))
        if waiting and engine.behaviour.fill == "auto":
            last = engine.prices.last(instrument)
            for order in list(waiting.values()):
                if order.status in _MATCHABLE:
                    self._match(order, last)

    def _match(self, order: Order, last: float, arriving: bool = False) -> None:
        engine = self._engine
        if not engine.clock.is_open(order.segment):
            return
        buying = order.side == BUY
        kind = order.order_type
        if kind in (STOP_LIMIT, STOP_MARKET) and not order.triggered:
            if last < order.stop_price if buying else last > order.stop_price:
                return
            order.triggered = True
            engine.note(order)
        bid, ask = engine.prices.bid_ask(order.instrument, last)
        if kind in (MARKET, STOP_MARKET):
            self._take(order, ask if buying else bid, last)
            return
        # A limit order takes the opposite price when it reaches it; one that rests is also
        # filled, at its own price, when the market trades at it or through it.
        if order.price >= ask if buying else order.price <= bid:
            self._fill(order, ask if buying else bid)
        elif not arriving and (last <= order.price if buying else last >= order.price):
            self._fill(order, order.price)

    def _take(self, order: Order, price: float, last: float) -> None:
        """A market order: one price for what the first level holds, worse ones for more."""
        first_level = 20 * order.instrument.lot
        if order.leaves <= first_level or self._engine.behaviour.partial_probability > 0.0:
            self._fill(order, price)
            return
        bids, asks = self._engine.prices.depth(order.instrument, last)
        levels = [level for level in (asks if order.side == BUY else bids) if level[0] > 0]
        for place, (level, size, _) in enumerate(levels):
            deepest = place == len(levels) - 1
            self._fill(order, level, order.leaves if deepest else min(size, order.leaves))
            if order.leaves == 0:
                break

    def _fill(self, order: Order, price: float, quantity: int | None = None) -> None:
        """Execute all that is left, or a part when partial fills are on."""
        engine = self._engine
        behaviour = engine.behaviour
        wanted = order.leaves if quantity is None else quantity
        lot = order.instrument.lot
        if (
            behaviour.partial_probability > 0.0
            and order.executions + 1 < behaviour.executions
            and wanted > lot
            and engine.random.random() < behaviour.partial_probability
        ):
            wanted = max(wanted // 2 // lot, 1) * lot
        engine.execute(order, wanted, price)
