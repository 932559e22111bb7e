"""Master rows of futures, calendar spreads and options (§9.2, §9.3)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from simulator.market.pricing import option_value, round_tick
from simulator.market.rows import (
    MONTHS,
    day_label,
    future_row,
    instrument_id,
    monthly_code,
    plain,
    weekly_code,
)
from simulator.profiles import SEGMENT_NUMBERS

_CARRY = 0.06


@dataclass(frozen=True, slots=True)
class Contract:
    """What all contracts on one underlying share.

    price: reference of futures; spot: where strikes are listed around; clock: the cosmetic time
    of the expiry; underlying: InstrumentID in the cash market, "-1" for an index.
    """

    segment: str
    name: str
    price: float
    spot: float
    lot: int
    freeze: int
    clock: str
    future_tick: str = "0.05"
    option_tick: str = "0.05"
    step: float = 0.0
    multiplier: str = "1"
    underlying: str = "-1"
    index_name: str = ""


def expiry_codes(months: Iterable[date], weeks: Iterable[date] = ()) -> dict[date, str]:
    """Expiry -> code in the description; a weekly that falls on a monthly is the monthly."""
    codes = {day: monthly_code(day) for day in months}
    for day in weeks:
        codes.setdefault(day, weekly_code(day))
    return dict(sorted(codes.items()))


def futures(
    terms: Contract, series: str, expiries: list[date], today: date, tokens: Iterator[int]
) -> Iterator[str]:
    """One future an expiry, and a calendar spread for each neighbouring pair."""
    number = SEGMENT_NUMBERS[terms.segment]
    tick = float(terms.future_tick)

    def row(
        description: str,
        day: date,
        high: float,
        low: float,
        underlying: str,
        index: str,
        display: str,
        kind: int,
    ) -> str:
        return future_row(
            terms.segment,
            number,
            next(tokens),
            terms.name,
            description,
            series,
            day,
            round_tick(high, tick),
            round_tick(low, tick),
            terms.freeze,
            terms.future_tick,
            terms.lot,
            terms.multiplier,
            underlying,
            index,
            terms.clock,
            display,
            kind,
        )

    for day in expiries:
        fair = terms.price * (1 + _CARRY * (day - today).days / 365)
        yield row(
            f"{terms.name}{monthly_code(day)}FUT",
            day,
            fair * 1.1,
            fair * 0.9,
            terms.underlying,
            terms.index_name,
            f"{terms.name} {day_label(day)}",
            1,
        )
    for near, far in pairwise(expiries):
        gap = terms.price * _CARRY * (far - near).days / 365
        width = max(terms.price * 0.04, 20 * tick)
        label = f"{near.day:02d}{MONTHS[near.month - 1]}{far.year % 100}{MONTHS[far.month - 1]}"
        yield row(
            f"{terms.name}{monthly_code(near)}{monthly_code(far)}FUT",
            near,
            gap + width,
            gap - width,
            "-1",
            "",
            f"{terms.name} {label} SPD",
            4,
        )


class Chain:
    """The option rows of one underlying and expiry; constant texts are made once (hot loop)."""

    __slots__ = (
        "_description",
        "_display",
        "_ident",
        "_name",
        "_segment",
        "_spot",
        "_tail",
        "_tick",
        "_width",
        "_years",
        "centre",
        "step",
    )

    def __init__(self, terms: Contract, series: str, expiry: date, code: str, today: date) -> None:
        ident = instrument_id(SEGMENT_NUMBERS[terms.segment], 0, expiry)[:-8]
        self.step = terms.step
        self.centre = round(terms.spot / terms.step) * terms.step
        self._segment = terms.segment
        self._name = terms.name
        self._spot = terms.spot
        self._tick = float(terms.option_tick)
        self._years = max((expiry - today).days, 0.5) / 365
        self._width = terms.spot * 0.05
        self._description = f"{terms.name}{code}"
        self._ident = f"|{series}|{terms.name}-{series}|{ident}"
        self._display = f"{terms.name} {day_label(expiry)}"
        self._tail = (
            f"|{terms.freeze}|{terms.option_tick}|{terms.lot}|{terms.multiplier}"
            f"|{terms.underlying}|{terms.index_name}|{expiry.isoformat()}T{terms.clock}"
        )

    def row(self, token: int, strike: float, call: bool) -> str:
        """23 columns (§9.3)."""
        value = option_value(self._spot, strike, self._years, call)
        tick = self._tick
        high = round_tick(value * 1.4 + self._width, tick)
        low = max(round_tick(value * 0.6 - self._width, tick), tick)
        text = plain(strike)
        side, kind = ("CE", "3") if call else ("PE", "4")
        full = f"{self._description}{text}{side}"
        return (
            f"{self._segment}|{token}|2|{self._name}|{full}{self._ident}{token:08d}|{plain(high)}"
            f"|{plain(low)}{self._tail}|{text}|{kind}|{self._display} {side} {text}|1|1|{full}"
        )


def fill_with_options(
    rows: list[str], chains: list[Chain], tokens: Iterator[int], target: int
) -> list[str]:
    """Add option rows, nearest strikes of every chain first, until there are `target` rows."""
    distance = 0
    while len(rows) < target:
        before = len(rows)
        for chain in chains:
            for place in (distance, -distance) if distance else (0,):
                strike = chain.centre + place * chain.step
                if strike > 0:
                    rows.append(chain.row(next(tokens), strike, True))
                    rows.append(chain.row(next(tokens), strike, False))
        if len(rows) == before:
            raise RuntimeError("no option chain to reach the target with")
        distance += 1
    del rows[target:]
    return rows


def strike_step(price: float) -> float:
    """Strike interval of a stock by its price; decimal for cheap ones."""
    for bound, step in (
        (50, 0.5),
        (100, 1),
        (250, 2.5),
        (500, 5),
        (1000, 10),
        (2500, 20),
        (5000, 50),
    ):
        if price < bound:
            return float(step)
    return 100.0


def tokens_from(start: int, most: int, rng: random.Random) -> Iterator[int]:
    """Exchange tokens: growing, with gaps of at most `most`."""
    token = start
    while True:
        token += rng.randint(1, most)
        yield token
