"""Modify and cancel: found by the order, held against its row, sent once, settled by the book."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from broker.base import Operation, Priority
from broker.errors import BrokerBusy, OutcomeUnknown, Refused, SessionExpired
from broker.models import OrderState, OrderType, Side
from database.engine import Database
from database.errors import DatabaseUnavailable
from database.journal import IntentKind, IntentState
from services.accounts import NewAccount
from services.errors import Conflict, InvalidRequest, NotFoundHere, Unavailable, UnknownSymbol
from services.flags import KILL_SWITCH
from services.order_models import ModifyDraft, Placed, Provenance
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, draft, request
from tests.support.venue import CREDENTIALS

LIMIT = OrderType.LIMIT


@pytest.fixture
def resting(trader: Trader) -> Placed:
    """A limit order of ours that rests at 100."""
    order = draft(order_type=LIMIT, price="100")
    return trader.desk.orders.place(trader.principal, trader.account, order)


def terms(**values: object) -> ModifyDraft:
    base = ModifyDraft("INFY", "NSE", Side.BUY, LIMIT, draft().product, 20, Decimal(101))
    return replace(base, **values)  # type: ignore[arg-type]


def modify(trader: Trader, order_id: str, wanted: ModifyDraft, **values: object) -> Placed:
    return trader.desk.orders.modify(
        trader.principal, None, order_id, wanted, **values,  # type: ignore[arg-type]
    )


def cancel(trader: Trader, order_id: str, **values: object) -> Placed:
    return trader.desk.orders.cancel(
        trader.principal, None, order_id, **values,  # type: ignore[arg-type]
    )


# Cancel -----------------------------------------------------------------------------------------


def test_a_cancel_of_ours_needs_no_book_and_goes_first(trader: Trader, resting: Placed) -> None:
    done = cancel(trader, resting.order_id, request_id="req-9", strategy="way out")
    assert done.order_id == resting.order_id
    assert trader.venue.calls("orders") == 0
    assert trader.venue.reserved[-1] == (Operation.CANCEL, Priority.EXIT, False)
    assert trader.venue.row(resting.order_id).state is OrderState.CANCELLED
    intent = trader.intent(done.reference)
    assert (intent.kind, intent.target_order_id) == (IntentKind.CANCEL, resting.order_id)
    assert (intent.symbol, intent.strategy, intent.request_id) == ("INFY", "way out", "req-9")
    assert trader.states(done.reference) == ["received", "sending", "accepted"]


def test_an_order_is_cancelled_by_its_reference_or_client_order_id(trader: Trader) -> None:
    for name in ("reference", "client_order_id"):
        placed = trader.desk.orders.place(
            trader.principal, trader.account, draft(order_type=LIMIT, price="100"),
            provenance=Provenance(client_order_id=f"mine-{name}"),
        )
        key = placed.reference if name == "reference" else f"mine-{name}"
        assert cancel(trader, key).order_id == placed.order_id


def test_a_foreign_order_is_found_in_the_book_and_cancelled_with_its_own_client(
    trader: Trader,
) -> None:
    row = trader.venue.add(request(Side.SELL, 5, order_type=LIMIT, price="105"), "", "CLIENT7")
    assert cancel(trader, row.order_id).order_id == row.order_id
    assert trader.venue.cancelled == [(row.order_id, "CLIENT7")]


def test_an_order_that_nobody_has_is_not_found(trader: Trader) -> None:
    with pytest.raises(NotFoundHere, match="Order 999 not found"):
        cancel(trader, "999")
    assert trader.venue.cancelled == []


@pytest.mark.parametrize("order_id", ["1&clientID=OTHER", "1' OR '1'='1", "../1", "١٢", "%00"])
def test_defect_13_an_order_id_that_is_none_reaches_no_broker(
    trader: Trader, resting: Placed, order_id: str
) -> None:
    with pytest.raises(NotFoundHere):
        cancel(trader, order_id)
    assert trader.venue.cancelled == []


def test_defect_14_order_ids_are_text(trader: Trader, resting: Placed) -> None:
    assert isinstance(resting.order_id, str)
    assert isinstance(cancel(trader, resting.order_id).order_id, str)
    assert isinstance(trader.intent(resting.reference).broker_order_id, str)


def test_defect_05_a_book_that_cannot_be_read_is_no_absence(trader: Trader) -> None:
    trader.venue.script("orders", "fail")
    with pytest.raises(Unavailable, match="nothing was sent"):
        cancel(trader, "999")


def test_an_order_id_of_another_day_is_looked_for_in_the_book(
    trader: Trader, resting: Placed, clock: ManualClock
) -> None:
    clock.advance(24 * 3600)
    trader.venue.book.clear()
    with pytest.raises(NotFoundHere):
        cancel(trader, resting.order_id)


def test_an_order_without_a_broker_id_cannot_be_cancelled_yet(trader: Trader) -> None:
    trader.venue.script("place", "lost")
    with pytest.raises(OutcomeUnknown) as caught:
        trader.desk.orders.place(trader.principal, trader.account, draft())
    with pytest.raises(Conflict, match="not known yet"):
        cancel(trader, caught.value.reference)
    trader.venue.script("place", "refuse")
    with pytest.raises(Refused) as refused:
        trader.desk.orders.place(trader.principal, trader.account, draft())
    with pytest.raises(NotFoundHere, match="never became one"):
        cancel(trader, refused.value.reference)


def test_a_refused_cancel_keeps_the_brokers_words(trader: Trader, resting: Placed) -> None:
    trader.venue.fill(resting.order_id)
    with pytest.raises(Refused, match="Order is already FILLED"):
        cancel(trader, resting.order_id)


def test_a_cancel_whose_answer_is_lost_is_settled_by_the_row(
    trader: Trader, resting: Placed
) -> None:
    trader.venue.script("cancel", "accept_lost")
    done = cancel(trader, resting.order_id)
    assert trader.states(done.reference) == ["received", "sending", "unknown", "accepted"]
    assert len(trader.venue.cancelled) == 1


def test_a_cancel_that_never_arrived_stays_unknown(trader: Trader, resting: Placed) -> None:
    trader.venue.script("cancel", "lost")
    with pytest.raises(OutcomeUnknown, match="this cancellation is unknown"):
        cancel(trader, resting.order_id)
    assert len(trader.venue.cancelled) == 1


def test_a_cancel_that_lost_the_race_is_told_so(trader: Trader, resting: Placed) -> None:
    trader.venue.script("cancel", "lost")
    trader.venue.fill(resting.order_id)
    with pytest.raises(Refused, match="filled before it could be cancelled"):
        cancel(trader, resting.order_id)


def test_a_dead_token_costs_a_cancel_one_more_request(trader: Trader, resting: Placed) -> None:
    trader.venue.script("cancel", "dead")
    assert cancel(trader, resting.order_id).order_id == resting.order_id
    assert len(trader.venue.cancelled) == 2


def test_switches_do_not_stop_cancels(trader: Trader, resting: Placed) -> None:
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    trader.stack.accounts.set_broker_enabled("jainam_prop", False, "asha")
    assert cancel(trader, resting.order_id).order_id == resting.order_id


def test_without_a_database_an_order_is_still_cancelled(
    trader: Trader, resting: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(database: Database, *, durable: bool = True) -> None:
        raise DatabaseUnavailable("the database is not available: disk full")

    with monkeypatch.context() as broken:
        broken.setattr(Database, "read", gone)
        broken.setattr(Database, "write", gone)
        done = cancel(trader, resting.order_id)
    assert trader.venue.row(resting.order_id).state is OrderState.CANCELLED
    trader.desk.reconciler.run_once()
    assert trader.states(done.reference) == ["received", "sending", "accepted"]


def test_without_a_database_an_account_without_a_session_is_not_in_the_way(
    trader: Trader, resting: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every account is searched for the order, also one that is not connected."""
    secrets = {name: value.replace("CANARY", "CANARY2") for name, value in CREDENTIALS.items()}
    trader.stack.accounts.add(trader.principal, NewAccount("prop-c", "jainam_prop", secrets))
    assert len(trader.stack.accounts.list(trader.principal)) == 2

    def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("the database is not available: connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(Database, "read", gone)
        broken.setattr(Database, "write", gone)
        trader.desk.orders.cancel(trader.principal, None, resting.order_id)
    assert trader.venue.row(resting.order_id).state is OrderState.CANCELLED


def test_a_repeat_under_the_same_reference_cancels_once(trader: Trader, resting: Placed) -> None:
    for _ in range(2):
        cancel(trader, resting.order_id, provenance=Provenance(reference="C-1"))
    assert len(trader.venue.cancelled) == 1


def test_the_same_order_id_in_two_accounts_asks_which(trader: Trader, resting: Placed) -> None:
    secrets = {name: value.replace("CANARY", "CANARY2") for name, value in CREDENTIALS.items()}
    other = trader.stack.accounts.add(
        trader.principal, NewAccount("prop-c", "jainam_prop", secrets)
    )
    intent = replace(
        trader.intent(resting.reference), id=0, account_id=other.id, reference="R2", tag="T2"
    )
    with trader.database.write() as conn:
        from database import journal
        journal.new_intent(conn, intent)
    with pytest.raises(Conflict, match="jainam_prop, prop-c"):
        cancel(trader, resting.order_id)
    done = trader.desk.orders.cancel(trader.principal, trader.account, resting.order_id)
    assert done.order_id == resting.order_id


def test_a_foreign_order_id_in_two_books_asks_which(trader: Trader) -> None:
    secrets = {name: value.replace("CANARY", "CANARY2") for name, value in CREDENTIALS.items()}
    trader.stack.accounts.add(trader.principal, NewAccount("prop-c", "jainam_prop", secrets))
    row = trader.venue.add(request(Side.SELL, 5, order_type=LIMIT, price="105"), "")
    with pytest.raises(Conflict, match="jainam_prop, prop-c"):
        cancel(trader, row.order_id)
    assert trader.venue.cancelled == []


def test_a_client_order_id_names_only_ones_own_order(trader: Trader) -> None:
    ben = trader.stack.user("ben")
    orders, mine = trader.desk.orders, Provenance(client_order_id="1")
    limit = draft(order_type=LIMIT, price="100")
    first = orders.place(trader.principal, trader.account, limit, provenance=mine)
    second = orders.place(ben, trader.account, limit, provenance=mine)
    assert orders.cancel(trader.principal, None, "1").order_id == first.order_id
    known = orders.journal(ben, "1").intent
    assert known is not None and known.reference == second.reference
    assert trader.venue.row(second.order_id).state is OrderState.OPEN


# Modify -----------------------------------------------------------------------------------------


def test_a_modification_sends_the_whole_order_and_keeps_its_tag(
    trader: Trader, resting: Placed
) -> None:
    done = modify(trader, resting.order_id, terms())
    assert done.order_id == resting.order_id
    sent = trader.venue.modified[0]
    assert (sent.quantity, sent.price, sent.order_type) == (20, Decimal(101), LIMIT)
    assert sent.tag == trader.intent(resting.reference).tag
    assert sent.client == "*****"
    intent = trader.intent(done.reference)
    assert (intent.kind, intent.quantity, intent.price) == (IntentKind.MODIFY, 20, Decimal(101))
    assert trader.venue.row(resting.order_id).price == Decimal(101)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"symbol": "TCS"}, "symbol"),
        ({"side": Side.SELL}, "side"),
        ({"price": Decimal(0)}, "price"),
        ({"price": Decimal("100.01")}, "price"),
        ({"order_type": OrderType.MARKET}, "price"),
        ({"quantity": 0}, "quantity"),
    ],
)
def test_what_cannot_be_changed_never_reaches_the_broker(
    trader: Trader, resting: Placed, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        modify(trader, resting.order_id, terms(**changes))
    assert list(caught.value.errors) == [field]
    assert trader.venue.modified == []


def test_an_unknown_symbol_in_a_modification_is_refused(trader: Trader, resting: Placed) -> None:
    with pytest.raises(UnknownSymbol):
        modify(trader, resting.order_id, terms(symbol="NOPE"))


def test_a_new_total_below_what_is_filled_is_refused(trader: Trader, resting: Placed) -> None:
    trader.venue.fill(resting.order_id, 5)
    with pytest.raises(InvalidRequest, match="5 of order"):
        modify(trader, resting.order_id, terms(quantity=4))
    assert modify(trader, resting.order_id, terms(quantity=6)).order_id


@pytest.mark.parametrize("state", [OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED])
def test_only_an_open_order_is_modified(
    trader: Trader, resting: Placed, state: OrderState
) -> None:
    trader.venue.change(resting.order_id, state=state)
    with pytest.raises(Conflict, match=state.value.lower()):
        modify(trader, resting.order_id, terms())
    assert trader.venue.modified == []


@pytest.mark.parametrize(
    "state", [OrderState.PENDING, OrderState.TRIGGER_PENDING, OrderState.UNRECOGNISED]
)
def test_defect_07_every_open_state_can_be_modified(
    trader: Trader, resting: Placed, state: OrderState
) -> None:
    trader.venue.change(resting.order_id, state=state)
    assert modify(trader, resting.order_id, terms()).order_id == resting.order_id


def test_a_modification_needs_a_readable_book(trader: Trader, resting: Placed) -> None:
    trader.venue.script("orders", "fail")
    with pytest.raises(Unavailable, match="nothing was sent"):
        modify(trader, resting.order_id, terms())
    assert trader.venue.modified == []


def test_an_order_that_is_not_in_the_book_yet_cannot_be_modified(trader: Trader) -> None:
    trader.venue.script("place", "drop")
    placed = trader.desk.orders.place(
        trader.principal, trader.account, draft(order_type=LIMIT, price="100")
    )
    with pytest.raises(Conflict, match="not in the broker's book yet"):
        modify(trader, placed.order_id, terms())


def test_a_modification_whose_answer_is_lost_is_settled_by_the_row(
    trader: Trader, resting: Placed
) -> None:
    trader.venue.script("modify", "accept_lost")
    done = modify(trader, resting.order_id, terms())
    assert trader.states(done.reference)[-2:] == ["unknown", "accepted"]
    trader.venue.script("modify", "lost")
    with pytest.raises(OutcomeUnknown, match="this modification is unknown"):
        modify(trader, resting.order_id, terms(price=Decimal(102)))


def test_a_lost_modification_of_an_order_that_ended_is_told_so(
    trader: Trader, resting: Placed
) -> None:
    trader.venue.script("modify", "lost")
    trader.venue.script("orders", "", "fail")
    broker = trader.stack.sessions.connection(trader.account)
    original = broker.modify

    def late(*args: object, **kwargs: object) -> str:
        try:
            return original(*args, **kwargs)  # type: ignore[arg-type]
        finally:
            trader.venue.fill(resting.order_id)

    broker.modify = late  # type: ignore[method-assign]
    with pytest.raises(Refused, match="filled before it could be modified"):
        modify(trader, resting.order_id, terms())


def test_a_modification_that_finds_a_full_queue_is_not_sent(
    trader: Trader, resting: Placed
) -> None:
    trader.venue.no_slot_at_once = 1
    trader.venue.script("reserve", BrokerBusy("Full.", retry_after=1.0))
    with pytest.raises(BrokerBusy) as caught:
        modify(trader, resting.order_id, terms())
    assert trader.intent(caught.value.reference).state is IntentState.NOT_SENT


def test_the_account_of_an_order_is_found(trader: Trader, resting: Placed) -> None:
    orders = trader.desk.orders
    assert orders.account_of(trader.principal, None, resting.order_id) == trader.account
    assert orders.account_of(trader.principal, trader.account, "anything") == trader.account


def test_the_journal_of_an_order_is_told_by_any_of_its_names(
    trader: Trader, resting: Placed
) -> None:
    for key in (resting.reference, resting.order_id):
        view = trader.desk.orders.journal(trader.principal, key)
        assert view.account == "jainam_prop"
        assert view.intent is not None
        assert view.intent.reference == resting.reference
        assert [event.state.value for event in view.events] == ["received", "sending", "accepted"]
    with pytest.raises(NotFoundHere):
        trader.desk.orders.journal(trader.principal, "nothing")


def test_the_journal_of_a_composite_tells_its_children(trader: Trader) -> None:
    trader.desk.baskets.basket(
        trader.principal, trader.account, [draft(), draft(Side.SELL)],
        provenance=Provenance(reference="PARENT"),
    )
    view = trader.desk.orders.journal(trader.principal, "PARENT")
    assert view.intent is None
    assert [child.child_index for child in view.children] == [0, 1]
    assert view.account == "jainam_prop"


def test_no_session_no_cancel(trader: Trader, resting: Placed) -> None:
    trader.stack.sessions.logout(trader.account)
    with pytest.raises(SessionExpired):
        cancel(trader, resting.order_id)
    assert trader.venue.cancelled == []
