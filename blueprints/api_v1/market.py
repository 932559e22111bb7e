"""Market data: quotes, depth, history, intervals (REST reference §11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blueprints.api_v1.endpoint import KIB, Answer, Call, Routes
from blueprints.api_v1.schemas import AccountRequest, History, MultiQuotes, SymbolRequest
from blueprints.api_v1.translate import candle_time, number
from blueprints.http import Body, problem
from services.vocabulary import Level, Quote

routes = Routes("Market data")

_LEVELS = 5
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "D": "days", "W": "weeks", "M": "months"}


def _quote(quote: Quote) -> dict[str, Any]:
    return {
        "ask": number(quote.ask),
        "bid": number(quote.bid),
        "high": number(quote.high),
        "low": number(quote.low),
        "ltp": number(quote.last_price),
        "oi": quote.oi or 0,
        "open": number(quote.open),
        "prev_close": number(quote.previous_close),
        "volume": quote.volume,
    }


@routes.post("/quotes", SymbolRequest)
def quotes(call: Call[SymbolRequest]) -> Body:
    """The quote of one symbol."""
    body = call.body
    view = call.gateway.market_data.quote(call.account, body.symbol, body.exchange)
    return {"data": _quote(view.quote), "status": "success"}


@routes.post("/multiquotes", MultiQuotes, body_limit=1024 * KIB)
def multiquotes(call: Call[MultiQuotes]) -> Body | Answer:
    """Quotes of several symbols, in request order."""
    pairs = [(pair.symbol, pair.exchange) for pair in call.body.symbols]
    rows = call.gateway.market_data.quotes(call.account, pairs)
    unknown = [{"exchange": r.exchange, "symbol": r.symbol} for r in rows if r.record is None]
    if len(unknown) == len(rows):
        words = problem("unknown_symbol", rows[0].error, invalid_symbols=unknown)
        return Answer(words, 400)
    return {
        "results": [
            {"exchange": row.exchange, "symbol": row.symbol, **(
                {"error": row.error} if row.quote is None else {"data": _quote(row.quote)}
            )}
            for row in rows
        ],
        "status": "success",
    }  # fmt: skip


def _levels(levels: Sequence[Level]) -> list[dict[str, Any]]:
    rows = [{"price": number(one.price), "quantity": one.quantity} for one in levels[:_LEVELS]]
    return rows + [{"price": 0, "quantity": 0}] * (_LEVELS - len(rows))


@routes.post("/depth", SymbolRequest)
def depth(call: Call[SymbolRequest]) -> Body:
    """Five best levels on both sides of one symbol."""
    body = call.body
    found = call.gateway.market_data.depth(call.account, body.symbol, body.exchange).depth
    quote = found.quote
    return {
        "data": {
            "asks": _levels(found.asks),
            "bids": _levels(found.bids),
            "high": number(quote.high),
            "low": number(quote.low),
            "ltp": number(quote.last_price),
            "ltq": quote.last_quantity,
            "oi": quote.oi or 0,
            "open": number(quote.open),
            "prev_close": number(quote.previous_close),
            "totalbuyqty": found.total_bid_quantity,
            "totalsellqty": found.total_ask_quantity,
            "volume": quote.volume,
        },
        "status": "success",
    }


@routes.post("/history", History)
def history(call: Call[History]) -> Body:
    """Candles between two dates, oldest first."""
    body = call.body
    candles = call.gateway.market_data.history(
        call.account, body.symbol, body.exchange, body.interval, body.start_date, body.end_date
    )
    return {
        "data": [
            {
                "close": number(candle.close),
                "high": number(candle.high),
                "low": number(candle.low),
                "oi": candle.oi,
                "open": number(candle.open),
                "timestamp": candle_time(candle.opened_at, body.interval),
                "volume": candle.volume,
            }
            for candle in candles
        ],
        "status": "success",
    }


@routes.post("/intervals", AccountRequest)
def intervals(call: Call[AccountRequest]) -> Body:
    """Candle intervals that the broker serves, by unit."""
    found: dict[str, list[str]] = {unit: [] for unit in sorted(_UNITS.values())}
    for interval in call.gateway.market_data.intervals(call.account):
        unit = _UNITS.get(interval[-1])
        if unit:
            found[unit].append(interval)
    return {"data": found, "status": "success"}
