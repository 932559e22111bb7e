"""Interactive REST: orders, books, trades and margin (§7.2, §7.6)."""

from __future__ import annotations

from typing import Any

from simulator.envelope import Reply, XtsError, error, invalid, success, success_raw
from simulator.exchange import Context
from simulator.oms import books, desk
from simulator.oms.accounts import Account
from simulator.oms.orders import Order
from simulator.oms.rows import array
from simulator.oms.validation import as_id, text
from simulator.profiles import SEGMENT_NAMES, SEGMENT_NUMBERS
from simulator.routes.interactive import TABLE


def _shown_id(ctx: Context, app_id: int) -> int | str:
    return str(app_id) if ctx.engine.quirks.order_ids_as_text else app_id


@TABLE.add("POST", "/orders", limit="place")
def place(ctx: Context) -> Reply:
    engine = ctx.engine
    app_id, tag, client = desk.place(
        engine, ctx.who.credential, ctx.body, ctx.notes["record"], ctx.drop
    )
    result: dict[str, Any] = {"AppOrderID": _shown_id(ctx, app_id)}
    if not engine.quirks.place_omits_identifier:
        result["OrderUniqueIdentifier"] = tag
    if not engine.profile.investor:
        result["ClientID"] = client
    return success("s-orders-0001", "Request sent", result)


@TABLE.add("PUT", "/orders", limit="modify")
def modify(ctx: Context) -> Reply:
    order = desk.modify(ctx.engine, ctx.who.credential, ctx.body)
    result = {
        "AppOrderID": _shown_id(ctx, order.app_id),
        "OrderUniqueIdentifier": order.tag,
        "ClientID": text(ctx.body, "clientID") or order.client,
    }
    return success("s-orders-0001", "Request sent", result)


@TABLE.add("DELETE", "/orders", limit="cancel")
def cancel(ctx: Context) -> Reply:
    if "appOrderID" not in ctx.query:
        raise invalid("appOrderID", "is required", location="query")
    order = desk.cancel(ctx.engine, ctx.who.credential, ctx.query["appOrderID"].strip(), ctx.client)
    result = {
        "AppOrderID": _shown_id(ctx, order.app_id),
        "ClientID": ctx.client or order.client,
    }
    return success(
        "s-user-0001", "Request sent", [result] if ctx.engine.quirks.cancel_as_list else result
    )


@TABLE.add("POST", "/orders/cancelall", limit="cancel_all")
def cancel_all(ctx: Context) -> Reply:
    segment = ctx.body.get("exchangeSegment")
    if segment not in SEGMENT_NUMBERS:
        raise invalid("exchangeSegment", "must be one of the exchange segments")
    token = as_id(ctx.body.get("exchangeInstrumentID"))
    if token < 0:
        raise invalid("exchangeInstrumentID", "must be a number", kind="number.base")
    account = ctx.engine.clients.for_order(ctx.who.credential, text(ctx.body, "clientID"))
    count = desk.cancel_all(ctx.engine, [account] if account else [], segment, token)
    return success("s-cancelall-0001", "Cancel All Order Request sent", {"count": count})


@TABLE.add("GET", "/orders", limit="order_book")
def order_book(ctx: Context) -> Reply:
    if "appOrderID" in ctx.query:
        return _history(ctx)
    accounts = ctx.engine.clients.for_book(ctx.who.credential, ctx.client)
    rows = books.order_rows(ctx.engine, accounts, False, ctx.cutoff)
    if not rows:
        return error("e-orders-0005", "Data Not Available")
    return success_raw("s-orders-0001", "Success order book", array(rows))


def _history(ctx: Context) -> Reply:
    order = ctx.engine.orders.get(as_id(ctx.query["appOrderID"].strip()))
    if order is None or not _may_see(ctx, order):
        raise XtsError("e-orders-0001", "Order history not found")
    return success_raw("s-orders-0001", "Success order history", books.history(ctx.engine, order))


def _may_see(ctx: Context, order: Order) -> bool:
    credential = ctx.who.credential
    if ctx.client and not order.foreign:
        return order.account in ctx.engine.clients.for_book(credential, ctx.client)
    return order.account in ctx.engine.clients.of(credential)


@TABLE.add("GET", "/orders/dealerorderbook", limit="order_book")
def dealer_order_book(ctx: Context) -> Reply:
    accounts = ctx.engine.clients.for_dealer_book(ctx.who.credential, ctx.client)
    rows = books.order_rows(ctx.engine, accounts, True, ctx.cutoff)
    if not rows and ctx.engine.quirks.empty_dealer_orders == "error":
        return error("e-orders-0005", "Data Not Available")
    return success_raw("s-orders-0001", "Success order book", array(rows))


@TABLE.add("GET", "/orders/trades", limit="trade_book")
def trade_book(ctx: Context) -> Reply:
    accounts = ctx.engine.clients.for_book(ctx.who.credential, ctx.client)
    rows = books.trade_rows(ctx.engine, accounts, False, ctx.cutoff)
    if not rows:
        return error("e-tradeBook-0005", "Data Not Available")
    return success_raw("s-orders-0001", "Success trade book", array(rows))


@TABLE.add("GET", "/orders/dealertradebook", limit="trade_book")
def dealer_trade_book(ctx: Context) -> Reply:
    accounts = ctx.engine.clients.for_dealer_book(ctx.who.credential, ctx.client)
    rows = books.trade_rows(ctx.engine, accounts, True, ctx.cutoff)
    return success_raw("s-dealertrade-0001", "Success trade book", array(rows))


@TABLE.add("POST", "/orders/margindetails")
def margin_details(ctx: Context) -> Reply:
    account = ctx.engine.clients.for_balance(ctx.who.credential, text(ctx.body, "clientID"))
    portfolio = ctx.body.get("portfolio")
    if not isinstance(portfolio, list) or not portfolio:
        raise invalid("portfolio", "is required")
    required = sum(_row_margin(ctx, account, row) for row in portfolio)
    available = account.available
    details = {
        "IsValid": True,
        "MarginRequired": round(required, 2),
        "MarginAvailable": round(available, 2),
        "MarginShortfall": round(max(required - available, 0.0), 2),
        "ErrorMessage": "",
    }
    return success("s-calculatemargin-0001", "Request sent", {"brokerageDeatils": details})


def _row_margin(ctx: Context, account: Account, row: Any) -> float:
    """Margin of one `portfolio` row; its exchange is a number and its id has a small d."""
    if not isinstance(row, dict):
        raise invalid("portfolio", "must contain objects")
    segment = SEGMENT_NAMES.get(as_id(row.get("exchange")), "")
    instrument = ctx.exchange.catalog.find(segment, as_id(row.get("exchangeInstrumentId")))
    if instrument is None:
        raise XtsError("e-instrument-0001", "Instrument not found")
    side = row.get("orderSide")
    if side not in ("BUY", "SELL"):
        raise invalid("orderSide", "must be one of [BUY, SELL]", kind="any.allowOnly")
    try:
        quantity, price = int(row["quantity"]), float(row.get("price") or 0)
    except (KeyError, TypeError, ValueError):
        raise invalid("quantity", "must be a number", kind="number.base") from None
    sign = 1 if side == "BUY" else -1
    return account.required(
        instrument,
        str(row.get("productType")),
        sign,
        quantity,
        price or ctx.exchange.prices.last(instrument),
    )
