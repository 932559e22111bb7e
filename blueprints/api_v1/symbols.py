"""Symbols: one, search, expiries, the whole list (REST reference §12)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response

from blueprints.api_v1.endpoint import Answer, Call, Routes
from blueprints.api_v1.errors import invalid_fields
from blueprints.api_v1.schemas import (
    ExpiryRequest,
    InstrumentsQuery,
    SearchRequest,
    SymbolRequest,
)
from blueprints.api_v1.translate import number
from blueprints.http import Body, problem
from services.symbols import SymbolRecord

routes = Routes("Symbols")

_MOST = 500
_COLUMNS = (
    "brexchange", "brsymbol", "exchange", "expiry", "instrumenttype", "lotsize", "name", "strike",
    "symbol", "tick_size", "token",
)  # fmt: skip


def symbol_row(record: SymbolRecord) -> dict[str, Any]:
    """One row of the master contract; keys in alphabetical order."""
    return {
        "brexchange": record.brexchange,
        "brsymbol": record.brsymbol,
        "exchange": record.exchange,
        "expiry": record.expiry,
        "instrumenttype": record.instrumenttype,
        "lotsize": record.lotsize,
        "name": record.name,
        "strike": record.strike,
        "symbol": record.symbol,
        "tick_size": number(record.tick_size),
        "token": record.token,
    }


@routes.post("/symbol", SymbolRequest)
def symbol(call: Call[SymbolRequest]) -> Body | Answer:
    """One instrument of the master contract."""
    body = call.body
    record = call.gateway.symbols.lookup(call.account.broker, body.exchange, body.symbol)
    if record is None:
        return Answer(
            problem(
                "unknown_symbol", f"Symbol {body.symbol} not found in exchange {body.exchange}"
            ),
            404,
        )
    data = symbol_row(record) | {"freeze_qty": record.freeze_qty or 1, "id": record.id}
    return {"data": dict(sorted(data.items())), "status": "success"}


@routes.post("/search", SearchRequest)
def search(call: Call[SearchRequest]) -> Body:
    """Instruments by parts of their symbol or name, at most 500."""
    body = call.body
    if not body.query.strip():
        raise invalid_fields({"query": ["Query must not be blank."]})
    found = call.gateway.symbols.search(
        call.account.broker, body.query.strip(), body.exchange, limit=_MOST
    )
    rows = [symbol_row(record) | {"freeze_qty": record.freeze_qty or 1} for record in found]
    words = f"Found {len(rows)} matching symbols" if rows else "No matching symbols found"
    return {"data": rows, "message": words, "status": "success"}


@routes.post("/expiry", ExpiryRequest)
def expiry(call: Call[ExpiryRequest]) -> Body:
    """Expiry dates of an underlying, today or later, ascending."""
    body = call.body
    dates = call.gateway.symbols.expiries(
        call.account.broker, body.symbol, body.exchange, body.instrumenttype
    )
    words = (
        f"Found {len(dates)} expiry dates for {body.symbol} {body.instrumenttype} "
        f"in {body.exchange}"
    )
    return {"data": list(dates), "message": words, "status": "success"}


def _json_parts(records: Iterable[SymbolRecord], sandbox: bool) -> Iterator[bytes]:
    """The JSON answer in parts of some hundred rows: no process holds the whole contract."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    yield b'{"data":['
    rows: list[str] = []
    first = True
    for record in records:
        rows.append(encode(symbol_row(record)))
        if len(rows) == _MOST:
            yield (b"" if first else b",") + ",".join(rows).encode()
            rows, first = [], False
    if rows:
        yield (b"" if first else b",") + ",".join(rows).encode()
    yield b'],"sandbox":true,"status":"success"}' if sandbox else b'],"status":"success"}'


def _csv_parts(records: Iterable[SymbolRecord]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS)
    writer.writeheader()
    for count, record in enumerate(records, 1):
        writer.writerow(symbol_row(record))
        if count % _MOST == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


@routes.get("/instruments", InstrumentsQuery)
def instruments(call: Call[InstrumentsQuery]) -> Response:
    """The master contract of one exchange, or of all, as JSON or CSV."""
    query = call.body
    records = call.gateway.symbols.instruments(call.account.broker, query.exchange)
    if query.format == "csv":
        name = f"{(query.exchange or 'all').lower()}_instruments.csv"
        return Response(
            _csv_parts(records),
            mimetype="text/csv",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
    return Response(
        _json_parts(records, call.gateway.settings.sandbox), mimetype="application/json"
    )
