"""Modifies and cancels open orders.

A cancellation needs no book read when the order is ours, so the way out is as short as it can be.
A modification is held against the order's present row first: what cannot be changed (instrument,
side), what is filled already, and everything that a new order is held against. One that asks for
more, or for another price, is an entry: it passes the switches and the risk rules as a new order
does (`services.risk`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

from broker.base import Broker, Clock, Deadline, Operation, Priority, Slot
from broker.models import ModifyRequest, Order
from broker.waiting import urgent
from database.journal import Intent, IntentKind
from services.access import Principal
from services.accounts import Account, AccountService
from services.books import Books, needed
from services.dispatch import Dispatcher, Job
from services.errors import (
    Conflict,
    InvalidRequest,
    NotFoundHere,
    RiskLimit,
    RiskUnreadable,
)
from services.locating import Located, Locator
from services.order_models import ModifyDraft, Placed, Provenance
from services.order_validation import check_capabilities, check_instrument, check_terms
from services.recording import Entry
from services.retelling import Reteller
from services.risk import Admission, EntryControl
from services.risk_rules import Wish
from services.symbols import SymbolRecord, SymbolService

_AS_IT_WAS = Admission(Priority.ENTRY)


class Changer:
    """Turns a wish about an open order into one submitted modification or cancellation."""

    def __init__(
        self,
        accounts: AccountService,
        symbols: SymbolService,
        entries: EntryControl,
        books: Books,
        dispatcher: Dispatcher,
        reteller: Reteller,
        locator: Locator,
        clock: Clock,
        new_reference: Callable[[], str],
    ) -> None:
        self._accounts = accounts
        self._symbols = symbols
        self._entries = entries
        self._books = books
        self._dispatcher = dispatcher
        self._reteller = reteller
        self._locator = locator
        self._clock = clock
        self._new_reference = new_reference

    @urgent()
    def cancel(
        self,
        principal: Principal,
        account: Account | None,
        key: str,
        strategy: str,
        provenance: Provenance,
        deadline: Deadline,
    ) -> Placed:
        """Cancel the order that `key` names; see `OrderService.cancel`."""
        principal.demand("trade")
        located = self._locator.locate(principal, account, key, deadline)
        return self.cancel_located(principal, located, strategy, provenance, deadline)

    def cancel_located(
        self,
        principal: Principal,
        located: Located,
        strategy: str,
        provenance: Provenance,
        deadline: Deadline,
    ) -> Placed:
        """Cancel an order whose account is known."""
        told = self._reteller.told(located.account, provenance.reference, deadline)
        if told is not None:
            return told
        client = located.row.client if located.row is not None else None

        def send(broker: Broker, slot: Slot, due: Deadline) -> str:
            return broker.cancel(located.order_id, client=client, slot=slot, deadline=due)

        intent = self._intent(
            principal, located, IntentKind.CANCEL, strategy, provenance, deadline
        )
        return self._submit(
            Job(located.account, intent, Operation.CANCEL, Priority.EXIT, deadline, send)
        )

    def modify(
        self,
        principal: Principal,
        account: Account | None,
        key: str,
        draft: ModifyDraft,
        provenance: Provenance,
        deadline: Deadline,
    ) -> Placed:
        """Change the order that `key` names; see `OrderService.modify`."""
        principal.demand("trade")
        check_terms(draft)
        located = self._locator.locate(principal, account, key, deadline)
        told = self._reteller.told(located.account, provenance.reference, deadline)
        if told is not None:
            return told
        row = self._present_row(located, deadline)
        record = self._check_change(located.account, draft, row)
        change = ModifyRequest(
            order_id=located.order_id,
            order_type=draft.order_type,
            product=draft.product,
            quantity=draft.quantity,
            price=draft.price,
            trigger_price=draft.trigger_price,
            disclosed_quantity=draft.disclosed_quantity,
            validity=row.validity,
            tag=row.tag,
            client=row.client,
        )

        def send(broker: Broker, slot: Slot, due: Deadline) -> str:
            return broker.modify(change, slot=slot, deadline=due)

        located = replace(located, row=row)
        intent = replace(
            self._intent(
                principal, located, IntentKind.MODIFY, draft.strategy, provenance, deadline
            ),
            symbol=draft.symbol,
            order_type=draft.order_type.value,
            product=draft.product.value,
            quantity=draft.quantity,
            price=draft.price,
            trigger_price=draft.trigger_price,
            disclosed_quantity=draft.disclosed_quantity,
        )

        def last_look() -> None:
            self._entries.last_look(located.account, intent.user_id)

        wish = Wish(
            located.account, record, self._accounts.broker_info(located.account.broker),
            draft.side, draft.order_type, draft.product, draft.quantity, draft.price,
            draft.trigger_price, replaces=row, user_id=intent.user_id,
        )
        with ExitStack() as held:
            admission = self._admit(wish, intent, deadline, held)
            adds = wish.enlarges and admission.priority is Priority.ENTRY
            job = Job(
                located.account, intent, Operation.MODIFY, admission.priority, deadline, send,
                last_look if adds else None,
            )
            entry = self._dispatcher.begin(job) if admission.held else None
        return self._submit(job, entry, admission.warnings)

    def _admit(
        self, wish: Wish, intent: Intent, deadline: Deadline, held: ExitStack
    ) -> Admission:
        """Pass the switches and the risk rules, unless the order asks for nothing more."""
        if not wish.enlarges and not wish.reprices:
            return _AS_IT_WAS
        try:
            return self._entries.admit(wish, deadline, held)
        except (RiskLimit, RiskUnreadable) as error:
            self._dispatcher.refuse(intent, error)
            raise

    def _submit(
        self, job: Job, entry: Entry | None = None, warnings: tuple[str, ...] = ()
    ) -> Placed:
        try:
            order_id = self._dispatcher.submit(job, entry)
        finally:
            self._books.touched(job.account)
        return Placed(job.reference, order_id, warnings=warnings)

    def _present_row(self, located: Located, deadline: Deadline) -> Order:
        """The order's row from a book read now, open; refusals say what it is instead."""
        with needed("The order"):
            orders = self._books.orders(located.account, deadline).value
        row = next((row for row in orders if row.order_id == located.order_id), None)
        if row is None:
            if located.intent is not None:
                raise Conflict(
                    f"Order {located.order_id} was accepted but is not in the broker's book yet.",
                    reference=located.intent.reference,
                )
            raise NotFoundHere(f"Order {located.order_id} not found.")
        if not row.state.is_open:
            raise Conflict(
                f"Order {row.order_id} is {row.state.value.lower()}: only an open order can be "
                "modified."
            )
        return row

    def _check_change(self, account: Account, draft: ModifyDraft, row: Order) -> SymbolRecord:
        broker = self._accounts.broker_class(account.broker)
        check_capabilities(draft, broker.capabilities, broker.info.title)
        record = self._symbols.require(account.broker, draft.exchange, draft.symbol)
        if record.ref != row.instrument:
            raise InvalidRequest(
                f"Order {row.order_id} is for {row.broker_symbol or row.instrument.token} on "
                f"{row.instrument.exchange}: a modification cannot change the instrument.",
                field="symbol",
            )
        if draft.side is not row.side:
            raise InvalidRequest(
                f"Order {row.order_id} is a {row.side}: a modification cannot change the side.",
                field="side",
            )
        if draft.quantity < row.filled_quantity:
            raise InvalidRequest(
                f"Quantity is the new total, and {row.filled_quantity} of order {row.order_id} "
                "are filled already.",
                field="quantity",
            )
        check_instrument(draft, record, broker.info)
        return record

    def _intent(
        self,
        principal: Principal,
        located: Located,
        kind: IntentKind,
        strategy: str,
        provenance: Provenance,
        deadline: Deadline,
    ) -> Intent:
        now = self._clock.now()
        intent = Intent(
            reference=provenance.reference or self._new_reference(),
            tag="",
            kind=kind,
            account_id=located.account.id,
            user_id=principal.journal_id,
            request_id=provenance.request_id,
            created_at=now,
            deadline_at=now + timedelta(seconds=deadline.remaining()),
            key_id=principal.key_id,
            strategy=strategy,
            origin=provenance.origin.value,
            client_order_id=provenance.client_order_id,
            parent_reference=provenance.parent,
            child_index=provenance.child_index,
            target_order_id=located.order_id,
        )
        if located.intent is not None:
            return _like_intent(intent, located.intent)
        return _like_row(intent, located.row) if located.row else intent


def _like_row(intent: Intent, row: Order) -> Intent:
    return replace(
        intent,
        symbol=row.broker_symbol[:64],
        exchange=row.instrument.exchange.value,
        token=row.instrument.token,
        side=row.side.value,
        order_type=row.order_type.value,
        product=row.product.value,
        validity=row.validity.value,
        quantity=row.quantity,
        price=row.price,
        trigger_price=row.trigger_price,
    )


def _like_intent(intent: Intent, placed: Intent) -> Intent:
    return replace(
        intent,
        symbol=placed.symbol,
        exchange=placed.exchange,
        token=placed.token,
        side=placed.side,
        order_type=placed.order_type,
        product=placed.product,
        validity=placed.validity,
        quantity=placed.quantity,
        price=placed.price,
        trigger_price=placed.trigger_price,
    )
