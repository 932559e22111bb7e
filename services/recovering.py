"""After a restore: orders that were placed since the backup, from the brokers' books.

Their tags say that they are ours, and when they were made; the journal that was put back does not
know them. Each gets an intent with the origin "recovered", so that it is shown, counted and
cancelled like any other. What cannot be known any more: strategy, user, idempotency key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from broker.base import Clock, Deadline
from broker.errors import BrokerError
from broker.models import Order
from database import journal
from database.engine import Database
from database.journal import Intent, IntentKind, IntentState
from services.accounts import Account, AccountService
from services.books import Books
from services.errors import ServiceError
from services.symbols import SymbolService
from services.verdicts import Rows, judge
from utils.ids import new_reference, tag_time

log = logging.getLogger(__name__)

ORIGIN = "recovered"
_SLACK = timedelta(minutes=5)
_SECONDS = 10.0
_CAUSE = "recovered from the book"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was imported, and the accounts whose book could not be read, with the reason."""

    imported: tuple[Intent, ...]
    unread: tuple[str, ...]


class Recoverer:
    """Imports what the journal has lost. Safe to run twice: the journal knows a tag once."""

    def __init__(
        self, database: Database, accounts: AccountService, books: Books, symbols: SymbolService,
        clock: Clock, reference: Callable[[], str] = new_reference,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._books = books
        self._symbols = symbols
        self._clock = clock
        self._reference = reference

    def run(self, since: datetime) -> Recovery:
        """Import the orders of ours that were made after `since` (the time of the backup)."""
        imported: list[Intent] = []
        unread = []
        for account in self._accounts.all():
            try:
                copy = self._books.orders(account, Deadline(self._clock, _SECONDS))
            except (BrokerError, ServiceError) as error:
                unread.append(f"{account.label}: {error.message}")
                continue
            imported += self._import(account, copy.value, since - _SLACK)
        return Recovery(tuple(imported), tuple(unread))

    def _import(self, account: Account, rows: list[Order], since: datetime) -> list[Intent]:
        now = self._clock.now()
        made = {row.tag: at for row in rows if (at := tag_time(row.tag, now)) is not None}
        with self._database.read() as conn:
            known = journal.by_tags(conn, made)
        lost = [
            row for row in rows
            if row.tag in made and row.tag not in known and since <= made[row.tag] <= now + _SLACK
        ]
        records = self._symbols.many_by_token(account.broker, {row.instrument for row in lost})
        imported = []
        for row in lost:
            record = records.get(row.instrument)
            intent = self._intent(account, row, made[row.tag], record.symbol if record else "")
            with self._database.write() as conn:
                journal.new_intent(conn, intent, cause=_CAUSE)
            log.warning("order recovered from the broker's book", extra={
                "reference": intent.reference, "broker_order_id": row.order_id,
            })
            imported.append(intent)
        return imported

    def _intent(self, account: Account, row: Order, made: datetime, symbol: str) -> Intent:
        intent = Intent(
            reference=self._reference(), tag=row.tag, kind=IntentKind.PLACE, account_id=account.id,
            user_id=None, request_id="", created_at=made, origin=ORIGIN,
            symbol=symbol or row.broker_symbol, exchange=row.instrument.exchange.value,
            token=row.instrument.token, side=row.side.value, order_type=row.order_type.value,
            product=row.product.value, validity=row.validity.value, quantity=row.quantity,
            price=row.price, trigger_price=row.trigger_price, sent_at=made,
        )
        verdict = judge(intent, Rows([row]))
        state = IntentState.ACCEPTED if verdict is None else verdict.state
        return replace(
            intent, state=state, broker_order_id=row.order_id, seen_at=self._clock.now(),
            book_state=row.state.value, message="" if verdict is None else verdict.message,
        )
