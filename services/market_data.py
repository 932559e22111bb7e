"""Quotes, depth and candles for an account, by OpenAlgo symbol.

Reads go through `SessionService.read`, so a dead token is renewed once. Copies of at most one
second answer several askers with one call to the venue. That an answer belongs to the instrument
that was asked for is the adapter's promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from broker.base import Broker, Clock, Deadline
from broker.errors import NotSupported, ProtocolError
from broker.models import Candle, Depth, InstrumentRef, Quote
from services.accounts import Account, AccountService
from services.copies import Copies
from services.errors import InvalidRequest, UnknownSymbol
from services.sessions import SessionService
from services.symbols import SymbolRecord, SymbolService

_Key = tuple[int, InstrumentRef]

MAX_HISTORY_DAYS = 3660


@dataclass(frozen=True, slots=True)
class QuoteView:
    """A quote with the instrument it is for."""

    record: SymbolRecord
    quote: Quote


@dataclass(frozen=True, slots=True)
class QuoteRow:
    """One answer of several: `quote`, or `error` as a sentence. No `record`: unknown symbol."""

    symbol: str
    exchange: str
    record: SymbolRecord | None
    quote: Quote | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class DepthView:
    """A depth with the instrument it is for."""

    record: SymbolRecord
    depth: Depth


class MarketDataService:
    """Reads of market data, by the account's own time-out where the caller sets no deadline."""

    def __init__(
        self,
        sessions: SessionService,
        accounts: AccountService,
        symbols: SymbolService,
        clock: Clock,
        *,
        max_age: float = 1.0,
    ) -> None:
        self._sessions = sessions
        self._accounts = accounts
        self._symbols = symbols
        self._quotes: Copies[_Key, Quote] = Copies(clock, max_age=max_age)
        self._depths: Copies[_Key, Depth] = Copies(clock, max_age=max_age)

    def quote(
        self, account: Account, symbol: str, exchange: str, *, deadline: Deadline | None = None
    ) -> QuoteView:
        """The quote of one symbol. `UnknownSymbol`; `ProtocolError` when the venue has none."""
        record = self._symbols.require(account.broker, exchange, symbol)
        quotes = self.by_ref(account, [record.ref], deadline=deadline)
        if record.ref not in quotes:
            raise ProtocolError(f"The broker has no quote for '{symbol}' on '{exchange}'.")
        return QuoteView(record, quotes[record.ref])

    def quotes(
        self,
        account: Account,
        pairs: Sequence[tuple[str, str]],
        *,
        deadline: Deadline | None = None,
    ) -> list[QuoteRow]:
        """Quotes of (symbol, exchange) pairs, in the order asked for; one bad pair spoils no other.

        An error of the whole call is raised.
        """
        records: dict[tuple[str, str], SymbolRecord | str] = {}
        for symbol, exchange in pairs:
            try:
                records[symbol, exchange] = self._symbols.require(account.broker, exchange, symbol)
            except UnknownSymbol as error:
                records[symbol, exchange] = error.message
        refs = [record.ref for record in records.values() if not isinstance(record, str)]
        quotes = self.by_ref(account, refs, deadline=deadline) if refs else {}
        rows = []
        for symbol, exchange in pairs:
            record = records[symbol, exchange]
            if isinstance(record, str):
                rows.append(QuoteRow(symbol, exchange, None, None, record))
                continue
            quote = quotes.get(record.ref)
            words = "" if quote else f"The broker has no quote for '{symbol}' on '{exchange}'."
            rows.append(QuoteRow(symbol, exchange, record, quote, words))
        return rows

    def by_ref(
        self,
        account: Account,
        refs: Sequence[InstrumentRef],
        *,
        deadline: Deadline | None = None,
        max_age: float | None = None,
    ) -> dict[InstrumentRef, Quote]:
        """Quotes by instrument, for callers that hold the venue's references already.

        `max_age` asks for younger copies than the usual second.
        """
        due = deadline or self._sessions.deadline(account)

        def read(keys: list[_Key]) -> dict[_Key, Quote]:
            wanted = [ref for _, ref in keys]
            found = self._sessions.read(
                account, lambda broker, by: broker.quotes(wanted, deadline=by), due
            )
            return {(account.id, ref): quote for ref, quote in found.items()}

        keys = [(account.id, ref) for ref in refs]
        found = self._quotes.fetch(keys, read, due, max_age=max_age)
        return {ref: quote for (_, ref), quote in found.items()}

    def depth(
        self, account: Account, symbol: str, exchange: str, *, deadline: Deadline | None = None
    ) -> DepthView:
        """The best levels of one symbol."""
        record = self._symbols.require(account.broker, exchange, symbol)
        due = deadline or self._sessions.deadline(account)

        def read(keys: list[_Key]) -> dict[_Key, Depth]:
            depth = self._sessions.read(
                account, lambda broker, by: broker.depth(record.ref, deadline=by), due
            )
            return {keys[0]: depth}

        key = (account.id, record.ref)
        return DepthView(record, self._depths.fetch([key], read, due)[key])

    def intervals(self, account: Account) -> tuple[str, ...]:
        """The candle intervals that the account's broker serves, shortest first."""
        return self._accounts.broker_class(account.broker).capabilities.history_intervals

    def history(
        self,
        account: Account,
        symbol: str,
        exchange: str,
        interval: str,
        start: date,
        end: date,
        *,
        deadline: Deadline | None = None,
    ) -> list[Candle]:
        """Candles from `start` to `end`, both inclusive (IST trading dates), oldest first."""
        served = self.intervals(account)
        if not served:
            raise NotSupported("This broker serves no history.")
        if interval not in served:
            raise InvalidRequest(
                f"Interval '{interval}' is not served by this broker. Served: {', '.join(served)}.",
                field="interval",
            )
        if end < start:
            raise InvalidRequest("The end date lies before the start date.", field="end_date")
        if (end - start).days > MAX_HISTORY_DAYS:
            raise InvalidRequest(
                f"At most {MAX_HISTORY_DAYS} days of history in one request.", field="start_date"
            )
        record = self._symbols.require(account.broker, exchange, symbol)
        due = deadline or self._sessions.deadline(account)

        def read(broker: Broker, by: Deadline) -> list[Candle]:
            return broker.history(record.ref, interval, start, end, deadline=by)

        return self._sessions.read(account, read, due)
