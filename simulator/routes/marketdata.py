"""Market-data REST: login, master, quotes, subscriptions, history, symbols, search (§8)."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Any

from simulator.clock import IST, SESSIONS
from simulator.envelope import Reply, XtsError, dumps, error, invalid, success, success_raw
from simulator.exchange import Context
from simulator.market import history, quotes, symbols
from simulator.market.instruments import Instrument
from simulator.market.rows import plain
from simulator.market.universe import INDICES
from simulator.oms.validation import as_id
from simulator.profiles import SEGMENT_NAMES, SEGMENT_NUMBERS
from simulator.routes.table import StreamReply, Table
from simulator.sessions import MARKET

TABLE = Table()
MAX_QUOTES = 50
# History is long; other requests get their turn after so many bars.
_BARS_AT_ONCE = 100


@TABLE.add("POST", "/auth/login", token=False)
def login(ctx: Context) -> Reply:
    for name in ("appKey", "secretKey"):
        if not ctx.body.get(name):
            raise invalid(name, "is required")
    session = ctx.exchange.login(MARKET, ctx.body)
    ctx.session = session
    expiry = date(ctx.exchange.clock.trading_date().year + 1, 12, 31)
    return success(
        "e-response-0010",
        "Provided Valid Credentials",
        {
            "token": session.token,
            "userID": session.user_id,
            "appVersion": "2.0",
            "application_expiry_date": expiry.isoformat(),
        },
    )


@TABLE.add("DELETE", "/auth/logout")
def logout(ctx: Context) -> Reply:
    ctx.exchange.sessions.kill(ctx.who)
    return success("s-login-0005", "successfully logged out", {})


@TABLE.add("GET", "/config/clientConfig")
def client_config(ctx: Context) -> Reply:
    return success(
        "s-response-0001",
        "Fetch configurations successfully",
        {
            "exchangeSegments": SEGMENT_NUMBERS,
            "xtsMessageCode": {
                "touchlineEvent": 1501,
                "marketDepthEvent": 1502,
                "indexDataEvent": 1504,
                "candleDataEvent": 1505,
                "openInterestEvent": 1510,
                "instrumentPropertyChangeEvent": 1105,
                "ltpEvent": 1512,
            },
            "publishFormat": ["Binary", "JSON"],
            "broadCastMode": ["Full", "Partial"],
            "instrumentType": {
                "Futures": 1,
                "Options": 2,
                "Spread": 4,
                "Equity": 8,
                "Spot": 16,
                "PreferenceShares": 32,
                "Debentures": 64,
                "Warrants": 128,
                "Miscellaneous": 256,
                "MutualFund": 512,
            },
        },
    )


@TABLE.add("POST", "/instruments/master", token=False)
def master(ctx: Context) -> StreamReply:
    names = ctx.body.get("exchangeSegmentList")
    if not isinstance(names, list) or not names:
        raise invalid("exchangeSegmentList", "is required")
    for name in names:
        if name not in SEGMENT_NUMBERS:
            raise invalid("exchangeSegmentList", "must contain exchange segments")
    length, streams = ctx.exchange.catalog.served(list(dict.fromkeys(names)))
    head = (
        b'{"type":"success","code":"s-instrument-0010",'
        b'"description":"Fetch Master Contract successfully","result":"'
    )
    tail = b'"}'

    def chunks() -> Any:
        yield head
        for stream in streams:
            yield from stream
        yield tail

    return StreamReply(len(head) + length + len(tail), chunks())


@TABLE.add("GET", "/instruments/indexlist", token=False)
def index_list(ctx: Context) -> Reply:
    number = as_id(ctx.query.get("exchangeSegment", ""))
    found = [f"{i.display}_{i.token}" for i in INDICES if i.segment == number]
    if not found:
        raise XtsError("e-instrument-0001", "Index list not found")
    return success(
        "s-instrument-0007",
        "Index List successfully",
        {"exchangeSegment": str(number), "indexList": found},
    )


# -- quotes and subscriptions ----------------------------------------------------------------


def _asked(ctx: Context) -> tuple[int, list[tuple[int, int, Instrument | None]]]:
    """Message code and instruments of a quotes or subscription body."""
    code = as_id(ctx.body.get("xtsMessageCode"))
    if code not in quotes.CODES:
        raise invalid("xtsMessageCode", "must be one of the message codes", kind="any.allowOnly")
    wanted = ctx.body.get("instruments")
    if not isinstance(wanted, list) or not wanted:
        raise invalid("instruments", "is required")
    if len(wanted) > MAX_QUOTES:
        raise XtsError("e-quotes-0003", f"More than {MAX_QUOTES} instruments are not allowed")
    asked: list[tuple[int, int, Instrument | None]] = []
    for item in wanted:
        if not isinstance(item, dict):
            raise invalid("instruments", "must contain objects")
        number, token = as_id(item.get("exchangeSegment")), as_id(item.get("exchangeInstrumentID"))
        if number not in SEGMENT_NAMES or token < 0:
            raise invalid("exchangeSegment", "must be a number", kind="number.base")
        asked.append((number, token, ctx.exchange.catalog.find(SEGMENT_NAMES[number], token)))
    return code, asked


def _listed(
    ctx: Context, code: int, asked: list[tuple[int, int, Instrument | None]]
) -> dict[str, Any]:
    maker = ctx.exchange.quotes
    base = ctx.engine.quirks.tick_base_1970
    return {
        "mdp": code,
        "quotesList": [
            {"exchangeSegment": number, "exchangeInstrumentID": token} for number, token, _ in asked
        ],
        "listQuotes": [maker.text(found, code, base) for _, _, found in asked if found is not None],
    }


@TABLE.add("POST", "/instruments/quotes")
def get_quotes(ctx: Context) -> Reply:
    if ctx.body.get("publishFormat") not in ("JSON", "Binary"):
        raise invalid("publishFormat", "is required")
    code, asked = _asked(ctx)
    return success("s-quotes-0001", "Get quotes successfully!", _listed(ctx, code, asked))


def _remaining(ctx: Context) -> int:
    unique: set[tuple[int, int]] = set()
    for members in ctx.who.subscriptions.values():
        unique |= members
    return ctx.engine.quirks.subscription_limit - len(unique)


@TABLE.add("POST", "/instruments/subscription")
def subscribe(ctx: Context) -> Reply:
    code, asked = _asked(ctx)
    mine = ctx.who.subscriptions.setdefault(code, set())
    new = [item for item in asked if (item[0], item[1]) not in mine]
    if not new:
        return error(
            "e-session-0002",
            "Instrument Already Subscribed !",
            {"Remaining_Subscription_Count": _remaining(ctx)},
        )
    everything = {pair for members in ctx.who.subscriptions.values() for pair in members}
    after = everything | {(number, token) for number, token, _ in new}
    if len(after) > ctx.engine.quirks.subscription_limit:
        return error(
            "e-session-0004",
            "Subscription limit exceeded",
            {"Remaining_Subscription_Count": _remaining(ctx)},
        )
    mine.update((number, token) for number, token, _ in new)
    result = _listed(ctx, code, new)
    if code in (quotes.CANDLE, quotes.OPEN_INTEREST):
        result["listQuotes"] = []
    result["Remaining_Subscription_Count"] = _remaining(ctx)
    return success("s-session-0001", "Instrument subscribed successfully!", result)


@TABLE.add("PUT", "/instruments/subscription")
def unsubscribe(ctx: Context) -> Reply:
    code, asked = _asked(ctx)
    mine = ctx.who.subscriptions.get(code, set())
    for number, token, _ in asked:
        mine.discard((number, token))
    return success(
        "s-response-0001",
        "Instrument subscription deleted!",
        {"mdp": code, "Remaining_Subscription_Count": _remaining(ctx)},
    )


@TABLE.add("GET", "/instruments/subscription")
def subscriptions(ctx: Context) -> Reply:
    listed = [
        {"exchangeSegment": number, "exchangeInstrumentID": token, "xtsMessageCode": code}
        for code, members in sorted(ctx.who.subscriptions.items())
        for number, token in sorted(members)
    ]
    return success("s-response-0001", "Subscription list", listed)


# -- history ---------------------------------------------------------------------------------


@TABLE.add("GET", "/instruments/ohlc")
async def ohlc(ctx: Context) -> Reply:
    query = ctx.query
    number, token = (
        as_id(query.get("exchangeSegment", "")),
        as_id(query.get("exchangeInstrumentID", "")),
    )
    start = history.parse_time(query.get("startTime", ""))
    end = history.parse_time(query.get("endTime", ""))
    for name, value in (("startTime", start), ("endTime", end)):
        if value is None:
            raise invalid(name, "must be MMM DD YYYY HHMMSS", location="query")
    step = query.get("compressionValue", "")
    if step not in history.DAILY and step not in map(str, history.SECONDS):
        raise invalid("compressionValue", "is not allowed", location="query", kind="any.allowOnly")
    text = ""
    segment = SEGMENT_NAMES.get(number)
    instrument = ctx.exchange.catalog.find(segment, token) if segment else None
    if instrument is not None and start is not None and end is not None and segment in SESSIONS:
        now = ctx.exchange.clock.wall()
        made: list[str] = []
        for bar in history.bars(ctx.exchange.prices, instrument, start, end, step, now):
            made.append(bar)
            if len(made) % _BARS_AT_ONCE == 0:
                await asyncio.sleep(0)
        text = ",".join(made)
    return success(
        "s-instrument-0002",
        "Data found",
        {
            "exchangeSegment": str(number),
            "exchangeInstrumentID": str(token),
            "dataReponse": text,
        },
    )


# -- symbols and search ------------------------------------------------------------------------


def _segment(ctx: Context) -> str:
    segment = SEGMENT_NAMES.get(as_id(ctx.query.get("exchangeSegment", "")))
    if segment is None:
        raise invalid("exchangeSegment", "must be a number", location="query")
    return segment


def _matching(ctx: Context, *, expiry: bool = False, option: bool = False) -> list[Instrument]:
    wanted: date | None = None
    if expiry:
        try:
            text = ctx.query.get("expiryDate", "")
            wanted = datetime.strptime(text, "%d%b%Y").replace(tzinfo=IST).date()
        except ValueError:
            raise invalid("expiryDate", "must be DDMmmYYYY", location="query") from None
    return ctx.exchange.symbols.matching(
        _segment(ctx),
        ctx.query.get("series", ""),
        ctx.query.get("symbol", ""),
        wanted,
        ctx.query.get("optionType", "") if option else "",
        ctx.query.get("strikePrice", "") if option else "",
    )


def _documents(ctx: Context, found: list[Instrument]) -> Reply:
    today = ctx.exchange.clock.trading_date()
    rows = [symbols.document(instrument, today) for instrument in found]
    return success_raw("s-rds-0", "Success", dumps(rows))


@TABLE.add("GET", "/instruments/instrument/series")
def series(ctx: Context) -> Reply:
    return success("s-rds-0", "Success", ctx.exchange.symbols.series(_segment(ctx)))


@TABLE.add("GET", "/instruments/instrument/symbol")
def symbol(ctx: Context) -> Reply:
    return _documents(ctx, _matching(ctx))


@TABLE.add("GET", "/instruments/instrument/expiryDate")
def expiry_dates(ctx: Context) -> Reply:
    texts = {i.expiry_text for i in _matching(ctx) if i.expiry_text}
    return success("s-rds-0", "Success", sorted(texts, key=lambda text: text[::-1]))


@TABLE.add("GET", "/instruments/instrument/futureSymbol")
def future_symbol(ctx: Context) -> Reply:
    return _documents(ctx, [i for i in _matching(ctx, expiry=True) if i.kind == 1])


@TABLE.add("GET", "/instruments/instrument/optionType")
def option_types(ctx: Context) -> Reply:
    kinds = {symbols.OPTION_NAMES.get(i.option_type, "") for i in _matching(ctx, expiry=True)}
    return success("s-rds-0", "Success", sorted(kinds - {""}))


@TABLE.add("GET", "/instruments/instrument/strikePrice")
def strikes(ctx: Context) -> Reply:
    found = {i.strike for i in _matching(ctx, expiry=True, option=True)}
    return success("s-rds-0", "Success", [plain(strike) for strike in sorted(found)])


@TABLE.add("GET", "/instruments/instrument/optionsymbol")
def option_symbol(ctx: Context) -> Reply:
    return _documents(ctx, _matching(ctx, expiry=True, option=True))


@TABLE.add("GET", "/search/instruments")
def search(ctx: Context) -> Reply:
    text = ctx.query.get("searchString", "")
    if not text:
        raise invalid("searchString", "is required", location="query")
    return _documents(ctx, ctx.exchange.symbols.search(text))


@TABLE.add("POST", "/search/instrumentsbyid")
def search_by_id(ctx: Context) -> Reply:
    wanted = ctx.body.get("instruments")
    if not isinstance(wanted, list) or not wanted:
        raise invalid("instruments", "is required")
    today = ctx.exchange.clock.trading_date()
    rows: list[dict[str, Any]] = []
    for item in wanted:
        if not isinstance(item, dict):
            raise invalid("instruments", "must contain objects")
        segment = SEGMENT_NAMES.get(as_id(item.get("exchangeSegment")), "")
        found = ctx.exchange.catalog.find(segment, as_id(item.get("exchangeInstrumentID")))
        if found is not None:
            close = ctx.exchange.prices.day(found).close
            rows.append(symbols.full_document(found, today, close))
    return success_raw("s-rds-0", "Success", dumps(rows))
