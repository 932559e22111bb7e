"""Orders: the one place that submits, modifies and cancels, and that tells what became of them.

The parts stand in modules of their own: `placing` and `changing` hold a wish against the rules,
`dispatch` sends it once and tells the truth about the outcome, `recording` writes the journal.
"""

from __future__ import annotations

from dataclasses import replace

from broker.base import Clock, Deadline, Priority
from database import journal
from database.journal import Intent
from services.access import Principal
from services.accounts import Account
from services.changing import Changer
from services.errors import NotFoundHere
from services.locating import Located, Locator
from services.order_models import (
    NOWHERE,
    JournalView,
    ModifyDraft,
    OrderDraft,
    Placed,
    Provenance,
)
from services.placing import Placer
from services.recording import Recorder
from services.retelling import Reteller


class OrderService:
    """Every submit goes through here. `timeout` is what a request may spend on the broker in all,
    in seconds, where the caller sets no deadline.

    `request_id` is a short form for a provenance that is nothing else.
    """

    def __init__(
        self,
        placer: Placer,
        changer: Changer,
        locator: Locator,
        recorder: Recorder,
        reteller: Reteller,
        clock: Clock,
        *,
        timeout: float = 10.0,
    ) -> None:
        self._placer = placer
        self._changer = changer
        self._locator = locator
        self._recorder = recorder
        self._reteller = reteller
        self._clock = clock
        self._timeout = timeout

    def place(
        self,
        principal: Principal,
        account: Account,
        draft: OrderDraft,
        *,
        provenance: Provenance = NOWHERE,
        request_id: str = "",
        priority: Priority = Priority.ENTRY,
        deadline: Deadline | None = None,
    ) -> Placed:
        """Place one order, once. Returns at the broker's acceptance, not at a fill.

        `priority` EXIT is for orders that only reduce a position: it goes first and passes the
        switches that stop entries. With a `provenance.reference` that the journal knows (a repeat
        under an idempotency key) the answer comes from the journal and nothing is sent.

        Raises `InvalidRequest`, `UnknownSymbol`, `BrokerDisabled`, `Unavailable` before anything
        is sent; broker errors, with `reference` set, say what happened to the order; after an
        `OutcomeUnknown` it was looked for in the order book.
        """
        return self._placer.place(
            principal, account, draft, _with(provenance, request_id), priority,
            deadline or self.due(),
        )

    def modify(
        self,
        principal: Principal,
        account: Account | None,
        order_id: str,
        draft: ModifyDraft,
        *,
        provenance: Provenance = NOWHERE,
        request_id: str = "",
        deadline: Deadline | None = None,
    ) -> Placed:
        """Give an open order new terms. The account is found by the order when None.

        Returns when the venue has accepted the request; the reconciler checks that the book shows
        the new terms. Errors as for `place`; `NotFoundHere`, and `Conflict` when it is not open.
        """
        return self._changer.modify(
            principal, account, order_id, draft, _with(provenance, request_id),
            deadline or self.due(),
        )

    def cancel(
        self,
        principal: Principal,
        account: Account | None,
        order_id: str,
        *,
        strategy: str = "",
        provenance: Provenance = NOWHERE,
        request_id: str = "",
        deadline: Deadline | None = None,
    ) -> Placed:
        """Ask the venue to cancel an order. The account is found by the order when None.

        Goes before entries, passes every switch, and goes on when the journal is gone.
        """
        return self._changer.cancel(
            principal, account, order_id, strategy, _with(provenance, request_id),
            deadline or self.due(),
        )

    def cancel_located(
        self,
        principal: Principal,
        located: Located,
        *,
        strategy: str = "",
        provenance: Provenance = NOWHERE,
        deadline: Deadline | None = None,
    ) -> Placed:
        """Cancel an order that a book read has just shown."""
        principal.demand("trade")
        return self._changer.cancel_located(
            principal, located, strategy, provenance, deadline or self.due()
        )

    def account_of(
        self,
        principal: Principal,
        account: Account | None,
        order_id: str,
        *,
        deadline: Deadline | None = None,
    ) -> Account:
        """The account that an order belongs to; see `Locator.locate` for the errors."""
        if account is not None:
            return account
        return self._locator.locate(principal, None, order_id, deadline or self.due()).account

    def journal(
        self, principal: Principal, key: str, account: Account | None = None
    ) -> JournalView:
        """Everything known of one order, by reference, broker's id or client_order_id.

        The reference of a basket, split, cancel-all or close-all gives its children. `NotFoundHere`
        when none of the principal's accounts has such an order.
        """
        labels = {item.id: item.label for item in self._locator.candidates(principal, account)}
        with self._recorder.reading() as conn:
            intent = journal.find(conn, list(labels), key, user_id=principal.user_id)
            if intent is not None:
                events = journal.events(conn, intent.id)
                return JournalView(labels[intent.account_id], intent, tuple(events))
            children = [
                child for child in journal.children(conn, key) if child.account_id in labels
            ]
        if not children:
            raise NotFoundHere(f"Order {key} not found.")
        return JournalView(labels[children[0].account_id], None, (), tuple(children))

    def without_outcome(self, account: Account) -> list[Intent]:
        """What was wished for this account and has no outcome yet, the oldest first.

        New orders and changes that wait for their turn, are being sent, or were sent without an
        answer. No book of the broker shows these. `Unavailable` when the journal cannot be read.
        """
        with self._recorder.reading() as conn:
            return journal.open_intents(conn, account_id=account.id)

    def told(
        self, account: Account, provenance: Provenance, deadline: Deadline
    ) -> Placed | None:
        """What the journal says of an order whose reference was fixed; None when it has none."""
        return self._reteller.told(account, provenance.reference, deadline)

    def check(self, account: Account, draft: OrderDraft) -> None:
        """Hold a draft against every rule that needs no broker, and send nothing."""
        self._placer.check(account, draft)

    def largest(self, account: Account, draft: OrderDraft) -> int | None:
        """The most that one order of this instrument may have; None where nothing is published.

        `UnknownSymbol` for a symbol that the master contract does not have.
        """
        return self._placer.largest(account, draft)

    def due(self) -> Deadline:
        """The deadline of a request that begins now."""
        return Deadline(self._clock, self._timeout)


def _with(provenance: Provenance, request_id: str) -> Provenance:
    return replace(provenance, request_id=request_id) if request_id else provenance
