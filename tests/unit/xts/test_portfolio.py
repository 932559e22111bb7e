"""Positions, holdings and limits off the wire (XTS reference §7.7-§7.9)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from broker.errors import ProtocolError
from broker.models import Exchange, Funds, Holding, InstrumentRef, Position, Product
from broker.xts import portfolio
from broker.xts.profile import INDEX_SEGMENTS, usual_segments
from broker.xts.segments import Segments
from tests.support.xts import POSITION_ROW

SEGMENTS = Segments(usual_segments(), INDEX_SEGMENTS)


def decode(**changes: Any) -> Position:
    row = {name: value for name, value in {**POSITION_ROW, **changes}.items() if value is not ...}
    return portfolio.position_from_row(row, SEGMENTS, lambda what, detail: None)


def test_the_reference_s_position_row() -> None:
    assert decode() == Position(
        instrument=InstrumentRef(Exchange.NFO, "41000"),
        broker_symbol="NIFTY 25AUG2026 CE 25000",
        product=Product.NRML,
        quantity=130,
        buy_quantity=130,
        sell_quantity=0,
        buy_average=Decimal("112.45"),
        sell_average=Decimal("0.00"),
        multiplier=Decimal(1),
        realised=None,
        unrealised=None,
        client="*****",
    )


def test_loose_numbers() -> None:
    found = decode(
        Quantity="-1,300",
        OpenSellQuantity="1,300",
        SellAveragePrice="2,853.50",
        BuyAveragePrice="NaN",
        OpenBuyQuantity="",
        Multiplier=None,
    )
    assert (found.quantity, found.sell_quantity, found.buy_quantity) == (-1300, 1300, 0)
    assert found.sell_average == found.average_price == Decimal("2853.50")
    assert (found.buy_average, found.multiplier) == (0, 1)


@pytest.mark.parametrize("value", ["", "NaN", None, ..., "many", "1.5"])
def test_an_unreadable_quantity_is_never_flat(value: object) -> None:
    with pytest.raises(ProtocolError, match="Quantity"):
        decode(Quantity=value)


def test_the_event_s_column_names_are_understood_too() -> None:
    found = decode(
        Quantity=...,
        NetPosition=5,
        OpenBuyQuantity=...,
        LongPosition=5,
        ExchangeInstrumentId=...,
        ExchangeInstrumentID="41000",
    )
    assert (found.quantity, found.buy_quantity) == (5, 5)


def test_an_average_that_is_missing_is_the_traded_amount_over_the_quantity() -> None:
    assert decode(BuyAveragePrice="0.00").buy_average == Decimal("112.45")
    assert decode(BuyAveragePrice=..., ActualBuyAveragePrice="110").buy_average == 110
    flat = decode(Quantity="0")
    assert flat.average_price == 0


def test_the_venue_s_own_p_and_l() -> None:
    computed = decode(RealizedMTM="12.50", UnrealizedMTM="-3.00", MTM="9.50")
    assert (computed.realised, computed.unrealised) == (Decimal("12.50"), Decimal("-3.00"))
    untraded = decode(OpenBuyQuantity="0", OpenSellQuantity="0")
    assert (untraded.realised, untraded.unrealised) == (0, 0)


def test_an_unknown_instrument_or_price_raises() -> None:
    with pytest.raises(ProtocolError, match="ExchangeInstrumentId"):
        decode(ExchangeInstrumentId="x")
    with pytest.raises(ProtocolError, match="BuyAveragePrice"):
        decode(BuyAveragePrice="dear")


def test_both_shapes_of_the_list() -> None:
    assert portfolio.position_rows({"positionList": [POSITION_ROW]}) == [POSITION_ROW]
    assert portfolio.position_rows([POSITION_ROW]) == [POSITION_ROW]
    assert portfolio.position_rows({"positionList": []}) == []


@pytest.mark.parametrize("result", [{}, None, "x", {"positionList": None}, ["x"], {"other": []}])
def test_other_shapes_are_no_empty_list(result: object) -> None:
    with pytest.raises(ProtocolError):
        portfolio.position_rows(result)


# Holdings --------------------------------------------------------------------------------------

ROW = {
    "ISIN": "INE002A01018",
    "ClientId": "CLIENT1",
    "ExchangeNSEInstrumentId": 2885,
    "ExchangeBSEInstrumentId": 500325,
    "HoldingQuantity": 120,
    "UsedQuantity": 20,
    "BuyAvgPrice": "1,190.40",
}
HOLDING = Holding(
    isin="INE002A01018",
    instruments=(InstrumentRef(Exchange.NSE, "2885"), InstrumentRef(Exchange.BSE, "500325")),
    quantity=120,
    used_quantity=20,
    average_price=Decimal("1190.40"),
    client="CLIENT1",
)


def test_both_shapes_of_holdings() -> None:
    live = {"RMSHoldings": {"Holdings": {"INE002A01018": ROW}}}
    listed = {
        "ClientId": "CLIENT1",
        "RMSHoldingList": [{"Holdings": {"INE002A01018": ROW}}],
        "CollateralHoldingList": [
            {
                "Holdings": {
                    "INE002A01018": {**ROW, "HoldingQuantity": 1},
                    "INE9": {**ROW, "ISIN": ""},
                }
            }
        ],
    }
    assert portfolio.holdings_from(live) == [HOLDING]
    found = portfolio.holdings_from(listed)
    assert found[0] == HOLDING, "the same ISIN as collateral is not counted twice"
    assert [holding.isin for holding in found] == ["INE002A01018", "INE9"]
    assert HOLDING.sellable == 100


def test_no_holdings_in_both_shapes() -> None:
    assert portfolio.holdings_from({"RMSHoldings": {"Holdings": {}}}) == []
    assert portfolio.holdings_from({"RMSHoldings": {"Holdings": []}}) == []
    assert portfolio.holdings_from({"RMSHoldingList": [], "CollateralHoldingList": []}) == []


def test_an_instrument_id_of_none_is_left_out() -> None:
    row = {**ROW, "ExchangeNSEInstrumentId": -1, "ExchangeBSEInstrumentId": ""}
    (found,) = portfolio.holdings_from({"RMSHoldings": {"Holdings": {"X": row}}})
    assert found.instruments == ()


@pytest.mark.parametrize(
    "result",
    [
        [],
        {},
        "x",
        {"RMSHoldings": {"Holdings": "x"}},
        {"RMSHoldings": {"Holdings": {"X": 1}}},
        {"RMSHoldings": {"Holdings": {"X": {**ROW, "HoldingQuantity": "NaN"}}}},
    ],
)
def test_unreadable_holdings_raise(result: object) -> None:
    with pytest.raises(ProtocolError):
        portfolio.holdings_from(result)


# Limits ----------------------------------------------------------------------------------------


def balance(**limits: object) -> dict[str, object]:
    other = {"limitHeader": "CASH|NSE|MTF", "limitObject": {"RMSSubLimits": {"cashAvailable": "0"}}}
    whole = {
        "limitHeader": "ALL|ALL|ALL",
        "limitObject": {
            "RMSSubLimits": {
                "cashAvailable": "1000000",
                "collateral": 0,
                "marginUtilized": "98000",
                "netMarginAvailable": "902000",
                "MTM": "0",
                "UnrealizedMTM": "-5.50",
                "RealizedMTM": "NaN",
                **limits,
            }
        },
    }
    return {"BalanceList": [other, whole]}


def test_limits_come_from_the_entry_for_everything() -> None:
    assert portfolio.funds_from(balance()) == Funds(
        available=Decimal(902000),
        collateral=Decimal(0),
        utilised=Decimal(98000),
        realised=Decimal(0),
        unrealised=Decimal("-5.50"),
    )


@pytest.mark.parametrize("value", ["NaN", "", None])
def test_cash_stands_in_for_a_missing_margin(value: object) -> None:
    assert portfolio.funds_from(balance(netMarginAvailable=value)).available == 1000000


@pytest.mark.parametrize(
    "result",
    [
        {},
        [],
        {"BalanceList": []},
        {"BalanceList": [{"limitHeader": "CASH|NSE|MTF", "limitObject": {"RMSSubLimits": {}}}]},
        {"BalanceList": [{"limitHeader": "ALL|ALL|ALL", "limitObject": None}]},
        {"BalanceList": [{"limitHeader": 5}]},
        balance(netMarginAvailable="NaN", cashAvailable=""),
        balance(marginUtilized="a lot"),
    ],
)
def test_unreadable_limits_raise(result: object) -> None:
    with pytest.raises(ProtocolError):
        portfolio.funds_from(result)
