"""Symbols: what a client's names mean at a broker, and what a broker's tokens are called.

Look-ups are indexed reads behind a small cache, which is thrown away when another generation is
live. The number of the generation is asked for at most every few milliseconds, so a record can
only be older than the contract by that. No process holds the whole contract as objects.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from broker.base import Clock
from broker.models import Exchange, InstrumentRef
from database.engine import Database
from database.symbol_text import SearchText
from database.symbols import Generation, Row, SymbolReader
from services import counting
from services.errors import InvalidRequest, UnknownSymbol
from utils.clock import SystemClock, trading_day

_CACHE_SIZE = 4_096  # records a broker and kind of look-up; about 1 KB each
_MAX_QUERY = 64
_SEARCH_LIMIT = 500
_TYPES = {"futures": ("FUT",), "options": ("CE", "PE")}


class SymbolRecord(NamedTuple):
    """One tradable or quotable thing of a broker. Rupees and units; `expiry` "DD-MMM-YY" or ""."""

    symbol: str
    brsymbol: str
    name: str
    exchange: str
    brexchange: str
    token: str
    expiry: str
    strike: float
    lotsize: int
    instrumenttype: str
    tick_size: Decimal
    freeze_qty: int | None
    kind: str
    isin: str
    price_low: Decimal | None
    price_high: Decimal | None
    tradable: bool
    ref: InstrumentRef
    id: int
    multiplier: Decimal


class _Known:
    """What this process remembers of one broker's live contract."""

    __slots__ = ("by_symbol", "by_token", "generation", "text")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.by_symbol: dict[tuple[str, str], SymbolRecord] = {}
        self.by_token: dict[tuple[str, str], SymbolRecord] = {}
        self.text: SearchText | None = None


