"""What of a venue's books has changed since it was last written to a state file.

As long as nothing keeps the books, `everything` stays true and nothing else is collected.
"""

from __future__ import annotations

from simulator.oms.accounts import Account, Position
from simulator.oms.orders import Order


class Changes:
    """Changed orders, positions and accounts, in the order in which they first changed.

    everything: the books began anew (start, reset, new trading day), so all of them count.
    accounts: True for an account whose positions and holdings were replaced, not only traded.
    """

    __slots__ = ("accounts", "everything", "orders", "positions")

    def __init__(self) -> None:
        self.everything = True
        self.orders: dict[Order, None] = {}
        self.positions: dict[Position, Account] = {}
        self.accounts: dict[Account, bool] = {}

    def order(self, order: Order) -> None:
        """An order has a new state, and its account other figures."""
        if not self.everything:
            self.orders[order] = None

    def traded(self, account: Account, position: Position) -> None:
        """An execution changed a position."""
        if not self.everything:
            self.positions[position] = account

    def account(self, account: Account) -> None:
        """Cash, positions or holdings were set from outside."""
        if not self.everything:
            self.accounts[account] = True

    def all(self) -> None:
        """Nothing that was written before counts any more."""
        self.clear()
        self.everything = True

    def clear(self) -> None:
        """All of it is written."""
        self.everything = False
        self.orders.clear()
        self.positions.clear()
        self.accounts.clear()
