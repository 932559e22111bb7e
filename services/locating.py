"""Finds the account that an order belongs to, by whatever name the client knows the order.

The journal is asked first: it knows references, client_order_ids and the broker's ids of all orders
that went through here. Order ids are unique at a venue for a trading day only, so an entry of an
earlier day does not count. What the journal does not know may have been placed elsewhere; then the
books of the principal's accounts are searched.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from broker.base import Clock, Deadline
from broker.errors import BrokerError
from broker.models import Order
from database import journal
from database.journal import Intent, IntentKind, IntentState
from services.access import Principal
from services.accounts import Account, AccountService
from services.books import COPY_AGE, Books, needed
from services.errors import Conflict, NotFoundHere, ServiceError, Unavailable
from services.recording import Recorder, storage_needed
from utils.clock import trading_day

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Located:
    """An order at its venue. `intent` where it is ours, `row` where a book was read for it."""

    account: Account
    order_id: str
    intent: Intent | None = None
    row: Order | None = None


class Locator:
    """Answers which account an order belongs to."""

    def __init__(
        self, accounts: AccountService, books: Books, recorder: Recorder, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._books = books
        self._recorder = recorder
        self._clock = clock

    def locate(
        self, principal: Principal, account: Account | None, key: str, deadline: Deadline
    ) -> Located:
        """The order that `key` names (broker's id, reference or client_order_id).

        `NotFoundHere` when no account of the principal's (or the one named) has it, `Conflict` when
        several have or when its broker id is not known yet. A book that could not be read is an
        error, not an absence.
        """
        candidates = self.candidates(principal, account)
        try:
            ours = self._in_journal(principal, candidates, key)
        except Unavailable:
            log.warning("the journal cannot be read: the broker's books are searched")
            ours = None
        return ours or self._in_books(candidates, key, deadline)

    def candidates(self, principal: Principal, account: Account | None) -> list[Account]:
        """The accounts to search: the one named, else the principal's, the default one first."""
        if account is not None:
            return [account]
        default = self._accounts.default_label(principal)
        mine = self._accounts.list(principal)
        return sorted(mine, key=lambda item: item.label != default)

    def _in_journal(
        self, principal: Principal, candidates: Sequence[Account], key: str
    ) -> Located | None:
        found: list[tuple[Account, Intent]] = []
        with self._recorder.reading() as conn:
            for account in candidates:
                intent = journal.find(conn, [account.id], key, user_id=principal.user_id)
                if intent is not None and self._is_of_today(intent):
                    found.append((account, intent))
        if not found:
            return None
        located = [
            Located(
                account, intent.target_order_id or intent.broker_order_id or "",
                intent if intent.kind is IntentKind.PLACE else None,
            )
            for account, intent in found
        ]
        only = _the_only(located, key)
        if not only.order_id:
            raise _without_id(found[0][1])
        return only

    def _is_of_today(self, intent: Intent) -> bool:
        return trading_day(intent.created_at) == trading_day(self._clock.now())

    def _in_books(self, candidates: Sequence[Account], key: str, deadline: Deadline) -> Located:
        unread: BrokerError | ServiceError | None = None
        found: list[Located] = []
        for account in candidates:
            try:
                with storage_needed(), needed(f"The order book of '{account.label}'"):
                    orders = self._books.orders(account, deadline, max_age=COPY_AGE).value
            except (BrokerError, ServiceError) as error:
                unread = unread or error
                continue
            row = next((row for row in orders if row.order_id == key), None)
            if row is not None:
                found.append(Located(account, row.order_id, None, row))
        if found:
            return _the_only(found, key)
        if unread is not None:
            raise unread
        raise NotFoundHere(f"Order {key} not found.")


def _the_only(found: list[Located], key: str) -> Located:
    if len(found) > 1:
        labels = ", ".join(located.account.label for located in found)
        raise Conflict(f"Order {key} exists in several of your accounts ({labels}): name one.")
    return found[0]


def _without_id(intent: Intent) -> ServiceError:
    if intent.state in (IntentState.UNKNOWN, IntentState.SENDING, IntentState.RECEIVED):
        return Conflict(
            "The outcome of this order is not known yet, so it has no order id at the broker. "
            f"Ask again with its reference {intent.reference}.",
            reference=intent.reference,
        )
    return NotFoundHere(
        f"This order never became one at the broker: it is {intent.state.value}.",
        reference=intent.reference,
    )
