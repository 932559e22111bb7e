"""Market data of one account: master contract, quotes, depth and history (XTS reference §8, §9).

Every answer is checked for whose it is: a quote or a history of another instrument never passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from broker.base import AccountConfig, Deadline, Runtime
from broker.errors import InvalidOrder, NotFound, NotSupported, Refused
from broker.models import (
    BadRow,
    Candle,
    Depth,
    Exchange,
    Instrument,
    InstrumentRef,
    Quote,
)
from broker.xts import client as calls
from broker.xts import quotes, wire
from broker.xts.client import XtsClient
from broker.xts.envelope import NOTHING, judge
from broker.xts.instruments import RowReader, indices_from
from broker.xts.master_stream import rows as master_rows
from broker.xts.profile import Segment, XtsProfile
from broker.xts.quotes import Payload
from broker.xts.segments import Segments
from broker.xts.values import Unreadable, identifier

_Rows = list[Instrument | BadRow]
_Wanted = Mapping[tuple[int, str], list[InstrumentRef]]


class MarketData:
    """The market-data half of an `XtsBroker`; promises as in `Broker`."""

    def __init__(
        self,
        profile: XtsProfile,
        account: AccountConfig,
        runtime: Runtime,
        client: XtsClient,
        segments: Segments,
    ) -> None:
        self._profile = profile
        self._account = account
        self._runtime = runtime
        self._client = client
        self._segments = segments
        self._days = dict(profile.history_days)

    def instruments(self, exchanges: Sequence[Exchange] | None) -> Iterator[Instrument | BadRow]:
        """The master contract, segment by segment, then the indices."""
        for run in self._runs(exchanges):
            yield from run

    def _runs(self, exchanges: Sequence[Exchange] | None) -> Iterator[_Rows]:
        """The same in runs: each generator that a single row goes through is one more step."""
        for segment in self._profile.segments:
            if exchanges is None or segment.exchange in exchanges:
                yield from self._segment_runs(segment)
        for segment in self._profile.index_segments:
            if exchanges is None or segment.exchange in exchanges:
                yield self._index_rows(segment)

    def _segment_runs(self, segment: Segment) -> Iterator[_Rows]:
        deadline = Deadline(self._runtime.clock, self._profile.master_timeout)
        with self._client.master(segment.name, deadline=deadline) as reply:

            def check(envelope: dict[str, object]) -> None:
                judge(envelope, reply.status, reply.headers, calls.MASTER)

            yield from map(RowReader(segment).read, master_rows(reply, check))

    def _index_rows(self, segment: Segment) -> _Rows:
        deadline = Deadline(self._runtime.clock, self._account.api_timeout)
        params = {"exchangeSegment": str(segment.number)}
        listed = self._client.read(calls.INDEX_LIST, deadline=deadline, params=params)
        return [] if listed is NOTHING else list(indices_from(listed, segment))

    def quotes(
        self, instruments: Sequence[InstrumentRef], deadline: Deadline
    ) -> dict[InstrumentRef, Quote]:
        """Quotes by instrument, with open interest for derivatives; without data: missing."""
        wanted = self._wanted(instruments)
        derivatives = {
            key: refs
            for key, refs in wanted.items()
            if any(ref.exchange.is_derivative for ref in refs)
        }
        oi = self._open_interest(derivatives, deadline)
        found: dict[InstrumentRef, Quote] = {}
        for payload, refs in self._payloads(wanted, wire.TOUCHLINE, deadline):
            for ref in refs:
                found[ref] = quotes.quote_from(payload, ref, oi.get(ref))
        return found

    def depth(self, instrument: InstrumentRef, deadline: Deadline) -> Depth:
        """Five levels a side. `NotFound` when the venue has none for the instrument."""
        wanted = self._wanted([instrument])
        oi = self._open_interest(wanted, deadline) if instrument.exchange.is_derivative else {}
        for payload, _ in self._payloads(wanted, wire.DEPTH, deadline):
            return quotes.depth_from(payload, instrument, oi.get(instrument))
        raise NotFound(
            f"The broker has no market depth for {instrument.exchange.value} {instrument.token}."
        )

    def history(
        self, instrument: InstrumentRef, interval: str, start: date, end: date, deadline: Deadline
    ) -> list[Candle]:
        """Candles of the dates, both inclusive, asked for in runs of days."""
        days = self._days.get(interval)
        if days is None:
            known = ", ".join(self._days)
            raise NotSupported(f"There is no history in steps of {interval!r}; there is {known}.")
        ((segment, token),) = self._wanted([instrument])
        bars: list[list[str]] = []
        for first, last in quotes.chunks(start, end, days):
            params = quotes.ohlc_params(segment, token, first, last, interval)
            result = self._client.read(calls.CANDLES, deadline=deadline, params=params)
            bars.extend(quotes.candle_rows(result, segment, token))
        if not bars:
            # Some servers answer an expired token with nothing (§8.6): ask what tells it.
            self._client.read(calls.CLIENT_CONFIG, deadline=deadline)
        return quotes.candles_from(bars, interval, start, end)

    def _wanted(self, instruments: Sequence[InstrumentRef]) -> _Wanted:
        """The instruments by what the wire calls them: an index shares its segment's number."""
        wanted: dict[tuple[int, str], list[InstrumentRef]] = {}
        for ref in dict.fromkeys(instruments):
            number = self._segments.of(ref.exchange).number
            try:
                token = identifier(ref.token)
            except Unreadable:
                raise InvalidOrder(
                    f"{ref.token!r} is not a token of this broker.", field="symbol"
                ) from None
            wanted.setdefault((number, token), []).append(ref)
        return wanted

    def _open_interest(self, wanted: _Wanted, deadline: Deadline) -> dict[InstrumentRef, int]:
        found: dict[InstrumentRef, int] = {}
        try:
            for payload, refs in self._payloads(wanted, wire.OPEN_INTEREST, deadline):
                found.update((ref, quotes.open_interest(payload)) for ref in refs)
        except Refused as exc:  # a server without that message has quotes all the same
            self._anomaly("open_interest", exc.message)
        return found

    def _payloads(
        self, wanted: _Wanted, code: int, deadline: Deadline
    ) -> Iterator[tuple[Payload, list[InstrumentRef]]]:
        """The answers to one message code, each with the instruments it was asked for."""
        keys = list(wanted)
        for at in range(0, len(keys), self._profile.quotes_batch):
            batch = keys[at : at + self._profile.quotes_batch]
            body = {
                "instruments": [
                    {"exchangeSegment": segment, "exchangeInstrumentID": int(token)}
                    for segment, token in batch
                ],
                "xtsMessageCode": code,
                "publishFormat": "JSON",  # without it: HTTP 400 (§8.4)
            }
            result = self._client.read(calls.QUOTES, deadline=deadline, body=body)
            for payload in quotes.payloads(result, code):
                key = (payload.segment, payload.token)
                if key in wanted:
                    yield payload, wanted[key]
                else:
                    self._anomaly("quote_identity", f"a quote of {key} was not asked for")

    def _anomaly(self, what: str, detail: str) -> None:
        self._runtime.observer.anomaly(self._account.label, what, detail)
