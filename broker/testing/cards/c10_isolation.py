"""C10 Isolation: accounts and clusters side by side never mix, foreign rows stay outside."""

from __future__ import annotations

import pytest

from broker.errors import BrokerError, Fate, SessionExpired
from broker.models import OrderState
from broker.testing.cards.base import Cards, MakeDesk
from broker.testing.desk import Desk, new_tag
from broker.testing.harness import BrokerHarness


class IsolationCards(Cards):
    """C10."""

    def test_c10_010_accounts_are_connected_at_once(self, make: MakeDesk) -> None:
        one, two = make(0), make(1)
        first, second = new_tag(), new_tag()
        mine, theirs = one.place(tag=first), two.place(tag=second)
        assert [order.tag for order in one.orders().values()] == [first]
        assert [order.tag for order in two.orders().values()] == [second]
        assert mine not in two.orders() and theirs not in one.orders()

    def test_c10_020_accounts_lie_on_the_clusters_they_name(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        clusters = {venue.account(n).cluster for n in range(venue.facts.accounts)}
        if len(clusters) < 2:
            pytest.skip(f"the double of {venue.name} has one cluster")
        for number in range(venue.facts.accounts):
            desk, tag = make(number), new_tag()
            assert desk.order(desk.place(tag=tag)).tag == tag

    def test_c10_030_another_accounts_order_cannot_be_touched(
        self, make: MakeDesk
    ) -> None:
        one, two = make(0), make(1)
        order = one.order(one.place())
        with pytest.raises(BrokerError) as caught:
            two.cancel(order.order_id)
        assert caught.value.fate is Fate.REFUSED
        assert one.order(order.order_id).state is OrderState.OPEN

    def test_c10_040_logout_of_one_leaves_the_other(self, make: MakeDesk) -> None:
        one, two = make(0), make(1)
        session = one.broker.session
        assert session is not None
        one.broker.logout(session)
        with pytest.raises(SessionExpired):
            one.orders()
        assert two.orders() == {}

    def test_c10_050_foreign_orders_are_left_out(self, desk: Desk, venue: BrokerHarness) -> None:
        tag = new_tag()
        foreign = venue.foreign_order(desk.equity.ref)
        mine = desk.place(tag=tag)
        assert list(desk.orders()) == [mine]
        assert foreign != mine

    def test_c10_060_foreign_positions_are_left_out(
        self, desk: Desk, venue: BrokerHarness
    ) -> None:
        venue.foreign_position(desk.equity.ref)
        assert desk.broker.positions(deadline=desk.deadline()) == []

    def test_c10_070_own_order_from_elsewhere_is_shown_without_a_tag_of_ours(
        self, make: MakeDesk
    ) -> None:
        """What the account's owner enters at another terminal counts, and is not taken for ours."""
        desk = make()
        other = make(login=False)
        other.broker.attach(desk.broker.session)
        order_id = other.place(tag="")
        assert order_id in desk.orders()

    def test_c10_080_sessions_of_one_account_are_not_anothers(self, make: MakeDesk) -> None:
        one, two = make(0), make(1)
        assert one.broker.session is not None and two.broker.session is not None
        tokens = {each.reveal() for each in one.broker.session.tokens.values()}
        assert not tokens & {each.reveal() for each in two.broker.session.tokens.values()}
