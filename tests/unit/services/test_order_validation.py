"""What never reaches a broker, and what each refusal says (field defects 9 and 10)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base import BrokerInfo, Capabilities
from broker.models import Exchange, OrderType, Product, Side
from services.errors import InvalidRequest
from services.order_models import OrderDraft
from services.order_validation import (
    MAX_QUANTITY,
    check_capabilities,
    check_instrument,
    check_terms,
    largest_order,
    quantity_step,
    to_request,
)
from tests.support.symbols import SYMBOLS, Row, ref_of
from tests.support.trading import draft

INFO = BrokerInfo("b", "B", (), quantity_units={Exchange.MCX: "lots"})
M, L, SL, SLM = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.STOP_MARKET


def row(symbol: str) -> Row:
    return next(item for item in SYMBOLS if item.symbol == symbol)


def refused(order: OrderDraft) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check_terms(order)
    return caught.value


@pytest.mark.parametrize(
    ("order_type", "price", "trigger", "field"),
    [
        (L, "0", "0", "price"),
        (SL, "0", "100", "price"),
        (SL, "100", "0", "trigger_price"),
        (SLM, "0", "0", "trigger_price"),
        (M, "100", "0", "price"),
        (SLM, "100", "100", "price"),
        (M, "0", "100", "trigger_price"),
        (L, "100", "100", "trigger_price"),
        (L, "-1", "0", "price"),
        (SL, "100", "-1", "trigger_price"),
        (L, "NaN", "0", "price"),
        (L, "Infinity", "0", "price"),
        (L, "100000001", "0", "price"),
    ],
)
def test_defect_09_prices_and_triggers_must_fit_the_order_type(
    order_type: OrderType, price: str, trigger: str, field: str
) -> None:
    error = refused(draft(order_type=order_type, price=price, trigger_price=trigger))
    assert list(error.errors) == [field]
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    ("side", "price", "trigger", "valid"),
    [
        (Side.BUY, "100", "99", True),
        (Side.BUY, "100", "100", True),
        (Side.BUY, "100", "101", False),
        (Side.SELL, "100", "101", True),
        (Side.SELL, "100", "100", True),
        (Side.SELL, "100", "99", False),
    ],
)
def test_a_stop_limit_triggers_before_its_limit(
    side: Side, price: str, trigger: str, valid: bool
) -> None:
    order = draft(side, order_type=SL, price=price, trigger_price=trigger)
    if valid:
        check_terms(order)
    else:
        assert "trigger_price" in refused(order).errors


@pytest.mark.parametrize(
    ("exchange", "product", "valid"),
    [
        ("NSE", Product.CNC, True), ("NSE", Product.MIS, True), ("NSE", Product.MTF, True),
        ("NSE", Product.NRML, False), ("NFO", Product.NRML, True), ("NFO", Product.MIS, True),
        ("NFO", Product.CNC, False), ("NFO", Product.MTF, False), ("MCX", Product.NRML, True),
    ],
)
def test_products_fit_the_exchange(exchange: str, product: Product, valid: bool) -> None:
    order = draft(exchange=exchange, product=product)
    if valid:
        check_terms(order)
    else:
        assert "product" in refused(order).errors


@pytest.mark.parametrize("quantity", [0, -1, MAX_QUANTITY + 1])
def test_quantities_are_positive_and_of_this_world(quantity: int) -> None:
    assert "quantity" in refused(draft(quantity=quantity)).errors


def test_a_disclosed_quantity_is_a_part_of_the_quantity() -> None:
    assert "disclosed_quantity" in refused(draft(disclosed_quantity=11)).errors
    assert "disclosed_quantity" in refused(draft(disclosed_quantity=-1)).errors
    check_terms(draft(disclosed_quantity=10))


def test_an_index_is_not_traded_and_an_exchange_is_known() -> None:
    assert "an index" in refused(draft(symbol="NIFTY", exchange="NSE_INDEX")).message
    assert "exchange" in refused(draft(exchange="NASDAQ")).errors


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (draft(exchange="BSE"), "exchange"),
        (draft(product=Product.CNC), "product"),
        (draft(order_type=SLM, trigger_price="1"), "order_type"),
    ],
)
def test_what_the_broker_does_not_offer_is_refused(order: OrderDraft, field: str) -> None:
    offered = Capabilities(
        frozenset({Exchange.NSE}), frozenset({Product.MIS}), frozenset({M, L, SL})
    )
    with pytest.raises(InvalidRequest) as caught:
        check_capabilities(order, offered, "Jainam Prop")
    assert list(caught.value.errors) == [field]
    check_capabilities(draft(), offered, "Jainam Prop")


@pytest.mark.parametrize(
    ("symbol", "quantity", "words"),
    [
        ("NIFTY26NOVFUT", 64, "multiples of lot size 65"),
        ("NIFTY26NOVFUT", 65 * 28, "at most 1755"),
        ("BANKNIFTY26NOVFUT", 90, "at most 60"),
        ("SBIN", 101, "at most 100"),
        ("CRUDEOIL26NOVFUT", 11, "at most 10"),
        ("NIFTYSPREAD", 65, "cannot be traded here"),
    ],
)
def test_quantities_fit_the_instrument(symbol: str, quantity: int, words: str) -> None:
    record = row(symbol)
    order = draft(quantity=quantity, symbol=symbol, exchange=record.exchange)
    with pytest.raises(InvalidRequest, match=words):
        check_instrument(order, record, INFO)


def test_a_venue_that_counts_lots_takes_any_number_of_them() -> None:
    record = row("CRUDEOIL26NOVFUT")
    assert quantity_step(record, INFO) == 1
    order = draft(quantity=7, symbol=record.symbol, exchange="MCX")
    assert check_instrument(order, record, INFO) == ()


def test_the_largest_order_is_a_whole_number_of_lots() -> None:
    assert largest_order(row("NIFTY26NOVFUT"), INFO) == 1755
    assert largest_order(row("CRUDEOIL26NOVFUT"), INFO) == 10
    assert largest_order(row("INFY"), INFO) is None


@pytest.mark.parametrize(("price", "valid"), [("100.05", True), ("100.04", False), ("0.05", True)])
def test_prices_are_multiples_of_the_tick(price: str, valid: bool) -> None:
    order = draft(order_type=L, price=price)
    if valid:
        check_instrument(order, row("INFY"), INFO)
    else:
        with pytest.raises(InvalidRequest, match=r"tick size 0\.05"):
            check_instrument(order, row("INFY"), INFO)


def test_triggers_and_disclosed_quantities_are_checked_too() -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_instrument(draft(order_type=SLM, trigger_price="100.01"), row("INFY"), INFO)
    assert list(caught.value.errors) == ["trigger_price"]
    order = draft(
        quantity=130, symbol="NIFTY26NOVFUT", exchange="NFO", disclosed_quantity=10
    )
    with pytest.raises(InvalidRequest) as caught:
        check_instrument(order, row("NIFTY26NOVFUT"), INFO)
    assert list(caught.value.errors) == ["disclosed_quantity"]


@given(
    st.sampled_from(list(OrderType)), st.sampled_from(list(Side)),
    st.decimals(allow_nan=True, allow_infinity=True), st.decimals(allow_nan=True),
    st.integers(), st.integers(),
)
def test_whatever_passes_is_a_complete_order(
    order_type: OrderType, side: Side, price: Decimal, trigger: Decimal, quantity: int,
    disclosed: int,
) -> None:
    order = OrderDraft(
        "INFY", "NSE", side, order_type, Product.MIS, quantity, price, trigger, disclosed
    )
    try:
        check_terms(order)
    except InvalidRequest as error:
        assert error.errors
        return
    sent = to_request(order, ref_of("INFY"))
    assert sent.quantity > 0
    assert (sent.price > 0) == order_type.needs_price
    assert (sent.trigger_price > 0) == order_type.needs_trigger
