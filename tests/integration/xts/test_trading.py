"""An account's day at every venue of the simulator: orders, books, positions, limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from broker import errors
from broker.models import (
    Exchange,
    Instrument,
    InstrumentKind,
    InstrumentRef,
    ModifyRequest,
    OrderRequest,
    OrderState,
    OrderType,
    Product,
    Side,
)
from simulator.testing import ThreadSimulator
from tests.support.waiting import wait_until
from tests.support.xts_accounts import RELIANCE, VENUES, Account

Connect = Callable[..., Account]
EVERYWHERE = pytest.mark.parametrize("venue", sorted(VENUES))


def change_of(account: Account, order_id: str, quantity: int, price: Decimal) -> ModifyRequest:
    order = next(
        o for o in account.broker.orders(deadline=account.deadline()) if o.order_id == order_id
    )
    return ModifyRequest(
        order_id, OrderType.LIMIT, Product.CNC, quantity, price, tag=order.tag, client=order.client
    )


@EVERYWHERE
def test_a_login_reads_everything(connect: Connect, venue: str) -> None:
    account = connect(venue)
    assert account.broker.self_check(deadline=account.deadline()) == []
    assert account.observer.anomalies == []


@EVERYWHERE
def test_the_life_of_a_resting_order(connect: Connect, venue: str, sim: ThreadSimulator) -> None:
    account = connect(venue)
    price = account.far()
    order_id = account.place(account.limit(price=price), "REST-1")
    placed = account.settled("REST-1", "New")
    assert (placed.order_id, placed.state) == (order_id, OrderState.OPEN)
    assert (placed.quantity, placed.pending_quantity, placed.price) == (5, 5, price)
    assert placed.instrument == RELIANCE

    account.modify(change_of(account, order_id, 7, price - 1))
    changed = account.settled("REST-1", "Replaced")
    assert (changed.quantity, changed.price) == (7, price - 1)

    account.cancel(order_id, changed.client)
    over = account.settled("REST-1", "Cancelled")
    assert (over.state, over.pending_quantity) == (OrderState.CANCELLED, 0)
    history = account.broker.order_history(order_id, deadline=account.deadline())
    assert [report.state_text for report in history] == [
        "PendingNew",
        "New",
        "PendingReplace",
        "Replaced",
        "PendingCancel",
        "Cancelled",
    ]
    assert [o["tag"] for o in sim.orders(account.profile)] == ["REST-1"]


@EVERYWHERE
def test_a_fill_shows_in_every_book(connect: Connect, venue: str) -> None:
    account = connect(venue)
    account.place(OrderRequest(RELIANCE, Side.BUY, OrderType.MARKET, Product.CNC, 10), "BUY-1")
    filled = account.settled("BUY-1", "Filled")
    assert (filled.filled_quantity, filled.pending_quantity) == (10, 0)
    trades = account.broker.trades(deadline=account.deadline())
    assert sum(trade.quantity for trade in trades) == 10
    amount = sum(trade.quantity * trade.price for trade in trades)
    assert filled.average_price == pytest.approx(amount / 10, abs=Decimal("0.01"))
    (position,) = account.broker.positions(deadline=account.deadline())
    assert (position.quantity, position.buy_quantity, position.product) == (10, 10, Product.CNC)
    assert position.average_price == pytest.approx(filled.average_price, abs=Decimal("0.01"))
    (today,) = account.broker.positions(deadline=account.deadline(), day=True)
    assert today.quantity == 10
    assert account.broker.funds(deadline=account.deadline()).utilised > 0


@EVERYWHERE
@pytest.mark.parametrize("product", [Product.MIS, Product.NRML])
@pytest.mark.parametrize("order_type", list(OrderType))
def test_each_price_type_and_product_arrives_as_asked(
    connect: Connect, venue: str, product: Product, order_type: OrderType
) -> None:
    account = connect(venue)
    future = _future(account)
    last = account.price(future)
    order = OrderRequest(
        future,
        Side.SELL,
        order_type,
        product,
        _lot(account, future),
        price=Decimal(int(last * Decimal("0.97"))),
        trigger_price=Decimal(int(last * Decimal("0.98"))),
    )
    account.place(order, "TYPE-1")
    found = account.settled("TYPE-1", "New", "Filled", "PartiallyFilled")
    assert (found.order_type, found.product, found.side) == (order_type, product, Side.SELL)
    if order_type.needs_trigger:
        assert found.state is OrderState.TRIGGER_PENDING
        assert found.trigger_price == order.trigger_price
    assert found.price == (order.price if order_type.needs_price else 0)


def _future(account: Account) -> InstrumentRef:
    return _instrument(account).ref


def _lot(account: Account, ref: InstrumentRef) -> int:
    return _instrument(account).lot_size


def _instrument(account: Account) -> Instrument:
    return next(
        row
        for row in account.broker.instruments([Exchange.NFO])
        if isinstance(row, Instrument) and row.kind is InstrumentKind.FUTURE and row.root == "NIFTY"
    )


def test_a_rejection_keeps_the_words(connect: Connect) -> None:
    account = connect("b")
    huge = OrderRequest(RELIANCE, Side.BUY, OrderType.MARKET, Product.CNC, 900_000_000)
    account.place(huge, "HUGE-1")
    order = account.settled("HUGE-1", "Rejected")
    assert order.state is OrderState.REJECTED
    assert order.reason
    assert order.pending_quantity == 0


def test_a_refusal_is_told_in_the_venue_s_words(connect: Connect) -> None:
    account = connect("b")
    future = _future(account)
    odd = OrderRequest(future, Side.BUY, OrderType.MARKET, Product.NRML, 1)
    with pytest.raises(errors.Refused, match="multiple of lot size"):
        account.place(odd, "ODD-1")
    assert account.find("ODD-1") is None


def test_an_order_that_is_not_there(connect: Connect) -> None:
    account = connect("b")
    with pytest.raises(errors.NotFound):
        account.cancel("999")
    with pytest.raises(errors.NotFound):
        account.broker.order_history("999", deadline=account.deadline())


def test_an_order_that_is_over_can_t_be_cancelled(connect: Connect) -> None:
    account = connect("b")
    order_id = account.place(
        OrderRequest(RELIANCE, Side.BUY, OrderType.MARKET, Product.CNC, 1), "DONE-1"
    )
    account.settled("DONE-1", "Filled")
    with pytest.raises(errors.Refused):
        account.cancel(order_id)


@pytest.mark.parametrize("venue", ["a", "b", "c"])
def test_a_normal_dealer_trades_for_the_client_that_is_set(
    connect: Connect, venue: str, sim: ThreadSimulator
) -> None:
    letter = venue.upper()
    second = f"SIM{letter}CLI2"
    account = connect(venue, "normal1", account_type="NORMAL", client_id=second)
    account.place(account.limit(), "NORMAL-1")
    placed = account.settled("NORMAL-1", "New")
    assert placed.client == second
    (recorded,) = sim.orders(account.profile, "NORMAL-1")
    assert recorded["client"] == second
    assert [o.tag for o in account.broker.orders(deadline=account.deadline())] == ["NORMAL-1"]
    other = connect(venue, "normal1", account_type="NORMAL", client_id=f"SIM{letter}CLI1")
    assert other.broker.orders(deadline=other.deadline()) == []


def test_a_normal_dealer_must_name_one_of_its_clients(connect: Connect) -> None:
    for client in ("", "SIMBPRO1", "NOBODY"):
        account = connect("b", "normal1", login=False, account_type="NORMAL", client_id=client)
        with pytest.raises(errors.LoginFailed, match="SIMBCLI1, SIMBCLI2"):
            account.connect()


def test_a_wrong_client_on_c_is_a_silent_drop_that_find_reveals(connect: Connect) -> None:
    account = connect("c", options={"order_client_id": "userID"})
    assert account.place(account.limit(), "LOST-1")
    assert account.find("LOST-1") is None


def test_accounts_never_see_each_other(connect: Connect, sim: ThreadSimulator) -> None:
    b, c = connect("b"), connect("c")
    twin = connect("b", "pro2")
    b.place(b.limit(), "B-1")
    c.place(c.limit(), "C-1")
    b.settled("B-1", "New")
    c.settled("C-1", "New")
    foreign = {"segment": "NSECM", "token": 2885, "client": "STRANGER", "tag": "X-1"}
    for profile in ("jainam-b", "jainam-c"):
        sim.control("order", {"profile": profile, **foreign})
    tags = {
        name: [o.tag for o in account.broker.orders(deadline=account.deadline())]
        for name, account in (("b", b), ("c", c), ("twin", twin))
    }
    assert tags == {"b": ["B-1"], "c": ["C-1"], "twin": []}


def test_holdings(connect: Connect) -> None:
    account = connect("b")
    held = account.broker.holdings(deadline=account.deadline())
    assert [holding.isin for holding in held][:1] == ["INE002A01018"]
    assert held[0].instruments[0] == RELIANCE


def test_a_session_that_another_login_displaced(connect: Connect) -> None:
    first = connect("b")
    second = connect("b")
    with pytest.raises(errors.SessionExpired):
        first.broker.orders(deadline=first.deadline())
    assert second.broker.orders(deadline=second.deadline()) == []


def test_a_logout_ends_the_session_and_may_be_repeated(connect: Connect) -> None:
    account = connect("b")
    session = account.broker.session
    assert session is not None
    account.broker.logout(session)
    with pytest.raises(errors.SessionExpired):
        account.broker.funds(deadline=account.deadline())
    account.broker.logout(session)


def test_published_limits_are_kept(connect: Connect, sim: ThreadSimulator) -> None:
    sim.control("limits", {"mode": "published"})
    account = connect("b", published_limits=True, orders_per_second=10)
    started = time.monotonic()
    for number in range(15):
        account.place(account.limit(price=Decimal(1200)), f"PACE-{number}")
        account.broker.orders(deadline=account.deadline())
    assert time.monotonic() - started > 1.5
    assert not sim.control("limits", None, profile="jainam-b")


def test_a_slow_book_is_read_within_its_deadline(connect: Connect, sim: ThreadSimulator) -> None:
    account = connect("b")
    sim.faults({"route": "GET /orders/dealerorderbook", "fault": "slow", "seconds": 5})
    started = time.monotonic()
    with pytest.raises(errors.OutcomeUnknown):
        account.broker.orders(deadline=account.deadline(0.5))
    assert time.monotonic() - started < 2


def test_reads_outlive_a_blip(connect: Connect, sim: ThreadSimulator) -> None:
    account = connect("b")
    sim.faults({"route": "GET /orders/dealerorderbook", "fault": "error_502_html", "count": 2})
    assert account.broker.orders(deadline=account.deadline()) == []
    sim.faults({"route": "GET /user/balance", "fault": "close_before_accept", "count": 1})
    assert account.broker.funds(deadline=account.deadline()).available > 0


def test_the_observer_hears_of_every_call(connect: Connect) -> None:
    account = connect("b")
    account.broker.funds(deadline=account.deadline())
    wait_until(lambda: ("funds", "ok") in account.observer.calls)
    assert ("login", "ok") in account.observer.calls