class SymbolService:
    """Look-ups both ways, search, expiries and lists, per broker."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._reader = SymbolReader(database)
        self._clock: Clock = clock or SystemClock()
        self._fresh_for = 0.005 if database.symbols_engine.dialect.name == "sqlite" else 0.1
        self._checked_at = -1.0
        self._numbers: dict[str, int] = {}
        self._known: dict[str, _Known] = {}
        self._loading = threading.Lock()
        self._hits = self._misses = 0

    def drain_use(self) -> tuple[int, int]:
        """Hits and misses of the cache by symbol since the last time; a close estimate."""
        used, self._hits, self._misses = (self._hits, self._misses), 0, 0
        return used

    def lookup(self, broker: str, exchange: str, symbol: str) -> SymbolRecord | None:
        """The record of an OpenAlgo symbol, None when the broker has no such thing."""
        key = (symbol, exchange)
        known = self._current(broker)
        record = known.by_symbol.get(key)
        if record is not None:
            self._hits += 1
            return record
        self._misses += 1
        row = self._reader.by_symbol(broker, exchange, symbol)
        if row is None:
            return None
        record = _record(row)
        _remember(self._at(broker, known, row).by_symbol, key, record)
        return record

    def by_token(self, broker: str, exchange: str, token: str) -> SymbolRecord | None:
        """The record of a broker's token, None when the live contract doesn't have it."""
        key = (token, exchange)
        known = self._current(broker)
        record = known.by_token.get(key)
        if record is None:
            row = self._reader.by_token(broker, exchange, token)
            if row is None:
                return None
            record = _record(row)
            _remember(self._at(broker, known, row).by_token, key, record)
        return record

    def many_by_token(
        self, broker: str, refs: Iterable[InstrumentRef]
    ) -> dict[InstrumentRef, SymbolRecord]:
        """The records of many tokens at once (a book); unknown ones are missing."""
        wanted = {ref: (ref.token, str(ref.exchange)) for ref in refs}
        known = self._current(broker)
        found: dict[InstrumentRef, SymbolRecord] = {}
        for ref, key in wanted.items():
            record = known.by_token.get(key)
            if record is not None:
                found[ref] = record
        missing = [key for ref, key in wanted.items() if ref not in found]
        rows = self._reader.many(broker, "token", missing) if missing else []
        if rows:
            live = self._at(broker, known, rows[-1])
            if live is not known:  # swapped in between: none of what was remembered goes with them
                found, known = {}, live
                rows = self._reader.many(broker, "token", list(wanted.values()))
        for row in rows:
            record = _record(row)
            _remember(known.by_token, (record.token, record.exchange), record)
            found[record.ref] = record
        return found

    def require(self, broker: str, exchange: str, symbol: str) -> SymbolRecord:
        """The record, or `UnknownSymbol` with a sentence that says what to do."""
        record = self.lookup(broker, exchange, symbol)
        if record is not None:
            return record
        counting.lookup_failed(broker)
        front = f"Token not found for symbol '{symbol[:64]}' on '{exchange[:16]}'. "
        if self._reader.generation(broker) is None:
            raise UnknownSymbol(
                f"{front}The master contract of {broker} has not been downloaded yet.",
                field="symbol",
            )
        if "#" not in symbol and self._reader.starting_with(broker, exchange, f"{symbol}#", 1):
            raise UnknownSymbol(
                f"{front}Several instruments of {broker} claim this symbol, so none of them can "
                "be traded by it; search for it to see them.", field="symbol",
            )
        raise UnknownSymbol(
            f"{front}Check its spelling with the search, or download today's master contract.",
            field="symbol",
        )

    def search(
        self, broker: str, query: str, exchange: str | None = None, limit: int = _SEARCH_LIMIT
    ) -> list[SymbolRecord]:
        """Records whose symbol or name holds the query: exact, then prefix, then any part."""
        if not query.strip():
            raise InvalidRequest("Say what to search for.", field="query")
        text = self._text(broker)
        pairs = text.find(query[:_MAX_QUERY], [exchange] if exchange else None, limit)
        found: dict[tuple[str, str], SymbolRecord] = {}
        for row in self._reader.many(broker, "symbol", pairs):
            record = _record(row)
            found[record.symbol, record.exchange] = record
        return [found[pair] for pair in pairs if pair in found]

    def expiries(
        self, broker: str, root: str, exchange: str, instrument_type: str
    ) -> list[str]:
        """Expiries ("DD-MMM-YY") of a root's "futures" or "options", today or later, ascending."""
        types = _TYPES.get(instrument_type)
        if types is None:
            raise InvalidRequest(
                "instrumenttype must be 'futures' or 'options'.", field="instrumenttype"
            )
        today = trading_day(self._clock.now())
        texts = self._reader.expiries(broker, root.upper(), exchange, types)
        dated = sorted((_expiry_date(text), text) for text in texts)
        return [text for day, text in dated if day >= today]

    def instruments(self, broker: str, exchange: str | None = None) -> Iterator[SymbolRecord]:
        """All records, or one exchange's, from one generation, without holding them."""
        for row in self._reader.iterate(broker, exchange):
            yield _record(row)

    def counts(self, broker: str) -> dict[str, int]:
        """Rows of the live contract by exchange; empty before the first download."""
        live = self._reader.generation(broker)
        return {} if live is None else live.counts

    def generation(self, broker: str) -> Generation | None:
        """When the live contract was loaded, and its size; None before the first download."""
        return self._reader.generation(broker)

    def close(self) -> None:
        """Give back the connection and what is remembered."""
        self._known.clear()
        self._reader.close()

    def _current(self, broker: str) -> _Known:
        """What is remembered of the live generation; forgotten as soon as there is another."""
        now = self._clock.monotonic()
        if not 0 <= now - self._checked_at < self._fresh_for:
            self._numbers = self._reader.generations()
            self._checked_at = now
        number = self._numbers.get(broker, 0)
        known = self._known.get(broker)
        if known is None or known.generation != number:
            known = self._known[broker] = _Known(number)
        return known

    def _at(self, broker: str, known: _Known, row: Row) -> _Known:
        """What is remembered of the generation of a row that was just read.

        It is another one than `known` when the contract was swapped a moment ago: who has seen the
        new one must not see the old one again.
        """
        generation = int(row[-1])
        if generation == known.generation:
            return known
        known = _Known(generation)
        if generation > self._known[broker].generation:
            self._numbers = {**self._numbers, broker: generation}
            self._known[broker] = known
        return known

    def _text(self, broker: str) -> SearchText:
        known = self._current(broker)
        if known.text is None:
            with self._loading:  # one thread unpacks, the others wait for it
                if known.text is None:
                    known.text = self._reader.search_text(broker)
        return known.text


def _record(row: Row) -> SymbolRecord:
    (row_id, symbol, brsymbol, name, exchange, brexchange, token, expiry, strike, lotsize,
     instrument_type, tick, freeze, kind, isin, low, high, multiplier, tradable, _) = row
    return SymbolRecord(
        symbol, brsymbol, name, exchange, brexchange, token, expiry, strike, lotsize,
        instrument_type, _decimal(tick), freeze, kind, isin,
        None if low is None else _decimal(low), None if high is None else _decimal(high),
        bool(tradable), InstrumentRef(Exchange(exchange), token), row_id, _decimal(multiplier),
    )


@lru_cache(4_096)
def _decimal(value: float) -> Decimal:
    """A stored float as the decimal it was read from: its shortest spelling."""
    text = repr(value)
    return Decimal(text[:-2] if text.endswith(".0") else text)


def _remember(
    cache: dict[tuple[str, str], SymbolRecord], key: tuple[str, str], record: SymbolRecord
) -> None:
    if len(cache) >= _CACHE_SIZE:
        cache.clear()
    cache[key] = record


def _expiry_date(text: str) -> date:
    return datetime.strptime(text, "%d-%b-%y").date()  # noqa: DTZ007 - a date, no time
