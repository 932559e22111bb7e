"""Accounts: cash, positions, holdings, and the margin they use.

An account is one book that may be traded: a client code, or a pro dealer's own book. Margin is
simple on purpose (a share of the value by product), but conserved: what an order blocks moves to
the position on a fill and comes back on a cancel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simulator.market.instruments import FUTURE, OPTION, Instrument

DEFAULT_CASH = 100_000_000.0
PositionKey = tuple[str, int, str]


@dataclass(slots=True, eq=False)
class Position:
    """Trades of one instrument and product: the day's, and what was carried in."""

    instrument: Instrument
    product: str
    buy_quantity: int = 0
    buy_amount: float = 0.0
    sell_quantity: int = 0
    sell_amount: float = 0.0
    carry_quantity: int = 0
    carry_price: float = 0.0
    net: int = 0
    average: float = 0.0
    realised: float = 0.0
    margin: float = 0.0
    sequence: int = 0

    def trade(self, sign: int, quantity: int, price: float) -> float:
        """Apply an execution; returns the profit that it realised, in rupees."""
        amount = quantity * price
        if sign > 0:
            self.buy_quantity += quantity
            self.buy_amount += amount
        else:
            self.sell_quantity += quantity
            self.sell_amount += amount
        profit = 0.0
        signed = sign * quantity
        if self.net == 0 or (self.net > 0) == (sign > 0):
            total = abs(self.net) + quantity
            self.average = (abs(self.net) * self.average + amount) / total
            self.net += signed
        else:
            closed = min(quantity, abs(self.net))
            direction = 1 if self.net > 0 else -1
            profit = closed * (price - self.average) * direction * self.instrument.multiplier
            self.net += signed
            if self.net == 0:
                self.average = 0.0
            elif (self.net > 0) == (sign > 0):
                self.average = price
        self.realised += profit
        return profit


@dataclass(slots=True, eq=False)
class Holding:
    """Shares held in the depository; quantities in shares, price in rupees."""

    isin: str
    nse: int
    bse: int
    quantity: int
    used: int = 0
    price: float = 0.0
    collateral: int = 0


@dataclass(slots=True, eq=False)
class Account:
    """One tradable book.

    row_client: `ClientID` in order and trade rows; position_client: `AccountID` elsewhere;
    request_client: the id a request must carry.
    """

    key: str
    request_client: str
    row_client: str
    position_client: str
    login: str
    cash: float = DEFAULT_CASH
    realised: float = 0.0
    blocked: float = 0.0
    used: float = 0.0
    premium_paid: float = 0.0
    premium_received: float = 0.0
    positions: dict[PositionKey, Position] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    entries: list[dict[str, Any]] | None = None

    @property
    def available(self) -> float:
        """Net margin available in rupees."""
        return self.cash + self.realised - self.blocked - self.used

    def position(self, instrument: Instrument, product: str) -> Position:
        """The position row of an instrument and product, made when missing."""
        key = (instrument.segment, instrument.token, product)
        found = self.positions.get(key)
        if found is None:
            found = self.positions[key] = Position(instrument, product)
        return found

    def net(self, instrument: Instrument, product: str) -> int:
        """Signed net quantity."""
        found = self.positions.get((instrument.segment, instrument.token, product))
        return found.net if found else 0

    def apply(
        self, instrument: Instrument, product: str, sign: int, quantity: int, price: float
    ) -> Position:
        """Book an execution: position, margin, premium, realised profit, holdings used."""
        position = self.position(instrument, product)
        if product == "CNC" and sign < 0 and instrument.isin in self.holdings:
            short = quantity - max(position.net, 0)
            holding = self.holdings[instrument.isin]
            holding.used = min(holding.quantity, holding.used + max(short, 0))
        self.realised += position.trade(sign, quantity, price)
        if instrument.kind == OPTION:
            if sign > 0:
                self.premium_paid += quantity * price
            else:
                self.premium_received += quantity * price
        self.remargin(position)
        return position

    def remargin(self, position: Position) -> None:
        """Bring the margin used by a position up to date."""
        self.used -= position.margin
        position.margin = margin_of(
            position.instrument, position.product, position.net, position.average
        )
        self.used += position.margin

    def required(
        self, instrument: Instrument, product: str, sign: int, quantity: int, price: float
    ) -> float:
        """Margin an order needs in rupees: only what increases the position counts."""
        net = self.net(instrument, product)
        after = net + sign * quantity
        growth = abs(after) - abs(net) if (after > 0) == (net > 0) or net == 0 else abs(after)
        if growth <= 0:
            return 0.0
        return margin_of(instrument, product, growth * (1 if after > 0 else -1), price)

    def sellable(self, instrument: Instrument) -> int:
        """Shares that may be sold as CNC: holdings not yet used, and today's CNC purchases."""
        holding = self.holdings.get(instrument.isin)
        held = holding.quantity - holding.used if holding else 0
        return held + max(self.net(instrument, "CNC"), 0)


def margin_of(instrument: Instrument, product: str, net: int, price: float) -> float:
    """Margin in rupees of `net` units at `price`."""
    if net == 0:
        return 0.0
    value = abs(net) * price * instrument.multiplier
    if instrument.kind == OPTION:
        if net > 0:
            return value
        return abs(net) * instrument.strike * instrument.multiplier * 0.12
    if instrument.segment in ("NSECM", "BSECM"):
        if product == "CNC" and net < 0:
            return 0.0
        return value * (0.2 if product == "MIS" else 1.0)
    if instrument.kind == FUTURE:
        return value * 0.12
    return abs(value) * 0.02 + 100.0 * abs(net)
