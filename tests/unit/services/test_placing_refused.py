"""Orders that the broker refused, and orders that provably were not sent."""

from __future__ import annotations

import pytest

from broker.base import Deadline
from broker.errors import (
    BrokerBusy,
    CircuitOpen,
    ConnectFailed,
    InvalidOrder,
    LoginFailed,
    OutcomeUnknown,
    RateLimited,
    Refused,
    SessionExpired,
)
from broker.models import Order, OrderRequest, OrderState
from database.journal import IntentState
from tests.support.clocks import ManualClock
from tests.support.placing import place
from tests.support.trading import Trader


def test_defect_08_a_refusal_keeps_the_brokers_words(trader: Trader) -> None:
    trader.venue.script("place", "refuse")
    with pytest.raises(Refused, match="OEMS:RMS : Margin Exceeds") as caught:
        place(trader)
    assert trader.states(caught.value.reference) == ["received", "sending", "rejected"]
    assert trader.intent(caught.value.reference).message == "OEMS:RMS : Margin Exceeds"
    assert trader.venue.calls("place") == 1


def test_a_connection_that_fails_is_tried_once_more_with_the_same_tag(trader: Trader) -> None:
    trader.venue.script("place", "connect")
    placed = place(trader)
    tags = [tag for tag, _ in trader.venue.placed]
    assert len(tags) == 2
    assert tags[0] == tags[1] == trader.intent(placed.reference).tag
    causes = [event.cause for event in trader.events(placed.reference)]
    assert "sending again" in causes


def test_two_failed_connections_are_not_sent(trader: Trader) -> None:
    trader.venue.script("place", "connect", "connect", "connect")
    with pytest.raises(ConnectFailed) as caught:
        place(trader)
    assert trader.venue.calls("place") == 2
    assert trader.states(caught.value.reference) == ["received", "sending", "not_sent"]


def test_a_dead_token_is_renewed_once_and_the_order_sent_once_more(trader: Trader) -> None:
    trader.venue.script("place", "dead")
    placed = place(trader)
    assert placed.order_id
    assert len(trader.venue.logins) == 2
    assert trader.venue.calls("place") == 2
    assert len({tag for tag, _ in trader.venue.placed}) == 1


def test_a_token_that_dies_twice_is_a_refusal_after_two_requests(trader: Trader) -> None:
    trader.venue.script("place", "dead", "dead", "dead")
    with pytest.raises(SessionExpired) as caught:
        place(trader)
    assert trader.venue.calls("place") == 2
    assert trader.intent(caught.value.reference).state is IntentState.REJECTED


def test_a_renewal_that_fails_tells_why(trader: Trader) -> None:
    trader.venue.script("place", "dead")
    place_first = trader.stack.sessions.connection(trader.account)
    assert place_first.session is not None
    trader.venue.failures.append(LoginFailed("Authentication failed: Invalid credentials"))
    with pytest.raises(LoginFailed, match="Invalid credentials") as caught:
        place(trader)
    assert trader.venue.calls("place") == 1
    assert trader.intent(caught.value.reference).state is IntentState.REJECTED


def test_a_renewal_of_unknown_outcome_is_no_order_of_unknown_outcome(trader: Trader) -> None:
    trader.stack.sessions.connection(trader.account)
    trader.venue.script("place", "dead")
    trader.venue.failures.append(OutcomeUnknown("The login timed out."))
    with pytest.raises(SessionExpired) as caught:
        place(trader)
    assert trader.intent(caught.value.reference).state is IntentState.REJECTED


def test_a_first_login_of_unknown_outcome_is_not_sent(trader: Trader) -> None:
    trader.venue.failures.append(OutcomeUnknown("The login timed out."))
    with pytest.raises(SessionExpired, match="no session") as caught:
        place(trader)
    assert trader.intent(caught.value.reference).state is IntentState.NOT_SENT
    assert trader.venue.calls("place") == 0


def test_a_documented_rate_limit_waits_looks_and_sends_once_more(
    trader: Trader, clock: ManualClock
) -> None:
    before = clock.monotonic()
    trader.venue.script("place", "rate_limit")
    placed = place(trader)
    assert clock.monotonic() - before >= 1.0
    assert [name for name, _ in trader.venue.wire if not name.startswith("reserve")] == [
        "place", "orders", "place",
    ]
    assert len(trader.venue.with_tag(trader.intent(placed.reference).tag)) == 1


def test_a_rate_limit_that_had_accepted_after_all_is_not_sent_again(trader: Trader) -> None:
    trader.venue.script("place", "rate_limit_booked")
    placed = place(trader)
    assert trader.venue.calls("place") == 1
    assert placed.order_id == trader.venue.book[0].order_id


