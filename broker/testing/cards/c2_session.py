"""C2 Sessions: logging in, dead tokens in every documented form, displacement, logging out."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from broker.base import Operation
from broker.errors import ConnectFailed, Fate, LoginFailed, SessionExpired
from broker.testing.cards.base import Cards, MakeDesk
from broker.testing.desk import Desk, hidden, new_tag
from broker.testing.harness import BrokerHarness

THREADS = 20
CLOSED_PORT = "http://127.0.0.1:1"


class SessionCards(Cards):
    """C2."""

    def test_c2_010_login_yields_a_session_and_attaches_nothing(self, make: MakeDesk) -> None:
        desk = make(login=False)
        session = desk.broker.login()
        assert desk.broker.session is None
        assert session.tokens and all(session.tokens.values())
        assert session.opened_at.tzinfo is not None
        assert timedelta(0) < session.expires_at - desk.clock.now() <= timedelta(hours=25)
        assert all(isinstance(value, str) for value in session.details.values())

    def test_c2_020_attached_session_serves_and_can_be_taken_away(self, make: MakeDesk) -> None:
        desk = make(login=False)
        session = desk.open()
        assert desk.broker.session is session
        desk.broker.funds(deadline=desk.deadline())
        desk.broker.attach(None)
        with pytest.raises(SessionExpired):
            desk.broker.funds(deadline=desk.deadline())

    def test_c2_030_wrong_secret_is_final_and_not_repeated(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        wrong = venue.with_wrong_secret(venue.account(0))
        desk = make(login=False, credentials=wrong.credentials)
        before = venue.requests(Operation.LOGIN)
        with pytest.raises(LoginFailed) as caught:
            desk.broker.login()
        assert caught.value.message.startswith("Authentication failed: Invalid credentials")
        assert not [secret for secret in hidden(desk.account) if secret in caught.value.message]
        assert venue.requests(Operation.LOGIN) - before <= len(venue.facts.session_operations)
        assert desk.broker.session is None

    def test_c2_040_venue_that_is_down_is_no_wrong_secret(self, make: MakeDesk) -> None:
        desk = make(login=False, base_url=CLOSED_PORT)
        with pytest.raises(ConnectFailed) as caught:
            desk.broker.login()
        assert caught.value.fate is Fate.NOT_SENT

    def test_c2_050_dead_token_is_known_in_every_form(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        for form in venue.facts.dead_token_forms:
            desk = make()
            venue.use_dead_token_form(form)
            venue.end_sessions()
            tag = new_tag()
            with pytest.raises(SessionExpired):
                desk.place(tag=tag)
            assert not any(each.accepted for each in venue.received(tag)), form
            with pytest.raises(SessionExpired):
                desk.orders()
            with pytest.raises(SessionExpired):
                desk.broker.funds(deadline=desk.deadline())

    def test_c2_060_one_renewal_serves_twenty_threads(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        for form in venue.facts.dead_token_forms:
            desk = make()
            venue.use_dead_token_form(form)
            venue.end_sessions()
            before = venue.requests(Operation.LOGIN)
            results = _read_in_many_threads(desk)
            assert results == ["read"] * THREADS, form
            logins = venue.requests(Operation.LOGIN) - before
            assert logins <= len(venue.facts.session_operations), form

    def test_c2_070_second_login_displaces_the_first(self, make: MakeDesk) -> None:
        first = make()
        second = make()
        second.orders()
        with pytest.raises(SessionExpired):
            first.orders()

    def test_c2_080_logout_ends_the_session_once_and_for_all(self, make: MakeDesk) -> None:
        desk = make()
        session = desk.broker.session
        assert session is not None
        desk.broker.logout(session)
        with pytest.raises(SessionExpired):
            desk.orders()
        desk.broker.logout(session)

    def test_c2_090_session_can_be_attached_elsewhere(self, make: MakeDesk) -> None:
        """Another process gets the stored session, not a login of its own."""
        one, two = make(), make(login=False)
        order_id = one.place()
        session = one.broker.session
        assert session is not None
        two.broker.attach(replace(session))
        assert order_id in two.orders()
        assert order_id in one.orders()


def _read_in_many_threads(desk: Desk) -> list[object]:
    """Everybody reads, finds the token dead and asks for a renewal; the first one gets it."""
    renewing = threading.Lock()
    together = threading.Barrier(THREADS)
    results: list[object] = []

    def work() -> None:
        try:
            session = desk.broker.session
            together.wait(20)
            try:
                desk.orders()
            except SessionExpired:
                with renewing:
                    if desk.broker.session is session:
                        desk.open()
                desk.orders()
            results.append("read")
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results
