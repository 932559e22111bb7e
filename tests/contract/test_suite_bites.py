"""The contract suite finds what it is there to find: brokers with one fault each fail their card.

Each fault is one that exists in the field (a resend, a failure told as empty, a guessed outcome).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from broker.base import Deadline, Operation, Priority, Slot
from broker.errors import BrokerError, OutcomeUnknown, Refused
from broker.jainam_prop.declaration import JainamProp
from broker.models import (
    BadRow,
    Exchange,
    Found,
    Instrument,
    NotSeen,
    Order,
    OrderRequest,
    OrderState,
)
from broker.testing.cards.c3_instruments import InstrumentCards
from broker.testing.cards.c4_submit import SubmitCards
from broker.testing.cards.c6_books import BookCards
from broker.testing.cards.c7_find import FindCards
from broker.testing.cards.c8_pacing import PacingCards
from broker.testing.cards.c10_isolation import IsolationCards
from broker.testing.desk import Desk
from broker.testing.harness import Trouble
from simulator.testing import Simulator
from tests.contract.test_contract import PRO_B, PRO_C
from tests.contract.xts_venue import XtsVenue


class SendsAgain(JainamProp):
    """Field defect 1: what is unknown is sent once more."""

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        try:
            return super().place(order, tag, slot=slot, deadline=deadline)
        except OutcomeUnknown:
            again = self.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=deadline)
            return super().place(order, tag, slot=again, deadline=deadline)


class CallsUnknownRefused(JainamProp):
    """Field defect 1: what is unknown is told as a plain failure."""

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        try:
            return super().place(order, tag, slot=slot, deadline=deadline)
        except OutcomeUnknown as error:
            raise Refused(error.message) from error


class OneTagForAll(JainamProp):
    """Field defect 2: a constant identifier."""

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        return super().place(order, "openalgo", slot=slot, deadline=deadline)


class SaysSuccess(JainamProp):
    """Field defect 3: whatever comes under 200 is a success."""

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        try:
            return super().place(order, tag, slot=slot, deadline=deadline)
        except Refused:
            return "1"


class FailureIsEmpty(JainamProp):
    """Field defect 5: a book that cannot be read is an empty one."""

    def orders(self, *, deadline: Deadline) -> list[Order]:
        try:
            return super().orders(deadline=deadline)
        except BrokerError:
            return []


class ForgetsReasons(JainamProp):
    """Field defect 8: the broker's own words are lost."""

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        try:
            return super().place(order, tag, slot=slot, deadline=deadline)
        except Refused:
            raise Refused("Order placement failed") from None


class GuessesStates(JainamProp):
    """A state never seen is taken for a familiar one."""

    def orders(self, *, deadline: Deadline) -> list[Order]:
        return [
            replace(order, state=OrderState.CANCELLED)
            if order.state is OrderState.UNRECOGNISED
            else order
            for order in super().orders(deadline=deadline)
        ]


class SilenceIsEvidence(JainamProp):
    """A book that could not be read is taken as proof that an order is not there."""

    def find(self, tag: str, *, deadline: Deadline) -> Found | NotSeen:
        try:
            return super().find(tag, deadline=deadline)
        except BrokerError:
            return NotSeen(self._runtime.clock.now())


class KeepsHalf(JainamProp):
    """A download that broke off is a shorter contract."""

    def instruments(
        self, exchanges: Sequence[Exchange] | None = None
    ) -> Iterator[Instrument | BadRow]:
        try:
            yield from super().instruments(exchanges)
        except BrokerError:
            return


class NeverWaits(JainamProp):
    """Field defect 11: orders go out as they come."""

    def reserve(
        self, operation: Operation, *, priority: Priority, deadline: Deadline, wait: bool = True
    ) -> Slot:
        class Free(Slot):
            def __enter__(self) -> Free:
                return self

            def __exit__(self, *args: object) -> None:
                return None

        return Free()


class ShowsEverybody(JainamProp):
    """Field defect 19: dealer books of all clients."""

    def _ids(self) -> Any:
        ids = super()._ids()
        accepted = frozenset({*ids.accepted, "OTHER99"})
        return replace(ids, accepted=accepted)


Card = Callable[[Desk, XtsVenue], None]


def _metered(desk: Desk, venue: XtsVenue) -> None:
    def make(**fields: object) -> Desk:
        metered = Desk(venue, replace(desk.account, **fields))  # type: ignore[arg-type]
        metered.open()
        return metered

    PacingCards().test_c8_020_own_rate_is_never_above_the_published_one(make, venue)


CARDS: list[tuple[type[JainamProp], Card]] = [
    (SendsAgain, lambda d, v: SubmitCards().test_c4_040_is_sent_once_and_its_fate_is_told(
        d, Trouble.CLOSED_AFTER)),
    (CallsUnknownRefused, lambda d, v: SubmitCards().test_c4_040_is_sent_once_and_its_fate_is_told(
        d, Trouble.HALF_BODY_AFTER)),
    (OneTagForAll, lambda d, v: SubmitCards().test_c4_020_tag_is_echoed_by_the_book(d)),
    (SaysSuccess, lambda d, v: SubmitCards().test_c4_040_is_sent_once_and_its_fate_is_told(
        d, Trouble.ERROR_IN_SUCCESS)),
    (FailureIsEmpty, lambda d, v: BookCards().test_c6_020_failure_is_never_an_empty_book(
        d, Operation.ORDERS, Trouble.SERVER_ERROR)),
    (ForgetsReasons, lambda d, v: SubmitCards().test_c4_050_refusal_is_in_the_brokers_own_words(
        d, Trouble.REFUSED)),
    (GuessesStates,
     lambda d, v: BookCards().test_c6_070_unknown_state_is_loud_and_stays_cancellable(d, v)),
    (SilenceIsEvidence, lambda d, v: FindCards().test_c7_030_unreadable_book_is_no_evidence(
        d, Trouble.GATEWAY_ERROR)),
    (KeepsHalf, lambda d, v: InstrumentCards().test_c3_090_damaged_download_is_no_short_contract(
        d, Trouble.HALF_BODY_AFTER)),
    (NeverWaits, _metered),
    (ShowsEverybody,
     lambda d, v: IsolationCards().test_c10_050_foreign_orders_are_left_out(d, v)),
]


@pytest.mark.parametrize("faulty", [False, True], ids=["sound", "faulty"])
@pytest.mark.parametrize(("broker", "card"), CARDS, ids=[each.__name__ for each, _ in CARDS])
def test_faulty_broker_fails_its_card_and_a_sound_one_passes(
    simulator: Simulator, broker: type[JainamProp], card: Card, faulty: bool
) -> None:
    venue = XtsVenue("mutant", broker if faulty else JainamProp, simulator, (PRO_B, PRO_C))
    venue.reset()
    account = replace(
        venue.account(0), published_limits=False, orders_per_second=100_000, retry_count=0
    )
    desk = Desk(venue, account)
    desk.open()
    try:
        if faulty:
            with pytest.raises((AssertionError, BrokerError, pytest.fail.Exception)):
                card(desk, venue)
        else:
            card(desk, venue)
    finally:
        venue.calm()
        desk.broker.close()