def test_a_rate_limited_order_that_the_book_shows_rejected_is_told_so(trader: Trader) -> None:
    trader.venue.script("place", "rate_limit_booked")
    trader.venue.fill_market = False
    original = trader.venue.add

    def rejected(order: OrderRequest, tag: str, client: str = "*****") -> Order:
        row = original(order, tag, client)
        return trader.venue.change(row.order_id, state=OrderState.REJECTED, reason="RMS says no")

    trader.venue.add = rejected  # type: ignore[method-assign]
    with pytest.raises(Refused, match="RMS says no"):
        place(trader)


def test_an_order_that_the_reconciler_found_meanwhile_is_not_sent_again(trader: Trader) -> None:
    """A token refused with a code that turned out not to precede acceptance."""
    trader.stack.sessions.connection(trader.account)
    trader.venue.script("place", "dead_booked")
    renew = trader.stack.sessions.renew

    def slow_renewal(*args: object, **options: object) -> None:
        renew(*args, **options)  # type: ignore[arg-type]
        assert trader.desk.reconciler.run_once().settled == 1

    trader.stack.sessions.renew = slow_renewal  # type: ignore[method-assign]
    placed = place(trader)
    assert trader.venue.calls("place") == 1
    assert placed.order_id == trader.venue.book[0].order_id
    assert trader.venue.slots_out == 0


def test_a_second_slot_that_comes_too_late_is_given_back_unused(trader: Trader) -> None:
    trader.venue.script("place", "connect")
    trader.venue.script("reserve", "slow")
    with pytest.raises(ConnectFailed):
        place(trader)
    assert trader.venue.calls("place") == 1
    assert trader.venue.slots_out == 0


def test_a_slot_that_the_adapter_did_not_use_is_given_back(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> str:
        raise InvalidOrder("The tag is too long.", field="tag")

    monkeypatch.setattr(trader.stack.sessions.connection(trader.account), "place", refuse)
    with pytest.raises(InvalidOrder):
        place(trader)
    assert trader.venue.slots_out == 0


def test_a_call_gets_seven_tenths_of_the_time_that_is_left(
    trader: Trader, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def note(order: object, tag: str, *, slot: object, deadline: Deadline) -> str:
        given.append(deadline.remaining())
        raise Refused("no")

    monkeypatch.setattr(trader.stack.sessions.connection(trader.account), "place", note)
    for seconds in (10.0, 4.0):
        with pytest.raises(Refused):
            place(trader, deadline=Deadline(clock, seconds))
    assert given == [pytest.approx(7.0), pytest.approx(2.8)]


def test_a_rate_limit_with_an_unreadable_book_is_not_sent_again(trader: Trader) -> None:
    trader.venue.script("place", "rate_limit")
    trader.venue.script("orders", "fail")
    with pytest.raises(RateLimited) as caught:
        place(trader)
    assert trader.venue.calls("place") == 1
    assert trader.intent(caught.value.reference).state is IntentState.REJECTED


def test_a_rate_limit_near_the_deadline_is_not_waited_out(
    trader: Trader, clock: ManualClock
) -> None:
    trader.venue.script("place", "rate_limit")
    with pytest.raises(RateLimited):
        place(trader, deadline=Deadline(clock, 1.2))
    assert trader.venue.calls("place") == 1


def test_an_open_circuit_is_not_sent(trader: Trader) -> None:
    trader.venue.script("place", "circuit")
    with pytest.raises(CircuitOpen) as caught:
        place(trader)
    assert caught.value.retry_after == 5.0
    assert trader.intent(caught.value.reference).state is IntentState.NOT_SENT
    assert trader.venue.calls("place") == 1


def test_a_circuit_that_is_open_at_the_queue_is_not_sent(trader: Trader) -> None:
    trader.venue.script("reserve at once", CircuitOpen("The broker is failing."))
    with pytest.raises(CircuitOpen) as caught:
        place(trader)
    assert trader.states(caught.value.reference) == ["received", "not_sent"]


def test_a_full_queue_is_not_sent(trader: Trader) -> None:
    trader.venue.no_slot_at_once = 1
    trader.venue.script("reserve", BrokerBusy("Full.", retry_after=2.0))
    with pytest.raises(BrokerBusy) as caught:
        place(trader)
    assert trader.states(caught.value.reference) == ["received", "not_sent"]
    assert trader.venue.calls("place") == 0


def test_a_slot_that_comes_too_late_is_given_back_unused(trader: Trader) -> None:
    trader.venue.no_slot_at_once = 1
    trader.venue.script("reserve", "slow")
    with pytest.raises(BrokerBusy, match="took too long") as caught:
        place(trader)
    assert trader.venue.calls("place") == 0
    assert trader.venue.slots_out == 0
    assert trader.intent(caught.value.reference).state is IntentState.NOT_SENT
