"""Makes the instrument master: realistic rows for every segment, from a seed and a trading date.

`MasterMaker.rows(segment)` gives the rows of one segment in no particular order, as live dumps
have them. The `full` size counts 200,000 rows; `small` 1,500 with every kind of row.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date, datetime
from datetime import time as dtime

from simulator.clock import IST
from simulator.market import calendar, securities
from simulator.market.derivatives import (
    Chain,
    Contract,
    expiry_codes,
    fill_with_options,
    futures,
    strike_step,
    tokens_from,
)
from simulator.market.pricing import noise, walk_key
from simulator.market.rows import instrument_id
from simulator.market.universe import (
    COMMODITIES,
    CURRENCIES,
    INDICES,
    Company,
    Index,
    Underlying,
    Universe,
)

FULL, SMALL = "full", "small"
TARGETS: dict[str, dict[str, int]] = {
    FULL: {
        "NSECM": 9_500,
        "BSECM": 12_500,
        "NSEFO": 118_000,
        "BSEFO": 22_000,
        "NSECD": 13_000,
        "MCXFO": 25_000,
    },
    SMALL: {
        "NSECM": 170,
        "BSECM": 110,
        "NSEFO": 780,
        "BSEFO": 190,
        "NSECD": 110,
        "MCXFO": 140,
    },
}
#: size -> (companies, of which listed on NSE, of which in F&O)
_COMPANIES = {FULL: (9_000, 2_700, 208), SMALL: (90, 60, 30)}
_SMALL_FO = ("RELIANCE", "INFY", "SBIN", "M&M", "BAJAJ-AUTO", "VEDL", "YESBANK", "NATIONALUM")
_NSE_CLOCK, _FLAT_CLOCK = "14:30:00", "00:00:00"


class MasterMaker:
    """Generates rows; one object for all segments, so that identifiers agree across them."""

    def __init__(self, size: str, seed: int, today: date) -> None:
        self.small = size == SMALL
        self.today = today
        self.seed = seed
        total, self.on_nse, in_fo = _COMPANIES[size]
        self.universe = Universe(seed, total, in_fo)
        self.targets = TARGETS[size]
        self._makers: dict[str, Callable[[random.Random], list[str]]] = {
            "NSECM": self._nsecm,
            "BSECM": self._bsecm,
            "NSEFO": self._nsefo,
            "BSEFO": self._bsefo,
            "NSECD": self._nsecd,
            "MCXFO": self._mcxfo,
        }

    def rows(self, segment: str) -> list[str]:
        """All rows of a segment, shuffled."""
        rng = random.Random(f"{self.seed}:{segment}")
        rows = self._makers[segment](rng)
        rng.shuffle(rows)
        return rows

    def _nsecm(self, rng: random.Random) -> list[str]:
        return securities.nse_rows(
            self.universe.companies[: self.on_nse], self.targets["NSECM"], rng
        )

    def _bsecm(self, rng: random.Random) -> list[str]:
        return securities.bse_rows(self.universe.companies, self.targets["BSECM"], rng)

    def _nsefo(self, rng: random.Random) -> list[str]:
        tokens = tokens_from(35_000, 3, rng)
        months = calendar.monthlies(self.today, 3, calendar.TUESDAY)
        weeks = calendar.weeklies(self.today, 5, calendar.TUESDAY)
        rows: list[str] = []
        chains: list[Chain] = []
        for index in (i for i in INDICES if i.name and i.segment == 1):
            terms = self._index("NSEFO", index, _NSE_CLOCK, "0.1")
            self._list(terms, ("FUTIDX", "OPTIDX"), months, rows, chains, tokens)
            if index.weekly:
                chains += self._chains(terms, "OPTIDX", expiry_codes(months, weeks), set(months))
        for company in self._fo_companies():
            terms = Contract(
                "NSEFO",
                company.name,
                company.price,
                self._spot(f"NSECM:{company.nse}", company.price),
                company.lot,
                company.lot * 30 + 1,
                _NSE_CLOCK,
                step=strike_step(company.price),
                underlying=instrument_id(1, company.nse),
                index_name=company.name,
            )
            self._list(terms, ("FUTSTK", "OPTSTK"), months, rows, chains, tokens)
        decade = [date(self.today.year + 10, 12, 31)]
        for number in (1, 6, 7):
            terms = Contract(
                "NSEFO", f"0{number}1NSETEST", 100.0, 100.0, 25, 1001, _NSE_CLOCK, step=10.0
            )
            self._list(terms, ("FUTSTK", "OPTSTK"), decade, rows, chains, tokens)
        return fill_with_options(rows, chains, tokens, self.targets["NSEFO"])

    def _bsefo(self, rng: random.Random) -> list[str]:
        tokens = tokens_from(820_000, 4, rng)
        months = calendar.monthlies(self.today, 3, calendar.THURSDAY)
        weeks = calendar.weeklies(self.today, 6, calendar.THURSDAY)
        rows: list[str] = []
        chains: list[Chain] = []
        for index in (i for i in INDICES if i.name and i.segment == 11):
            terms = self._index("BSEFO", index, _FLAT_CLOCK, "0.05")
            self._list(terms, ("IF", "IO"), months, rows, chains, tokens)
            if index.weekly:
                chains += self._chains(terms, "IO", expiry_codes(months, weeks), set(months))
        for company in [c for c in self._fo_companies() if c.bse][:40]:
            terms = Contract(
                "BSEFO",
                company.name,
                company.price,
                self._spot(f"BSECM:{company.bse}", company.price),
                company.lot,
                company.lot * 30,
                _FLAT_CLOCK,
                step=strike_step(company.price),
                underlying=instrument_id(11, company.bse),
                index_name=company.name,
            )
            self._list(terms, ("SF", "SO"), months[:2], rows, chains, tokens)
        return fill_with_options(rows, chains, tokens, self.targets["BSEFO"])

    def _nsecd(self, rng: random.Random) -> list[str]:
        tokens = tokens_from(1_000, 5, rng)
        months = calendar.monthlies(self.today, 3 if self.small else 12, calendar.WEDNESDAY)
        weeks = calendar.weeklies(self.today, 2 if self.small else 8, calendar.FRIDAY)
        rows: list[str] = []
        chains: list[Chain] = []
        for pair in CURRENCIES:
            terms = self._other("NSECD", pair)
            if not pair.options:
                rows += futures(terms, "FUTIRC", months[:3], self.today, tokens)
                continue
            rows += futures(terms, "FUTCUR", months, self.today, tokens)
            chains += self._chains(terms, "OPTCUR", expiry_codes(months[:6], weeks))
        return fill_with_options(rows, chains, tokens, self.targets["NSECD"])

    def _mcxfo(self, rng: random.Random) -> list[str]:
        tokens = tokens_from(440_000, 6, rng)
        count = 3 if self.small else 6
        rows: list[str] = []
        chains: list[Chain] = []
        for place, item in enumerate(COMMODITIES):
            terms = self._other("MCXFO", item)
            months = calendar.day_of_month(self.today, count, 5 + place % 3 * 9)
            rows += futures(terms, "FUTCOM", months, self.today, tokens)
            if item.options:
                expiries = calendar.day_of_month(self.today, count - 1, 2 + place % 3 * 9)
                chains += self._chains(terms, "OPTFUT", expiry_codes(expiries))
        return fill_with_options(rows, chains, tokens, self.targets["MCXFO"])

    # -- parts -----------------------------------------------------------------------------

    def _list(
        self,
        terms: Contract,
        series: tuple[str, str],
        months: list[date],
        rows: list[str],
        chains: list[Chain],
        tokens: Iterator[int],
    ) -> None:
        """Monthly futures (with spreads) into `rows`, monthly option chains into `chains`."""
        rows += futures(terms, series[0], months, self.today, tokens)
        chains += self._chains(terms, series[1], expiry_codes(months))

    def _chains(
        self,
        terms: Contract,
        series: str,
        codes: dict[date, str],
        without: set[date] | None = None,
    ) -> list[Chain]:
        return [
            Chain(terms, series, day, code, self.today)
            for day, code in codes.items()
            if not without or day not in without
        ]

    def _spot(self, walk: str, price: float) -> float:
        """Where the walk stands on the trading date's morning: strikes are listed around it."""
        morning = datetime.combine(self.today, dtime(9, 15), IST).timestamp()
        return price * (1.0 + noise(walk_key(self.seed, walk), morning))

    def _index(self, segment: str, index: Index, clock: str, tick: str) -> Contract:
        return Contract(
            segment,
            index.name,
            index.price,
            self._spot(index.name, index.price),
            index.lot,
            index.freeze,
            clock,
            future_tick=tick,
            step=index.step,
            index_name=index.label,
        )

    def _other(self, segment: str, item: Underlying) -> Contract:
        return Contract(
            segment,
            item.name,
            item.price,
            self._spot(item.name, item.price),
            item.lot,
            item.freeze,
            _FLAT_CLOCK,
            future_tick=item.tick,
            option_tick=item.tick,
            step=item.step,
            multiplier=item.multiplier,
            index_name=item.name,
        )

    def _fo_companies(self) -> list[Company]:
        if self.small:
            return [self.universe.by_name[name] for name in _SMALL_FO]
        return self.universe.optionable
