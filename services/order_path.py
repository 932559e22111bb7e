"""`OrderPath`: whether a new order would get through this process; what the watchdog asks.

It goes where every order goes and only waits: the journal's write lock and the lock of the counted
slots. Nothing is written and no slot is taken.
"""

from __future__ import annotations

from broker.base import SlotStore
from database.engine import Database
from utils.watchdog import Stuck

LONGEST_WRITE = 20.0
"""Seconds; a write transaction that is open for longer will never end."""


class OrderPath:
    """The places of one process that an order must pass."""

    def __init__(
        self, database: Database, slots: SlotStore, *, patience: float = LONGEST_WRITE
    ) -> None:
        self._database = database
        self._slots = slots
        self._patience = patience

    def walk(self) -> None:
        """Return once every place was passed; hang, or raise `Stuck`, where an order would.

        Any other exception is an answer: a store that is down says so, and a restart does not
        bring it back.
        """
        self._slots.peek([])  # takes and gives back the lock, looks at no window
        open_for = self._database.writing_for()
        if open_for > self._patience:
            raise Stuck(f"a write transaction has been open for {open_for:.0f} s")
        with self._database.write(durable=False):
            pass
