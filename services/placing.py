"""Places orders: validation first, then the one function that submits.

`broker.place` is called in `_submit` and nowhere else in the project.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from broker.base import Broker, Clock, Deadline, Operation, Priority, Slot
from broker.models import OrderRequest
from database.journal import Intent, IntentKind
from services.access import Principal
from services.accounts import Account, AccountService
from services.books import Books
from services.dispatch import Dispatcher, Job
from services.errors import BrokerDisabled
from services.flags import KILL_SWITCH, FlagService
from services.order_models import OrderDraft, Placed, Provenance
from services.order_validation import (
    check_capabilities,
    check_instrument,
    check_terms,
    to_request,
)
from services.recording import storage_needed
from services.retelling import Reteller
from services.symbols import SymbolRecord, SymbolService

log = logging.getLogger(__name__)


class Placer:
    """Turns a draft into one submitted order."""

    def __init__(
        self,
        accounts: AccountService,
        symbols: SymbolService,
        flags: FlagService,
        books: Books,
        dispatcher: Dispatcher,
        reteller: Reteller,
        clock: Clock,
        new_reference: Callable[[], str],
        new_tag: Callable[[], str],
    ) -> None:
        self._accounts = accounts
        self._symbols = symbols
        self._flags = flags
        self._books = books
        self._dispatcher = dispatcher
        self._reteller = reteller
        self._clock = clock
        self._new_reference = new_reference
        self._new_tag = new_tag

    def place(
        self,
        principal: Principal,
        account: Account,
        draft: OrderDraft,
        provenance: Provenance,
        priority: Priority,
        deadline: Deadline,
    ) -> Placed:
        """Place it once; see `OrderService.place`."""
        principal.demand("trade")
        told = self._reteller.told(account, provenance.reference, deadline)
        if told is not None:
            return told
        with storage_needed():
            if priority is not Priority.EXIT:
                self.check_entries(account)
            record, warnings = self.check(account, draft)
        order = to_request(draft, record.ref)
        intent = self._intent(principal, account, draft, record, provenance, deadline)
        for warning in warnings:
            log.warning("order warning: %s", warning, extra={"reference": intent.reference})
        try:
            order_id = self._submit(account, intent, order, priority, deadline)
        finally:
            self._books.touched(account)
        return Placed(intent.reference, order_id, warnings=warnings)

    def check(self, account: Account, draft: OrderDraft) -> tuple[SymbolRecord, tuple[str, ...]]:
        """Hold a draft against every rule that needs no broker; its instrument and warnings."""
        check_terms(draft)
        broker = self._accounts.broker_class(account.broker)
        check_capabilities(draft, broker.capabilities, broker.info.title)
        record = self._symbols.require(account.broker, draft.exchange, draft.symbol)
        return record, check_instrument(draft, record, broker.info)

    def check_entries(self, account: Account) -> None:
        """`BrokerDisabled` while entries are switched off, by the broker's or the kill switch."""
        self._accounts.require_broker(account.broker)
        if self._flags.is_on(KILL_SWITCH):
            raise BrokerDisabled("The kill switch is on: no new orders; exits and cancels go on.")

    def _submit(
        self,
        account: Account,
        intent: Intent,
        order: OrderRequest,
        priority: Priority,
        deadline: Deadline,
    ) -> str:
        def send(broker: Broker, slot: Slot, due: Deadline) -> str:
            return broker.place(order, intent.tag, slot=slot, deadline=due)

        return self._dispatcher.submit(
            Job(account, intent, Operation.PLACE, priority, deadline, send)
        )

    def _intent(
        self,
        principal: Principal,
        account: Account,
        draft: OrderDraft,
        record: SymbolRecord,
        provenance: Provenance,
        deadline: Deadline,
    ) -> Intent:
        now = self._clock.now()
        return Intent(
            reference=provenance.reference or self._new_reference(),
            tag=self._new_tag(),
            kind=IntentKind.PLACE,
            account_id=account.id,
            user_id=principal.journal_id,
            request_id=provenance.request_id,
            created_at=now,
            deadline_at=now + timedelta(seconds=deadline.remaining()),
            key_id=principal.key_id,
            strategy=draft.strategy,
            origin=provenance.origin.value,
            client_order_id=provenance.client_order_id,
            parent_reference=provenance.parent,
            child_index=provenance.child_index,
            symbol=draft.symbol,
            exchange=draft.exchange,
            token=record.ref.token,
            side=draft.side.value,
            order_type=draft.order_type.value,
            product=draft.product.value,
            validity=draft.validity.value,
            quantity=draft.quantity,
            price=draft.price,
            trigger_price=draft.trigger_price,
            disclosed_quantity=draft.disclosed_quantity,
        )
