"""C7 Find: seen, not seen, or could not look; three answers that make *unknown* decidable."""

from __future__ import annotations

import pytest

from broker.base import Operation
from broker.errors import BrokerError, Fate
from broker.models import Found, NotSeen, OrderState, Side
from broker.testing.cards.base import READ_TROUBLES, Cards, settle, suffer
from broker.testing.desk import Desk, new_tag
from broker.testing.harness import BrokerHarness, Trouble

TAKEN = [
    Trouble.CLOSED_AFTER,
    Trouble.HANGS_AFTER,
    Trouble.HALF_BODY_AFTER,
    Trouble.MALFORMED_AFTER,
    Trouble.NO_ID_AFTER,
    Trouble.SERVER_ERROR_AFTER,
]
NOT_TAKEN = [Trouble.CLOSED_BEFORE, Trouble.HANGS_BEFORE, Trouble.SERVER_ERROR, Trouble.HTML_PAGE]


class FindCards(Cards):
    """C7."""

    def test_c7_010_finds_what_it_placed(self, desk: Desk) -> None:
        tag = new_tag()
        order_id = desk.place(tag=tag)
        found = desk.broker.find(tag, deadline=desk.deadline())
        assert isinstance(found, Found)
        assert (found.order.order_id, found.order.tag) == (order_id, tag)
        assert found.as_of.tzinfo is not None

    def test_c7_020_says_as_of_when_it_did_not_see_it(self, desk: Desk) -> None:
        for _ in range(2):
            before = desk.clock.now()
            seen = desk.broker.find(new_tag(), deadline=desk.deadline())
            assert isinstance(seen, NotSeen)
            assert before <= seen.as_of <= desk.clock.now()
            desk.place()

    @pytest.mark.parametrize("trouble", READ_TROUBLES, ids=lambda each: each.name.lower())
    def test_c7_030_unreadable_book_is_no_evidence(self, desk: Desk, trouble: Trouble) -> None:
        tag = new_tag()
        desk.place(tag=tag)
        seconds = suffer(desk, trouble, Operation.ORDERS)
        with pytest.raises(BrokerError):
            desk.broker.find(tag, deadline=desk.deadline(seconds))
        settle(desk, trouble, Operation.ORDERS)

    @pytest.mark.parametrize("trouble", TAKEN, ids=lambda each: each.name.lower())
    def test_c7_040_unknown_that_was_taken_is_found(self, desk: Desk, trouble: Trouble) -> None:
        assert isinstance(_lost(desk, trouble), Found)

    @pytest.mark.parametrize("trouble", NOT_TAKEN, ids=lambda each: each.name.lower())
    def test_c7_050_unknown_that_was_not_taken_is_not_seen(
        self, desk: Desk, trouble: Trouble
    ) -> None:
        assert isinstance(_lost(desk, trouble), NotSeen)

    def test_c7_060_accepted_and_dropped_is_not_seen(self, desk: Desk) -> None:
        suffer(desk, Trouble.DROPPED_AFTER, Operation.PLACE)
        tag = new_tag()
        assert desk.place(tag=tag)
        assert isinstance(desk.broker.find(tag, deadline=desk.deadline()), NotSeen)

    def test_c7_070_finds_what_is_over(self, desk: Desk, venue: BrokerHarness) -> None:
        filled, rejected = new_tag(), new_tag()
        venue.fill(desk.place(tag=filled), desk.equity.lot, desk.equity.last)
        venue.reject(desk.place(desk.terms(side=Side.BUY), rejected), "no")
        states = {}
        for tag in (filled, rejected):
            found = desk.broker.find(tag, deadline=desk.deadline())
            assert isinstance(found, Found)
            states[tag] = found.order.state
        assert states == {filled: OrderState.FILLED, rejected: OrderState.REJECTED}

    def test_c7_080_tag_must_match_whole(self, desk: Desk) -> None:
        tag = new_tag()
        desk.place(tag=tag)
        for other in (tag[:-1], tag + "x", tag.upper(), ""):
            if other != tag:
                seen = desk.broker.find(other, deadline=desk.deadline())
                assert isinstance(seen, NotSeen), other

    def test_c7_090_finds_many_at_once(self, desk: Desk) -> None:
        tags = [new_tag() for _ in range(4)]
        orders = {tag: desk.place(tag=tag) for tag in tags[:2]}
        found = desk.broker.find_many(tags, deadline=desk.deadline())
        assert list(found) == tags
        assert {
            tag: seen.order.order_id for tag, seen in found.items() if isinstance(seen, Found)
        } == orders


def _lost(desk: Desk, trouble: Trouble) -> Found | NotSeen:
    """Lose the answer of an order, then look for it."""
    seconds = suffer(desk, trouble, Operation.PLACE)
    tag = new_tag()
    with pytest.raises(BrokerError) as caught:
        desk.place(tag=tag, seconds=seconds)
    assert caught.value.fate is Fate.UNKNOWN
    settle(desk, trouble, Operation.PLACE)
    found = desk.broker.find(tag, deadline=desk.deadline())
    if isinstance(found, Found):
        assert found.order.tag == tag
        assert desk.harness.received(tag)[0].order_id == found.order.order_id
    return found
