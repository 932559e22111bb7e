"""What of a venue has to be written: plain rows, taken at one moment of the event loop.

Taking them is quick (no text is made of anything); writing them happens on a thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from operator import attrgetter

from simulator.oms.accounts import Account, Position
from simulator.oms.engine import Engine
from simulator.oms.orders import Order
from simulator.profiles import builtin_credentials
from simulator.state.tables import (
    ACCOUNT_FIELDS,
    ACCOUNTS,
    HOLDING_FIELDS,
    HOLDINGS,
    LOGINS,
    ORDER_FIELDS,
    ORDERS,
    POSITION_FIELDS,
    POSITIONS,
    REPORTS,
    TRADES,
    VENUES,
    Row,
    Table,
)

_order = attrgetter(*ORDER_FIELDS)
_account = attrgetter(*ACCOUNT_FIELDS)
_position = attrgetter(*POSITION_FIELDS)
_holding = attrgetter(*HOLDING_FIELDS)


@dataclass(slots=True)
class Batch:
    """Rows of one venue that belong together.

    anew: every earlier row of the venue goes first; replaced: accounts whose positions and
    holdings go first.
    """

    profile: str
    anew: bool
    replaced: list[str] = field(default_factory=list)
    rows: dict[Table, list[Row]] = field(default_factory=dict)


class Recorder:
    """Knows what of one venue is written already."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._builtin = {credential.interactive_key for credential in builtin_credentials()}
        self._last_sequence = -1
        self._trades = 0
        self._logins = 0
        self._venue: Row = ()

    def written(self) -> None:
        """The file says what the books say."""
        engine = self._engine
        engine.changes.clear()
        self._last_sequence = engine.counters[1]
        self._trades = len(engine.trades)
        self._logins = len(engine.credentials)
        self._venue = self._describe()

    def lost(self) -> None:
        """The last batch was not written: the next one must hold everything."""
        self._engine.changes.all()

    def capture(self) -> Batch | None:
        """Everything new since the last time, None when there is nothing."""
        engine = self._engine
        changes = engine.changes
        venue = self._describe()
        same = venue == self._venue and len(engine.credentials) == self._logins
        if same and not changes.everything and not changes.accounts:
            return None
        batch = Batch(engine.profile.name, changes.everything)
        if batch.anew:
            self._last_sequence, self._trades, self._logins = -1, 0, 0
            self._accounts(batch, dict.fromkeys(self._everyone(), True), {})
            orders: Iterable[Order] = engine.orders.values()
        else:
            touched = {o.account: False for o in changes.orders if o.account is not None}
            self._accounts(batch, touched | changes.accounts, changes.positions)
            orders = changes.orders
        batch.rows[VENUES] = [venue]
        batch.rows[LOGINS] = self._new_logins()
        self._orders(batch, orders)
        self._executions(batch)
        self.written()
        return batch

    def _describe(self) -> Row:
        engine = self._engine
        return (engine.profile.name, engine.day.isoformat(), *engine.counters)

    def _everyone(self) -> list[Account]:
        return [*self._engine.clients.all(), *self._engine.foreign_accounts]

    def _new_logins(self) -> list[Row]:
        name = self._engine.profile.name
        return [
            (name, credential.interactive_key, json.dumps(asdict(credential)))
            for credential in self._engine.credentials[self._logins :]
            if credential.interactive_key not in self._builtin
        ]

    def _orders(self, batch: Batch, orders: Iterable[Order]) -> None:
        name, holds = batch.profile, self._engine.matching.holds
        rows = batch.rows[ORDERS] = []
        reports = batch.rows[REPORTS] = []
        for order in orders:
            instrument, account = order.instrument, order.account
            rows.append(
                (
                    name,
                    None if account is None else account.key,
                    instrument.segment,
                    instrument.token,
                    instrument.display,
                    holds(order),
                    *_order(order),
                )
            )
            for report in reversed(order.reports):
                if report.sequence <= self._last_sequence:
                    break
                reports.append((name, order.app_id, report.sequence, report.at, *report[3:]))

    def _executions(self, batch: Batch) -> None:
        name = batch.profile
        batch.rows[TRADES] = [
            (
                name,
                trade.report.sequence,
                trade.order.app_id,
                trade.execution_id,
                trade.index,
                trade.quantity,
                trade.price,
            )
            for trade in self._engine.trades[self._trades :]
        ]

    def _accounts(
        self, batch: Batch, accounts: dict[Account, bool], traded: dict[Position, Account]
    ) -> None:
        """Accounts (True: with all their positions), and positions of the others."""
        name, elsewhere = batch.profile, self._engine.foreign_accounts
        rows = batch.rows[ACCOUNTS] = []
        held = batch.rows[HOLDINGS] = []
        positions = batch.rows[POSITIONS] = []
        for account, replaced in accounts.items():
            entries = None if account.entries is None else json.dumps(account.entries)
            rows.append((name, account in elsewhere, entries, *_account(account)))
            held += [(name, account.key, *_holding(h)) for h in account.holdings.values()]
            if replaced:
                batch.replaced.append(account.key)
                positions += [_position_row(name, account, p) for p in account.positions.values()]
        positions += [
            _position_row(name, account, position)
            for position, account in traded.items()
            if not accounts.get(account)
        ]


def _position_row(name: str, account: Account, position: Position) -> Row:
    instrument = position.instrument
    return (
        name,
        account.key,
        instrument.segment,
        instrument.token,
        instrument.display,
        *_position(position),
    )
