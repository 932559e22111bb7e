"""Places orders: validation first, then the one function that submits.

`broker.place` is called in `_job` and nowhere else in the project.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

from broker.base import Broker, Clock, Deadline, Operation, Priority, Slot
from broker.models import OrderRequest
from database.journal import Intent, IntentKind
from services.access import Principal
from services.accounts import Account, AccountService
from services.books import Books
from services.dispatch import Dispatcher, Job
from services.errors import RiskLimit, RiskUnreadable, UnknownSymbol
from services.order_models import OrderDraft, Origin, Placed, Provenance
from services.order_validation import (
    check_capabilities,
    check_instrument,
    check_terms,
    largest_order,
    to_request,
)
from services.recording import storage_needed
from services.retelling import Reteller
from services.risk import Admission, EntryControl
from services.risk_rules import Wish
from services.symbols import SymbolRecord, SymbolService

log = logging.getLogger(__name__)

_EXIT = Admission(Priority.EXIT)


class Placer:
    """Turns a draft into one submitted order."""

    def __init__(
        self,
        accounts: AccountService,
        symbols: SymbolService,
        entries: EntryControl,
        books: Books,
        dispatcher: Dispatcher,
        reteller: Reteller,
        clock: Clock,
        new_reference: Callable[[], str],
        new_tag: Callable[[], str],
    ) -> None:
        self._accounts = accounts
        self._symbols = symbols
        self._entries = entries
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
            record, warnings = self.check(account, draft)
        order = to_request(draft, record.ref)
        intent = self._intent(principal, account, draft, record, provenance, deadline)
        entry = None
        admission = _EXIT if priority is Priority.EXIT else self._entries.at_once(
            account, principal.journal_id
        )
        if admission is not None:
            job = self._job(account, intent, order, admission.priority, deadline)
        else:
            with ExitStack() as held:
                admission = self._admit(account, draft, record, intent, deadline, held)
                job = self._job(account, intent, order, admission.priority, deadline)
                if admission.held:
                    entry = self._dispatcher.begin(job)
        warnings += admission.warnings
        for warning in warnings:
            log.warning("order warning: %s", warning, extra={"reference": intent.reference})
        try:
            order_id = self._dispatcher.submit(job, entry)
        finally:
            self._books.touched(account)
        return Placed(intent.reference, order_id, warnings=warnings)

    def check(self, account: Account, draft: OrderDraft) -> tuple[SymbolRecord, tuple[str, ...]]:
        """Hold a draft against every rule that needs no broker; its instrument and warnings."""
        check_terms(draft)
        broker = self._accounts.broker_class(account.broker)
        check_capabilities(draft, broker.capabilities, broker.info.title)
        record = self._record(account, draft)
        return record, check_instrument(draft, record, broker.info)

    def _record(self, account: Account, draft: OrderDraft) -> SymbolRecord:
        """The instrument. A broker that is off may have lost its symbols by a rollback."""
        try:
            return self._symbols.require(account.broker, draft.exchange, draft.symbol)
        except UnknownSymbol:
            self._accounts.require_broker(account.broker)
            raise

    def largest(self, account: Account, draft: OrderDraft) -> int | None:
        """The exchange's freeze quantity in whole lots; see `OrderService.largest`."""
        with storage_needed():
            record = self._symbols.require(account.broker, draft.exchange, draft.symbol)
        return largest_order(record, self._accounts.broker_info(account.broker))

    def _admit(
        self,
        account: Account,
        draft: OrderDraft,
        record: SymbolRecord,
        intent: Intent,
        deadline: Deadline,
        held: ExitStack,
    ) -> Admission:
        """Pass the switches and the risk rules; what a rule refuses is in the journal."""
        wish = Wish(
            account, record, self._accounts.broker_info(account.broker), draft.side,
            draft.order_type, draft.product, draft.quantity, draft.price, draft.trigger_price,
            user_id=intent.user_id,
        )
        may_reduce = intent.origin != Origin.SMART  # holds the position's lock and has read it
        try:
            return self._entries.admit(wish, deadline, held, may_reduce=may_reduce)
        except (RiskLimit, RiskUnreadable) as error:
            self._dispatcher.refuse(intent, error)
            raise

    def _job(
        self,
        account: Account,
        intent: Intent,
        order: OrderRequest,
        priority: Priority,
        deadline: Deadline,
    ) -> Job:
        def send(broker: Broker, slot: Slot, due: Deadline) -> str:
            return broker.place(order, intent.tag, slot=slot, deadline=due)

        def last_look() -> None:
            self._entries.last_look(account, intent.user_id)

        entry = priority is not Priority.EXIT
        return Job(
            account, intent, Operation.PLACE, priority, deadline, send,
            last_look if entry else None,
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
