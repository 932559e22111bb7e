"""Positions, holdings and limits: answers of XTS to models (XTS reference §7.7-§7.9).

A quantity that can't be read raises: a position is never taken for flat because it was unreadable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from broker.errors import ProtocolError
from broker.models import Exchange, Funds, Holding, InstrumentRef, Position
from broker.xts import wire
from broker.xts.codec import Anomaly, product_of
from broker.xts.segments import Segments
from broker.xts.values import Unreadable, money, number, text, whole, whole_or

ALL_LIMITS = "ALL|ALL|ALL"  # §7.9: the entry that holds the whole account's limits

_HOLDING_IDS = (
    ("ExchangeNSEInstrumentId", Exchange.NSE),
    ("ExchangeBSEInstrumentId", Exchange.BSE),
)


def position_rows(result: object) -> list[wire.Row]:
    """The rows of a positions answer, in `positionList` or bare (§16 Q15)."""
    if isinstance(result, dict) and "positionList" in result:
        result = result["positionList"]
    return rows_of(result, "positions")


def rows_of(result: object, what: str) -> list[wire.Row]:
    """A list of objects; `ProtocolError` for anything else."""
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
        raise ProtocolError(f"The broker's {what} are not a list of rows.")
    return result


def position_from_row(row: wire.Row, segments: Segments, anomaly: Anomaly) -> Position:
    """One position, day or net (§7.7). `ProtocolError` names the column that can't be read."""
    get = row.get
    column = "ExchangeInstrumentId"
    name = ""
    try:
        name = text(get("TradingSymbol"))
        instrument = segments.ref(get("ExchangeSegment"), wire.first(row, wire.INSTRUMENT_ID))
        column = "Quantity"
        quantity = whole(wire.first(row, wire.NET_QUANTITY))
        column = "OpenBuyQuantity"
        bought = whole_or(wire.first(row, wire.BUY_QUANTITY), 0)
        column = "OpenSellQuantity"
        sold = whole_or(wire.first(row, wire.SELL_QUANTITY), 0)
        column = "BuyAveragePrice"
        buy_average = _average(row, wire.BUY_AVERAGE, "SumOfTradedQuantityAndPriceBuy", bought)
        column = "SellAveragePrice"
        sell_average = _average(row, wire.SELL_AVERAGE, "SumOfTradedQuantityAndPriceSell", sold)
        column = "Multiplier"
        multiplier = money(get(column)) or Decimal(1)
        column = "RealizedMTM"
        realised, unrealised = _venue_pnl(row, traded=bool(bought or sold))
        return Position(
            instrument=instrument,
            broker_symbol=name,
            product=product_of(get("ProductType"), anomaly),
            quantity=quantity,
            buy_quantity=bought,
            sell_quantity=sold,
            buy_average=buy_average,
            sell_average=sell_average,
            multiplier=multiplier,
            realised=realised,
            unrealised=unrealised,
            client=text(get("AccountID")),
        )
    except Unreadable as exc:
        raise ProtocolError(f"Position {name!r} can't be read: {column}: {exc}.") from None


def _average(row: wire.Row, names: tuple[str, ...], amount: str, quantity: int) -> Decimal:
    """The average price that the row states, else the traded amount over the quantity (§7.7)."""
    stated = money(wire.first(row, names))
    if stated or not quantity:
        return stated
    return money(row.get(amount)) / quantity


def _venue_pnl(row: wire.Row, *, traded: bool) -> tuple[Decimal | None, Decimal | None]:
    """The venue's own realised and unrealised figures; None when it does not compute them.

    Most servers fill these columns with zeros whatever was traded (§7.7): all zero after trading
    counts as not computed.
    """
    realised = number(row.get("RealizedMTM"))
    unrealised = number(row.get("UnrealizedMTM"))
    if traded and not realised and not unrealised and not number(row.get("MTM")):
        return None, None
    return realised, unrealised


def holdings_from(result: object) -> list[Holding]:
    """Every holding, from either shape of the answer (§7.8), one an ISIN."""
    found: dict[str, Holding] = {}
    for isin, row in _holding_rows(result):
        try:
            holding = _holding(isin, row)
        except Unreadable as exc:
            raise ProtocolError(f"The holding {isin!r} can't be read: {exc}.") from None
        found.setdefault(holding.isin, holding)
    return list(found.values())


def _holding_rows(result: object) -> Iterator[tuple[str, wire.Row]]:
    if not isinstance(result, dict):
        raise ProtocolError("The broker's holdings are not an object.")
    blocks = [result.get("RMSHoldings")]
    for key in ("RMSHoldingList", "CollateralHoldingList"):
        listed = result.get(key)
        if isinstance(listed, list):
            blocks.extend(listed)
    seen = False
    for block in blocks:
        if block is None:
            continue
        seen = True
        rows = block.get("Holdings") if isinstance(block, dict) else None
        if rows is None or rows == []:
            continue
        if not isinstance(rows, Mapping):
            raise ProtocolError("The broker's holdings are not keyed by ISIN.")
        for isin, row in rows.items():
            if not isinstance(row, dict):
                raise ProtocolError(f"The holding {isin!r} is not an object.")
            yield isin, row
    if not seen and not any(key in result for key in ("RMSHoldingList", "CollateralHoldingList")):
        raise ProtocolError("The broker's holdings have a shape never seen before.")


def _holding(isin: str, row: wire.Row) -> Holding:
    instruments = []
    for column, exchange in _HOLDING_IDS:
        token = whole_or(row.get(column), 0)
        if token > 0:
            instruments.append(InstrumentRef(exchange, str(token)))
    return Holding(
        isin=text(row.get("ISIN")) or isin,
        instruments=tuple(instruments),
        quantity=whole(row.get("HoldingQuantity")),
        used_quantity=whole_or(row.get("UsedQuantity"), 0),
        average_price=money(row.get("BuyAvgPrice")),
        client=text(row.get("ClientId")),
    )


def funds_from(result: object) -> Funds:
    """The account's limits in rupees, from the entry for all segments together (§7.9)."""
    entries = result.get("BalanceList") if isinstance(result, dict) else None
    limits = _all_limits(rows_of(entries, "limits"))
    try:
        available = number(limits.get("netMarginAvailable"))
        if available is None:
            available = number(limits.get("cashAvailable"))
        if available is None:
            raise Unreadable("neither netMarginAvailable nor cashAvailable is a number")
        return Funds(
            available=available,
            collateral=money(limits.get("collateral")),
            utilised=money(limits.get("marginUtilized")),
            realised=money(limits.get("RealizedMTM")),
            unrealised=money(limits.get("UnrealizedMTM")),
        )
    except Unreadable as exc:
        raise ProtocolError(f"The broker's limits can't be read: {exc}.") from None


def _all_limits(entries: list[wire.Row]) -> wire.Row:
    for entry in entries:
        header = entry.get("limitHeader")
        if isinstance(header, str) and header.replace(" ", "").upper() == ALL_LIMITS:
            limits = entry.get("limitObject")
            sub = limits.get("RMSSubLimits") if isinstance(limits, dict) else None
            if isinstance(sub, dict):
                return sub
    raise ProtocolError(f"The broker's limits hold no readable entry {ALL_LIMITS}.")
