"""Current prices of any instrument: last, bid and ask, the day's figures, and overrides by tests.

Equities and indices follow the walk of `pricing`; futures and options follow their underlying, so
a chain is consistent. A price set through the control API either stays (freeze) or moves on from
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as dtime

from simulator.clock import IST, SESSIONS, Clock
from simulator.market.catalog import Catalog
from simulator.market.instruments import CALL, EQUITY, FUTURE, OPTION, SPOT, SPREAD, Instrument
from simulator.market.pricing import (
    YEAR,
    hash32,
    noise,
    option_value,
    round_tick,
    walk_key,
)
from simulator.market.universe import COMMODITIES, CURRENCIES, INDICES

_CARRY = 0.06
_REFERENCES: dict[str, float] = {
    **{i.name: i.price for i in INDICES if i.name},
    **{u.name: u.price for u in (*COMMODITIES, *CURRENCIES)},
}


@dataclass(slots=True)
class Override:
    """A price set by hand: fixed, or a factor on the walk."""

    frozen: float | None
    factor: float


@dataclass(slots=True)
class Day:
    """The figures of one trading day; valid for the minute they were computed in."""

    minute: int
    open: float
    high: float
    low: float
    close: float
    volume: int


@dataclass(slots=True)
class Model:
    """How one instrument's price is found: its walk, reference, and the moment it expires."""

    key: int
    reference: float
    expires: float
    strike: float
    call: bool


