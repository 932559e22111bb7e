"""Interactive REST: session, user and exchange information (§3, §7.1, §7.9-7.11)."""

from __future__ import annotations

from typing import Any

from simulator.envelope import Reply, XtsError, error, invalid, success
from simulator.exchange import Context
from simulator.oms import portfolio
from simulator.oms.risk import products_of
from simulator.profiles import ROLE_PRO, SEGMENT_NUMBERS
from simulator.routes.table import Table
from simulator.sessions import INTERACTIVE

TABLE = Table()
_PRODUCT_NUMBERS = {"MIS": "1", "NRML": "2", "CNC": "4"}


def enums(ctx: Context) -> dict[str, Any]:
    """The `enums` block of the login (§3.1)."""
    quirks = ctx.engine.quirks
    information: dict[str, Any] = {}
    for name, number in SEGMENT_NUMBERS.items():
        products = products_of(name)
        information[name] = {
            "exchangeSegNumber": number,
            "orderType": ["Market", "Limit", "StopLimit", "StopMarket"],
            "timeInForce": ["DAY", "IOC"],
            "productType": list(products)
            if quirks.product_type_shape == "list"
            else {_PRODUCT_NUMBERS[p]: p for p in products},
        }
    return {
        "socketEvent": [
            "joined",
            "error",
            "warning",
            "success",
            "order",
            "trade",
            "position",
            "tradeConversion",
            "logout",
        ],
        "orderSide": ["BUY", "SELL"],
        "orderSource": ["TWSAPI", "WebAPI", "MobileAndroidAPI", "MobileIOSAPI"],
        "positionSqureOffMode": ["DayWise", "NetWise"],
        "positionSquareOffQuantityType": ["Percentage", "ExactQty"],
        "dayOrNet": ["DAY", "NET"],
        "instrumentType": [
            "Futures",
            "Options",
            "Spread",
            "Equity",
            "Spot",
            "PreferenceShares",
            "Debentures",
            "Warrants",
            "Miscellaneous",
            "MutualFund",
        ],
        "exchangeSegment": list(SEGMENT_NUMBERS),
        "exchangeInfo": information,
    }


@TABLE.add("POST", "/user/session", token=False)
def login(ctx: Context) -> Reply:
    for name in ("appKey", "secretKey"):
        if not ctx.body.get(name):
            raise invalid(name, "is required")
    session = ctx.exchange.login(INTERACTIVE, ctx.body)
    ctx.session = session
    credential = session.credential
    return success(
        "s-user-0001",
        "Valid User.",
        {
            "enums": enums(ctx),
            "clientCodes": list(credential.client_codes),
            "exchangeSegmentArray": [
                {"key": name, "value": number} for name, number in SEGMENT_NUMBERS.items()
            ],
            "token": session.token,
            "userID": credential.user_id,
            "isInvestorClient": ctx.engine.profile.investor,
            "isOneTouchUser": False,
        },
    )


@TABLE.add("DELETE", "/user/session", limit="logout")
def logout(ctx: Context) -> Reply:
    ctx.exchange.sessions.kill(ctx.who)
    return success("s-user-0001", "successfully logout from all API.", {})


@TABLE.add("GET", "/user/profile", limit="profile")
def profile(ctx: Context) -> Reply:
    credential = ctx.who.credential
    account = ctx.engine.clients.for_balance(credential, ctx.client)
    document = portfolio.profile_document(account, ctx.engine.profile, credential.role == ROLE_PRO)
    return success("s-user-0003", "Success user profile", document)


@TABLE.add("GET", "/user/balance", limit="balance")
def balance(ctx: Context) -> Reply:
    account = ctx.engine.clients.for_balance(ctx.who.credential, ctx.client)
    entries = portfolio.balance(account, ctx.engine.quirks)
    if not entries:
        raise XtsError("e-user-0001", "No RMS Limit assign to user")
    return success("s-user-0002", "OK", {"BalanceList": entries})


@TABLE.add("GET", "/user/enums", limit="enums")
def user_enums(ctx: Context) -> Reply:
    return success("s-enum-0001", "Success enums", enums(ctx))


@TABLE.add("POST", "/user/calculatebrokerage")
def brokerage(ctx: Context) -> Reply:
    ctx.engine.clients.for_balance(ctx.who.credential, str(ctx.body.get("clientID") or ""))
    rows = ctx.body.get("brokerageOrderInformation")
    if not isinstance(rows, list) or not rows:
        raise invalid("brokerageOrderInformation", "is required")
    turnover = 0.0
    for row in rows:
        try:
            turnover += float(row["orderQty"]) * float(row["orderPrice"])
        except (TypeError, KeyError, ValueError):
            raise invalid("orderQty", "must be a number", kind="number.base") from None
    parts = {
        "Brokerage": min(20.0 * len(rows), turnover * 0.0003),
        "STTOrCTT": turnover * 0.00025,
        "ExchangeTurnoverCharges": turnover * 0.0000297,
        "ExchangeCharges": 0.0,
        "GST": turnover * 0.00006,
        "SebiCharges": turnover * 0.000001,
        "StampDuty": turnover * 0.00003,
        "ClearingCharges": 0.0,
        "DPCharges": 0.0,
    }
    result = {name: round(value, 2) for name, value in parts.items()}
    result["Total"] = round(sum(parts.values()), 2)
    return success("s-brokerage-0001", "Request sent", result)


@TABLE.add("GET", "/status/exchange", limit="status")
def exchange_status(ctx: Context) -> Reply:
    clock = ctx.exchange.clock
    rows = [
        {
            "exchangeSegment": name,
            "exchangeMarketType": "NORMAL",
            "exchangeTradingSession": "NormalStart" if clock.is_open(name) else "Closed",
        }
        for name in SEGMENT_NUMBERS
    ]
    return success("s-status-0001", "Success exchange status", {"marketStatus": rows})


@TABLE.add("GET", "/messages/exchange", limit="messages")
def exchange_messages(ctx: Context) -> Reply:
    segment = ctx.query.get("exchangeSegment", "")
    number = SEGMENT_NUMBERS.get(segment)
    if number is None:
        raise invalid("exchangeSegment", "is required", location="query")
    now = ctx.exchange.clock.tick()
    message = {
        "ExchangeSegment": number,
        "ExchangeTimeStamp": now,
        "BroadcastMessage": f"SIMULATED EXCHANGE: {segment} IS OPEN FOR PRACTICE",
        "SequenceId": 1,
        "ExchangeInstrumentID": 0,
        "MessageCode": 1506,
        "MessageVersion": 4,
        "TokenID": 0,
        "ApplicationType": 0,
        "SequenceNumber": now,
    }
    return success("s-messages-0001", "Success exchange messages", {"messageList": [message]})


def _withdrawn(_ctx: Context) -> Reply:
    return error("e-orders-0001", "This order type is not enabled for this user")


for _method, _path in (
    ("POST", "/orders/cover"),
    ("PUT", "/orders/cover"),
    ("POST", "/orders/bracket"),
    ("PUT", "/orders/bracket"),
    ("DELETE", "/orders/bracket"),
    ("POST", "/orders/spread"),
    ("PUT", "/orders/spread"),
    ("DELETE", "/orders/spread"),
    ("POST", "/orders/gttorder"),
    ("PUT", "/orders/gttorder"),
    ("DELETE", "/orders/gttorder"),
    ("GET", "/orders/gttorderbook"),
):
    TABLE.add(_method, _path)(_withdrawn)
