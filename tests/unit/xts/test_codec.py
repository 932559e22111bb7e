"""Order requests onto the wire, order and trade rows off it (XTS reference §5, §7.2)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import InvalidOrder, ProtocolError
from broker.models import (
    Exchange,
    InstrumentRef,
    ModifyRequest,
    Order,
    OrderRequest,
    OrderState,
    OrderType,
    Product,
    Side,
    Trade,
    Validity,
)
from broker.payload import encode
from broker.xts import codec, requests, wire
from broker.xts.profile import INDEX_SEGMENTS, usual_segments
from broker.xts.segments import Segments
from broker.xts.values import IST
from tests.support.xts import ORDER_ROW, TRADE_ROW

SEGMENTS = Segments(usual_segments(), INDEX_SEGMENTS)
NIFTY_CE = InstrumentRef(Exchange.NFO, "41000")
ORDER = OrderRequest(NIFTY_CE, Side.BUY, OrderType.LIMIT, Product.NRML, 130, price=Decimal("112.5"))


def body(order: OrderRequest = ORDER, tag: str = "S1-000042", client: str = "*****") -> Any:
    return requests.place_body(order, tag, SEGMENTS, client)


def decode(anomalies: list[str] | None = None, /, **changes: Any) -> Order:
    told = anomalies if anomalies is not None else []
    row = {name: value for name, value in {**ORDER_ROW, **changes}.items() if value is not ...}
    return codec.order_from_row(row, SEGMENTS, lambda what, detail: told.append(what))


def decode_trade(**changes: Any) -> Trade:
    row = {name: value for name, value in {**TRADE_ROW, **changes}.items() if value is not ...}
    return codec.trade_from_row(row, SEGMENTS, lambda what, detail: None)


# Place -----------------------------------------------------------------------------------------


def test_the_reference_s_place_body() -> None:
    assert body() == {
        "exchangeSegment": "NSEFO",
        "exchangeInstrumentID": 41000,
        "productType": "NRML",
        "orderType": "LIMIT",
        "orderSide": "BUY",
        "timeInForce": "DAY",
        "disclosedQuantity": 0,
        "orderQuantity": 130,
        "limitPrice": 112.5,
        "stopPrice": 0,
        "orderUniqueIdentifier": "S1-000042",
        "clientID": "*****",
    }


def test_an_investor_sends_no_client_id() -> None:
    assert "clientID" not in body(client="")


@pytest.mark.parametrize(
    ("order_type", "word", "limit", "stop"),
    [
        (OrderType.MARKET, "MARKET", 0, 0),
        (OrderType.LIMIT, "LIMIT", 100.5, 0),
        (OrderType.STOP_LIMIT, "STOPLIMIT", 100.5, 99),
        (OrderType.STOP_MARKET, "STOPMARKET", 0, 99),
    ],
)
def test_each_price_type_has_its_word_and_its_prices(
    order_type: OrderType, word: str, limit: float, stop: float
) -> None:
    order = replace(ORDER, order_type=order_type, price=Decimal("100.5"), trigger_price=Decimal(99))
    found = body(order)
    assert (found["orderType"], found["limitPrice"], found["stopPrice"]) == (word, limit, stop)


@pytest.mark.parametrize("product", list(Product))
@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("validity", list(Validity))
def test_words_of_products_sides_and_validities(
    product: Product, side: Side, validity: Validity
) -> None:
    found = body(replace(ORDER, product=product, side=side, validity=validity))
    assert found["productType"] == product.value
    assert found["orderSide"] == side.value
    assert found["timeInForce"] == validity.value


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"price": Decimal(0)}, "price"),
        ({"price": Decimal("-1")}, "price"),
        ({"price": Decimal("NaN")}, "price"),
        ({"price": Decimal("Infinity")}, "price"),
        ({"price": Decimal("1.00001")}, "price"),
        ({"price": Decimal(10) ** 12}, "price"),
        ({"order_type": OrderType.STOP_LIMIT}, "trigger_price"),
        ({"order_type": OrderType.STOP_MARKET}, "trigger_price"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -5}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": 10**12}, "quantity"),
        ({"disclosed_quantity": -1}, "disclosed_quantity"),
        ({"instrument": InstrumentRef(Exchange.NSE_INDEX, "26000")}, "exchange"),
        ({"instrument": InstrumentRef(Exchange.NCDEX, "1")}, "exchange"),
        ({"instrument": InstrumentRef(Exchange.NSE, "")}, "symbol"),
        ({"instrument": InstrumentRef(Exchange.NSE, "12a")}, "symbol"),
        ({"instrument": InstrumentRef(Exchange.NSE, "MSECM:12")}, "symbol"),
        ({"instrument": InstrumentRef(Exchange.NSE, "9" * 20)}, "symbol"),
    ],
)
def test_what_must_not_reach_a_venue(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidOrder) as caught:
        body(replace(ORDER, **changes))
    assert caught.value.field == field


@pytest.mark.parametrize("tag", ["", "x" * 21, "a b", "a&b", "é", "a_b"])
def test_tags_that_the_wire_can_t_carry(tag: str) -> None:
    with pytest.raises(InvalidOrder):
        body(tag=tag)


@given(st.decimals(0, 10**9, places=4))
def test_every_price_is_sent_with_exactly_its_digits(price: Decimal) -> None:
    sent = encode({"p": requests.wire_price(price, "price")})
    assert json.loads(sent, parse_float=Decimal, parse_int=Decimal)["p"] == price


# Modify and cancel -----------------------------------------------------------------------------

CHANGE = ModifyRequest(
    "1210000042", OrderType.STOP_LIMIT, Product.MIS, 65, Decimal("10.05"), Decimal(11), 5
)


def test_modify_sends_every_term() -> None:
    assert requests.modify_body(replace(CHANGE, tag="T1"), "CLIENT1") == {
        "appOrderID": 1210000042,
        "modifiedProductType": "MIS",
        "modifiedOrderType": "STOPLIMIT",
        "modifiedOrderQuantity": 65,
        "modifiedDisclosedQuantity": 5,
        "modifiedLimitPrice": 10.05,
        "modifiedStopPrice": 11,
        "modifiedTimeInForce": "DAY",
        "orderUniqueIdentifier": "T1",
        "clientID": "CLIENT1",
    }
    bare = requests.modify_body(CHANGE, "")
    assert "clientID" not in bare
    assert "orderUniqueIdentifier" not in bare


def test_cancel_goes_by_parameters() -> None:
    assert requests.cancel_params("12", "*****") == {"appOrderID": "12", "clientID": "*****"}
    assert requests.cancel_params("12", "") == {"appOrderID": "12"}


@pytest.mark.parametrize("order_id", ["1&clientID=OTHER", "", "../1", "1 2", "abc", "1" * 30])
def test_an_order_id_is_digits_or_nothing_is_sent(order_id: str) -> None:
    with pytest.raises(InvalidOrder):
        requests.cancel_params(order_id, "")
    with pytest.raises(InvalidOrder):
        requests.modify_body(replace(CHANGE, order_id=order_id), "")


# Order rows ------------------------------------------------------------------------------------


def test_the_reference_s_order_row() -> None:
    assert decode() == Order(
        order_id="1210000042",
        tag="S1-000042",
        instrument=NIFTY_CE,
        broker_symbol="NIFTY 25AUG2026 CE 25000",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        product=Product.NRML,
        validity=Validity.DAY,
        quantity=130,
        filled_quantity=0,
        pending_quantity=130,
        price=Decimal("112.5"),
        trigger_price=Decimal(0),
        average_price=Decimal(0),
        state=OrderState.OPEN,
        state_text="New",
        reason="",
        exchange_order_id="1300000012345678",
        client="Pro",
        login="DEALER1",
        placed_at=datetime(2026, 8, 3, 10, 15, tzinfo=IST),
        updated_at=datetime(2026, 8, 3, 10, 15, 1, tzinfo=IST),
        disclosed_quantity=0,
    )


def test_a_row_all_in_text_is_the_same_row() -> None:
    loose = {
        name: str(value)
        for name, value in ORDER_ROW.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    assert decode(**loose) == decode()


@pytest.mark.parametrize(
    ("word", "state", "still_open"),
    [
        ("PendingNew", OrderState.PENDING, True),
        ("New", OrderState.OPEN, True),
        ("PartiallyFilled", OrderState.OPEN, True),
        ("Filled", OrderState.FILLED, False),
        ("PendingReplace", OrderState.PENDING, True),
        ("Replaced", OrderState.OPEN, True),
        ("PendingCancel", OrderState.PENDING, True),
        ("Cancelled", OrderState.CANCELLED, False),
        ("Rejected", OrderState.REJECTED, False),
    ],
)
def test_every_order_state(word: str, state: OrderState, still_open: bool) -> None:
    told: list[str] = []
    order = decode(told, OrderStatus=word)
    assert order.state is state
    assert order.state.is_open is still_open
    assert order.pending_quantity == (130 if still_open else 0)
    assert told == []


@pytest.mark.parametrize("word", ["Pending New", "open", "FILLED", "", None, "Expired"])
def test_a_state_never_seen_is_loud_and_stays_open(word: object) -> None:
    told: list[str] = []
    order = decode(told, OrderStatus=word)
    assert order.state is OrderState.UNRECOGNISED
    assert order.state.is_open
    assert told == ["unknown_order_state"]


@pytest.mark.parametrize("kind", ["StopLimit", "StopMarket", "STOPLIMIT"])
@pytest.mark.parametrize(
    ("word", "filled", "state"),
    [
        ("New", 0, OrderState.TRIGGER_PENDING),
        ("Replaced", 0, OrderState.TRIGGER_PENDING),
        ("PartiallyFilled", 65, OrderState.OPEN),
        ("Replaced", 65, OrderState.OPEN),
        ("PendingNew", 0, OrderState.PENDING),
        ("Cancelled", 0, OrderState.CANCELLED),
    ],
)
def test_a_stop_order_waits_for_its_trigger(
    kind: str, word: str, filled: int, state: OrderState
) -> None:
    order = decode(OrderType=kind, OrderStatus=word, CumulativeQuantity=filled, OrderStopPrice=100)
    assert order.state is state


def test_a_partial_fill_then_cancel_keeps_its_fill() -> None:
    order = decode(
        OrderStatus="Cancelled",
        CumulativeQuantity=65,
        LeavesQuantity=65,
        OrderAverageTradedPrice="2,853.50",
        CancelRejectReason="Cancelled by exchange: self trade prevention",
    )
    assert order.state is OrderState.CANCELLED
    assert (order.filled_quantity, order.pending_quantity) == (65, 0)
    assert order.average_price == Decimal("2853.50")
    assert "self trade" in order.reason


def test_the_average_s_twin_column_is_a_fallback() -> None:
    order = decode(
        CumulativeQuantity=65, OrderAverageTradedPrice="", OrderAverageTradedPriceAPI=112.45
    )
    assert order.average_price == Decimal("112.45")
    assert decode(OrderAverageTradedPrice="NaN").average_price == 0


def test_missing_leaves_are_worked_out() -> None:
    assert decode(LeavesQuantity=..., CumulativeQuantity=30).pending_quantity == 100
    assert decode(LeavesQuantity="", CumulativeQuantity=30).pending_quantity == 100


@pytest.mark.parametrize(
    ("changes", "told", "attribute", "shown"),
    [
        ({"ProductType": "CO"}, [], "product", Product.MIS),
        ({"ProductType": "BO"}, [], "product", Product.MIS),
        ({"ProductType": "XYZ"}, ["unknown_product"], "product", Product.NRML),
        ({"ProductType": None}, ["unknown_product"], "product", Product.NRML),
        ({"OrderType": "OCO"}, ["unknown_order_type"], "order_type", OrderType.LIMIT),
        (
            {"OrderType": "OCO", "OrderPrice": 0},
            ["unknown_order_type"],
            "order_type",
            OrderType.MARKET,
        ),
        ({"TimeInForce": "GTC"}, [], "validity", Validity.DAY),
        ({"TimeInForce": "None"}, [], "validity", Validity.DAY),
        ({"TimeInForce": "FOK"}, ["unknown_validity"], "validity", Validity.DAY),
        ({"TimeInForce": "IOC"}, [], "validity", Validity.IOC),
        ({"OrderSide": "Sell"}, [], "side", Side.SELL),
        ({"OrderSide": 50}, [], "side", Side.SELL),
        ({"OrderSide": "buy"}, [], "side", Side.BUY),
    ],
)
def test_descriptions_are_tolerant_and_told(
    changes: dict[str, Any], told: list[str], attribute: str, shown: object
) -> None:
    found: list[str] = []
    assert getattr(decode(found, **changes), attribute) is shown
    assert found == told


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"AppOrderID": None}, "AppOrderID"),
        ({"AppOrderID": "1&2"}, "AppOrderID"),
        ({"ExchangeInstrumentID": ...}, "ExchangeInstrumentID"),
        ({"ExchangeInstrumentID": [1]}, "ExchangeInstrumentID"),
        ({"OrderSide": "HOLD"}, "OrderSide"),
        ({"OrderSide": ...}, "OrderSide"),
        ({"OrderQuantity": "NaN"}, "OrderQuantity"),
        ({"OrderQuantity": "many"}, "OrderQuantity"),
        ({"CumulativeQuantity": ...}, "CumulativeQuantity"),
        ({"OrderPrice": "dear"}, "OrderPrice"),
        ({"OrderStopPrice": {}}, "OrderStopPrice"),
        ({"OrderAverageTradedPrice": "x"}, "OrderAverageTradedPrice"),
        ({"LeavesQuantity": "x"}, "LeavesQuantity"),
        ({"OrderDisclosedQuantity": "x"}, "OrderDisclosedQuantity"),
        ({"OrderGeneratedDateTime": "soon"}, "OrderGeneratedDateTime"),
        ({"LastUpdateDateTime": "soon"}, "LastUpdateDateTime"),
        ({"CancelRejectReason": []}, "text columns"),
    ],
)
def test_a_row_is_never_lost_in_silence(changes: dict[str, Any], column: str) -> None:
    with pytest.raises(ProtocolError, match=column):
        decode(**changes)


def test_a_segment_that_is_not_ours_can_t_be_mistaken_for_one_that_is() -> None:
    order = decode(ExchangeSegment="MSECM", ExchangeInstrumentID=2885)
    assert order.instrument == InstrumentRef(Exchange.NSE, "MSECM:2885")
    with pytest.raises(InvalidOrder):
        body(replace(ORDER, instrument=order.instrument))


def test_the_other_spelling_of_the_instrument_column() -> None:
    order = decode(ExchangeInstrumentID=..., ExchangeInstrumentId="41000")
    assert order.instrument == NIFTY_CE


def test_a_full_cache_of_instruments_starts_again() -> None:
    segments = Segments(usual_segments(), INDEX_SEGMENTS)
    for token in range(65_540):
        segments.ref("NSECM", token)
    assert len(segments._refs) < 65_540
    assert segments.ref("NSECM", 7) == InstrumentRef(Exchange.NSE, "7")


def test_the_none_time_is_none() -> None:
    order = decode(OrderGeneratedDateTime="01-01-1980 00:00:00", LastUpdateDateTime="")
    assert order.placed_at is None
    assert order.updated_at == datetime(2026, 8, 3, 10, 15, tzinfo=IST), "ExchangeTransactTime"


def test_reports_are_ordered_by_serial_then_time() -> None:
    late = {**ORDER_ROW, "SequenceNumber": 9}
    odd = {**ORDER_ROW, "SequenceNumber": "x"}
    unnumbered = {"LastUpdateDateTime": "03-08-2026 10:15:09"}
    rows = sorted([late, ORDER_ROW, unnumbered, odd], key=codec.sequence_of)
    assert rows[-2:] == [ORDER_ROW, late]
    assert codec.sequence_of({}) == (0, "")


@given(
    quantity=st.integers(1, 10**6),
    price=st.decimals(0, 10**6, places=2),
    state=st.sampled_from(sorted(wire.STATES)),
    side=st.sampled_from(["BUY", "SELL"]),
    kind=st.sampled_from(["Market", "Limit", "StopLimit", "StopMarket"]),
    as_text=st.booleans(),
)
def test_what_a_row_says_is_what_the_order_says(
    quantity: int, price: Decimal, state: str, side: str, kind: str, as_text: bool
) -> None:
    order = decode(
        OrderQuantity=str(quantity) if as_text else quantity,
        OrderPrice=f"{price:,}" if as_text else float(price),
        OrderStatus=state,
        OrderSide=side,
        OrderType=kind,
    )
    assert (order.quantity, order.price, order.state_text) == (quantity, price, state)
    assert order.side.value == side


# Trades ----------------------------------------------------------------------------------------


def test_the_reference_s_trade_row() -> None:
    assert decode_trade() == Trade(
        trade_id="400123",
        order_id="1210000042",
        tag="S1-000042",
        instrument=NIFTY_CE,
        broker_symbol="NIFTY 25AUG2026 CE 25000",
        side=Side.BUY,
        product=Product.NRML,
        quantity=65,
        price=Decimal("112.45"),
        client="Pro",
        traded_at=datetime(2026, 8, 3, 10, 15, 2, tzinfo=IST),
    )


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"LastTradedQuantity": ...}, "LastTradedQuantity"),
        ({"LastTradedPrice": "NaN"}, "LastTradedPrice"),
        ({"LastTradedPrice": ...}, "LastTradedPrice"),
        ({"AppOrderID": ""}, "AppOrderID"),
        ({"OrderSide": "?"}, "OrderSide"),
    ],
)
def test_an_unreadable_trade_raises(changes: dict[str, Any], column: str) -> None:
    with pytest.raises(ProtocolError, match=column):
        decode_trade(**changes)


def test_a_trade_without_its_own_time_takes_the_exchange_s() -> None:
    trade = decode_trade(LastExecutionTransactTime=...)
    assert trade.traded_at == datetime(2026, 8, 3, 10, 15, tzinfo=IST)