class PriceBook:
    """Prices by instrument and time (Unix seconds, virtual)."""

    def __init__(self, catalog: Catalog, clock: Clock, seed: int) -> None:
        self._catalog = catalog
        self._clock = clock
        self._seed = seed
        self._models: dict[tuple[str, int], Model] = {}
        self._overrides: dict[tuple[str, int], Override] = {}
        self._days: dict[tuple[str, int], Day] = {}

    def reset(self) -> None:
        """Forget every override."""
        self._overrides.clear()
        self._days.clear()

    def last(self, instrument: Instrument, at: float | None = None) -> float:
        """Last traded price in rupees, a multiple of the tick."""
        moment = self._clock.wall() if at is None else at
        override = self._overrides.get((instrument.segment, instrument.token))
        if override is None:
            value = self._value(instrument, moment)
        elif override.frozen is not None:
            return override.frozen
        else:
            value = self._value(instrument, moment) * override.factor
        price = round_tick(value, instrument.tick)
        if instrument.kind != SPREAD and price < instrument.tick:
            return instrument.tick
        return price

    def set(self, instrument: Instrument, price: float, freeze: bool) -> None:
        """Make the price `price` now: frozen there, or moving on from it."""
        key = (instrument.segment, instrument.token)
        if freeze:
            self._overrides[key] = Override(price, 1.0)
        else:
            value = self._value(instrument, self._clock.wall())
            self._overrides[key] = Override(None, price / value if value else 1.0)
        self._days.pop(key, None)

    def release(self, instrument: Instrument) -> None:
        """Back to the walk."""
        self._overrides.pop((instrument.segment, instrument.token), None)
        self._days.pop((instrument.segment, instrument.token), None)

    def is_frozen(self, instrument: Instrument) -> bool:
        override = self._overrides.get((instrument.segment, instrument.token))
        return override is not None and override.frozen is not None

    def bid_ask(self, instrument: Instrument, last: float | None = None) -> tuple[float, float]:
        """Best bid and offer: one tick around the last price."""
        price = self.last(instrument) if last is None else last
        tick = instrument.tick
        if instrument.is_index:
            return 0.0, 0.0
        return round(max(price - tick, tick), 4), round(price + tick, 4)

    def depth(
        self, instrument: Instrument, last: float, levels: int = 5
    ) -> tuple[list[tuple[float, int, int]], list[tuple[float, int, int]]]:
        """Bids and asks as (price, size, orders), best first; zeros for an index."""
        if instrument.is_index:
            empty = [(0.0, 0, 0)] * levels
            return empty, empty
        bid, ask = self.bid_ask(instrument, last)
        key = self.model(instrument).key
        moment = int(self._clock.wall())
        bids: list[tuple[float, int, int]] = []
        asks: list[tuple[float, int, int]] = []
        for level in range(levels):
            h = hash32(key, moment * 16 + level)
            size = instrument.lot * (20 + (h & 255) * (1 if instrument.kind != EQUITY else 10))
            other = instrument.lot * (
                20 + (h >> 8 & 255) * (1 if instrument.kind != EQUITY else 10)
            )
            price = round(bid - level * instrument.tick, 4)
            bids.append((price, size, 1 + (h >> 16 & 15)) if price > 0 else (0.0, 0, 0))
            asks.append((round(ask + level * instrument.tick, 4), other, 1 + (h >> 20 & 15)))
        return bids, asks

    def day(self, instrument: Instrument) -> Day:
        """Open, high, low, previous close and volume of the current day."""
        now = self._clock.wall()
        minute = int(now // 60)
        key = (instrument.segment, instrument.token)
        known = self._days.get(key)
        if known is not None and known.minute == minute:
            return known
        today = datetime.fromtimestamp(now, IST)
        begin, end = SESSIONS.get(instrument.segment, (dtime(9, 15), dtime(15, 30)))
        start = datetime.combine(today.date(), begin, IST).timestamp()
        if now < start:
            start = datetime.combine(today.date(), dtime(0, 0), IST).timestamp()
        yesterday = today.date() - timedelta(days=1)
        while yesterday.weekday() >= 5:
            yesterday -= timedelta(days=1)
        closed = datetime.combine(yesterday, end, IST).timestamp() - 1
        step = max((now - start) / 24, 1.0)
        prices = [
            self.last(instrument, start + i * step) for i in range(24) if start + i * step < now
        ]
        prices.append(self.last(instrument, now))
        close = round_tick(self._value(instrument, closed), instrument.tick)
        volume = int((now - start) * (50 + hash32(self.model(instrument).key, 7) % 400))
        figures = Day(
            minute,
            prices[0],
            max(prices),
            min(prices),
            close,
            0 if instrument.is_index else volume // instrument.lot * instrument.lot,
        )
        self._days[key] = figures
        return figures

    def model(self, instrument: Instrument) -> Model:
        """The pricing model of an instrument, made once."""
        key = (instrument.segment, instrument.token)
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = self._make(instrument)
        return model

    # -- internals -------------------------------------------------------------------------

    def _make(self, instrument: Instrument) -> Model:
        middle = (instrument.high + instrument.low) / 2
        name, reference = f"{instrument.segment}:{instrument.token}", middle
        if instrument.kind == SPOT:
            index = next(i for i in INDICES if i.token == instrument.token)
            name, reference = index.name or index.display, index.price
        elif instrument.kind in (FUTURE, OPTION):
            name, reference = self._underlying(instrument)
        expires = 0.0
        if instrument.expiry is not None:
            expires = datetime.combine(instrument.expiry, dtime(15, 30), IST).timestamp()
        return Model(
            walk_key(self._seed, name),
            reference,
            expires,
            instrument.strike,
            instrument.option_type == CALL,
        )

    def _underlying(self, instrument: Instrument) -> tuple[str, float]:
        """Name of the underlying's walk and its reference price."""
        if instrument.underlying_id not in ("", "-1"):
            segment = "BSECM" if instrument.underlying_id.startswith("11100") else "NSECM"
            equity = self._catalog.find(segment, int(instrument.underlying_id[-8:]))
            if equity is not None:
                return f"{segment}:{equity.token}", (equity.high + equity.low) / 2
        reference = _REFERENCES.get(instrument.name)
        if reference is not None:
            return instrument.name, reference
        if instrument.kind == OPTION:
            return instrument.name, max(instrument.strike, instrument.tick)
        return instrument.name, (instrument.high + instrument.low) / 2

    def _value(self, instrument: Instrument, moment: float) -> float:
        model = self.model(instrument)
        if instrument.kind == SPREAD:
            return model.reference + instrument.tick * 20 * noise(model.key, moment) / 0.04
        spot = model.reference * (1.0 + noise(model.key, moment))
        if instrument.kind == FUTURE:
            years = min(max(model.expires - moment, 0.0) / YEAR, 1.0)
            return spot * (1.0 + _CARRY * years)
        if instrument.kind == OPTION:
            years = max(model.expires - moment, 600.0) / YEAR
            return option_value(spot, model.strike, years, model.call)
        return spot
