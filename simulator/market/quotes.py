"""Quote payloads as JSON text: touchline, depth, index, open interest, last price (§10)."""

from __future__ import annotations

import json
from typing import Any

from simulator.clock import Clock, bar_time
from simulator.market.instruments import FUTURE, OPTION, Instrument
from simulator.market.prices import PriceBook
from simulator.market.pricing import hash32

TOUCHLINE, DEPTH, INDEX, CANDLE, OPEN_INTEREST, LTP = 1501, 1502, 1504, 1505, 1510, 1512
CODES = (TOUCHLINE, DEPTH, INDEX, CANDLE, OPEN_INTEREST, LTP)
_OLD_BASE_SEGMENTS = ("NSECM", "NSEFO", "NSECD")


class Quotes:
    """Makes payloads from prices and the clock."""

    def __init__(self, prices: PriceBook, clock: Clock) -> None:
        self._prices = prices
        self._clock = clock
        self._sequence = 0

    def payload(
        self, instrument: Instrument, code: int, *, streaming: bool = False, base_1970: bool = False
    ) -> dict[str, Any]:
        """One payload; `streaming` gives the nested 1501 and full headers."""
        now = self._clock.tick()
        if base_1970 and instrument.segment not in _OLD_BASE_SEGMENTS:
            now = bar_time(self._clock.wall())
        if code == OPEN_INTEREST:
            return self._open_interest(instrument, now)
        last = self._prices.last(instrument)
        if code == LTP:
            return self._last_price(instrument, last, now, streaming)
        if code == CANDLE:
            return self._candle(instrument, last)
        touch = self._touchline(instrument, last, now)
        if code == INDEX:
            return {**self._header(instrument, code, now), **touch, "IndexName": instrument.name}
        if code == TOUCHLINE and not streaming:
            return {
                "MessageCode": code,
                "ExchangeSegment": instrument.number,
                "ExchangeInstrumentID": instrument.token,
                **touch,
                "XMarketType": 1,
                "BookType": 1,
            }
        body = self._header(instrument, code, now)
        if code == DEPTH:
            bids, asks = self._prices.depth(instrument, last)
            body["Bids"] = [_level(*level) for level in bids]
            body["Asks"] = [_level(*level) for level in asks]
        body["Touchline"] = {**touch, "BuyBackTotalBuy": 0, "BuyBackTotalSell": 0}
        body["BookType"] = 1
        body["XMarketType"] = 0 if instrument.is_index else 1
        body["SequenceNumber"] = self._next()
        return body

    def text(self, instrument: Instrument, code: int, base_1970: bool = False) -> str:
        """A snapshot as `listQuotes` holds it: JSON text inside the JSON answer."""
        return json.dumps(
            self.payload(instrument, code, base_1970=base_1970), separators=(",", ":")
        )

    # -- parts -----------------------------------------------------------------------------

    def _next(self) -> int:
        self._sequence += 1
        return self._clock.tick() * 100_000 + self._sequence % 100_000

    def _header(self, instrument: Instrument, code: int, now: int) -> dict[str, Any]:
        return {
            "MessageCode": code,
            "MessageVersion": 4,
            "ApplicationType": 0,
            "TokenID": 0,
            "ExchangeSegment": instrument.number,
            "ExchangeInstrumentID": instrument.token,
            "ExchangeTimeStamp": now,
        }

    def _touchline(self, instrument: Instrument, last: float, now: int) -> dict[str, Any]:
        day = self._prices.day(instrument)
        bids, asks = self._prices.depth(instrument, last, 1)
        h = hash32(self._prices.model(instrument).key, now)
        index = instrument.is_index
        return {
            "LastTradedPrice": last,
            "LastTradedQunatity": 0 if index else instrument.lot * (1 + h % 9),
            "TotalBuyQuantity": 0 if index else instrument.lot * (4_000 + h % 3_000),
            "TotalSellQuantity": 0 if index else instrument.lot * (4_000 + (h >> 8) % 3_000),
            "TotalTradedQuantity": day.volume,
            "AverageTradedPrice": last if index else round((day.high + day.low + last) / 3, 2),
            "LastTradedTime": now,
            "LastUpdateTime": now,
            "PercentChange": round((last / day.close - 1) * 100, 2) if day.close else 0,
            "Open": day.open,
            "High": max(day.high, last),
            "Low": min(day.low, last),
            "Close": day.close,
            "TotalValueTraded": None,
            "AskInfo": _level(*asks[0]),
            "BidInfo": _level(*bids[0]),
        }

    def _last_price(
        self, instrument: Instrument, last: float, now: int, streaming: bool
    ) -> dict[str, Any]:
        day = self._prices.day(instrument)
        body: dict[str, Any] = {"MessageCode": LTP}
        if streaming:
            body.update(MessageVersion=4, ApplicationType=0, TokenID=0)
        h = hash32(self._prices.model(instrument).key, now)
        body.update(
            ExchangeSegment=instrument.number,
            ExchangeInstrumentID=instrument.token,
            BookType=1,
            XMarketType=1,
            LastTradedPrice=last,
            LastTradedQunatity=0 if instrument.is_index else instrument.lot * (1 + h % 9),
            LastUpdateTime=now,
            PercentChange=round((last / day.close - 1) * 100, 2) if day.close else 0,
            Close=day.close,
        )
        return body

    def _candle(self, instrument: Instrument, last: float) -> dict[str, Any]:
        wall = self._clock.wall()
        start = wall - wall % 60
        prices = [self._prices.last(instrument, start + i * 15) for i in range(4)] + [last]
        return {
            "MessageCode": CANDLE,
            "MessageVersion": 1,
            "ApplicationType": 0,
            "TokenID": 0,
            "ExchangeSegment": instrument.number,
            "ExchangeInstrumentID": instrument.token,
            "BarTime": bar_time(start) + 59,
            "BarVolume": self._prices.day(instrument).volume,
            "High": max(prices),
            "Low": min(prices),
            "Open": prices[0],
            "Close": last,
            "OpenInterest": self.open_interest(instrument),
            "SumOfQtyInToPrice": 0,
        }

    def open_interest(self, instrument: Instrument) -> int:
        """Open interest in units; 0 for what has none."""
        if instrument.kind not in (FUTURE, OPTION):
            return 0
        key = self._prices.model(instrument).key
        moment = int(self._clock.wall() // 180)
        base = 2_000 + hash32(key, instrument.token) % 50_000
        return instrument.lot * (base + hash32(key, moment) % 500)

    def _open_interest(self, instrument: Instrument, now: int) -> dict[str, Any]:
        return {
            "MessageCode": OPEN_INTEREST,
            "MessageVersion": 4,
            "ApplicationType": 0,
            "TokenID": 0,
            "ExchangeSegment": instrument.number,
            "ExchangeInstrumentID": instrument.token,
            "ExchangeTimeStamp": now,
            "XTSMarketType": 1,
            "OpenInterest": self.open_interest(instrument),
            "UnderlyingExchangeSegment": 1,
            "UnderlyingInstrumentID": max(int(instrument.underlying_id or -1), -1),
            "UnderlyingIDIndexName": instrument.underlying_name,
            "UnderlyingTotalOpenInterest": self.open_interest(instrument) * 40,
            "SequenceNumber": self._next(),
        }


def _level(price: float, size: int, orders: int) -> dict[str, Any]:
    return {"Size": size, "Price": price, "TotalOrders": orders, "BuyBackMarketMaker": 0}
