"""Order and trade rows as the books show them (§7.2.6, §7.2.8), quirks applied."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from simulator.clock import IST
from simulator.envelope import dumps
from simulator.oms.orders import TERMINAL, TYPE_LABELS, Order, Report, Trade
from simulator.settings import Quirks

_last_second: tuple[int, str, str] = (-1, "", "")
_NEVER = {
    "dmy": "01-01-1980 00:00:00",
    "iso": "1980-01-01T00:00:00",
    "iso7": "1980-01-01T00:00:00.0000000",
    "iso-zone": "1980-01-01T00:00:00+05:30",
    "mdy": "Jan 01 1980 00:00:00",
}


def stamp(at: float, form: str) -> str:
    """A moment in one of the date formats of §5.6 (IST)."""
    global _last_second
    second = int(at)
    if _last_second[0] == second and _last_second[1] == form:
        return _last_second[2]
    moment = datetime.fromtimestamp(second, IST)
    if form == "dmy":
        text = moment.strftime("%d-%m-%Y %H:%M:%S")
    elif form == "mdy":
        text = moment.strftime("%b %d %Y %H:%M:%S")
    else:
        text = moment.strftime("%Y-%m-%dT%H:%M:%S")
        if form == "iso7":
            text += ".0000000"
        elif form == "iso-zone":
            text += "+05:30"
    _last_second = (second, form, text)
    return text


def number(value: float) -> int | float:
    """A whole number without a decimal point, as JavaScript servers print it."""
    return int(value) if value == int(value) else round(value, 4)


def order_row(order: Order, report: Report, quirks: Quirks) -> dict[str, Any]:
    """An order-book row from one report of the order."""
    form = quirks.date_format
    instrument = order.instrument
    average: Any = number(report.average)
    if quirks.loose_numbers:
        average = f"{report.average:,.2f}" if report.filled else ""
    terminal = report.status in TERMINAL
    leaves = report.quantity - report.filled
    if terminal and not (report.status == "Cancelled" and quirks.cancelled_keeps_leaves):
        leaves = 0
    label = report.order_type if quirks.order_type_upper else TYPE_LABELS[report.order_type]
    acknowledged = stamp(report.at, form) if report.exchange_id else _NEVER[form]
    row: dict[str, Any] = {
        "LoginID": order.login,
        "ClientID": order.client,
        "AppOrderID": str(order.app_id) if quirks.order_ids_as_text else order.app_id,
        "OrderReferenceID": "",
        "GeneratedBy": order.generated_by,
        "ExchangeOrderID": report.exchange_id,
        "OrderCategoryType": "NORMAL",
        "ExchangeSegment": instrument.segment,
        "ExchangeInstrumentID": instrument.token,
        "OrderSide": order.side,
        "OrderType": label,
        "ProductType": report.product,
        "TimeInForce": report.tif,
        "OrderPrice": number(report.price),
        "OrderQuantity": report.quantity,
        "OrderStopPrice": number(report.stop_price),
        "OrderStatus": report.status,
        "OrderAverageTradedPrice": average,
        "LeavesQuantity": leaves,
        "CumulativeQuantity": report.filled,
        "OrderDisclosedQuantity": report.disclosed,
        "OrderGeneratedDateTime": stamp(order.created, form),
        "ExchangeTransactTime": acknowledged,
        "LastUpdateDateTime": stamp(report.at, form),
        "OrderExpiryDate": _NEVER[form],
        "CancelRejectReason": report.reason,
        "OrderUniqueIdentifier": report.tag,
        "OrderLegStatus": "SingleOrderLeg",
        "BoLegDetails": 0,
        "IsSpread": False,
        "BoEntryOrderId": "",
    }
    if quirks.new_columns:
        row["TradingSymbol"] = instrument.trading_symbol
        row["ApiOrderSource"] = order.source
        row["IsAMO"] = False
    row["MessageCode"] = 9004
    row["MessageVersion"] = 4
    row["TokenID"] = 0
    row["ApplicationType"] = 146
    row["SequenceNumber"] = report.sequence
    return row


def trade_row(trade: Trade, quirks: Quirks) -> dict[str, Any]:
    """A trade-book row: the order's columns at that execution, plus the execution."""
    row = order_row(trade.order, trade.report, quirks)
    row["LastTradedPrice"] = number(trade.price)
    row["LastTradedQuantity"] = trade.quantity
    row["LastExecutionTransactTime"] = stamp(trade.report.at, quirks.date_format)
    row["ExecutionID"] = trade.execution_id
    row["ExecutionReportIndex"] = trade.index
    row["MessageCode"] = 9005
    return row


def order_bytes(order: Order, quirks: Quirks, version: int) -> bytes:
    """The current row as JSON, kept until the order or the quirks change."""
    if order.row is None or order.row_version != version:
        row = order_row(order, order.reports[-1], quirks)
        order.row = dumps(row)
        order.row_version = version
    return order.row


def trade_bytes(trade: Trade, quirks: Quirks, version: int) -> bytes:
    """The trade's row as JSON, kept until the quirks change."""
    if trade.row is None or trade.row_version != version:
        trade.row = dumps(trade_row(trade, quirks))
        trade.row_version = version
    return trade.row


def array(rows: list[bytes]) -> bytes:
    """A JSON array of rows that are JSON already."""
    return b"[" + b",".join(rows) + b"]"
