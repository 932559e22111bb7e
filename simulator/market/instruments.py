"""One instrument, parsed from its master row when an order or a quote needs it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from simulator.profiles import SEGMENT_NUMBERS

FUTURE, OPTION, SPREAD, EQUITY, SPOT = 1, 2, 4, 8, 16
CALL, PUT = 3, 4


@dataclass(frozen=True, slots=True)
class Instrument:
    """A listed instrument; prices in rupees, quantities in units."""

    segment: str
    number: int
    token: int
    kind: int
    name: str
    description: str
    series: str
    instrument_id: int
    high: float
    low: float
    freeze: int
    tick: float
    lot: int
    multiplier: float
    display: str
    isin: str
    underlying_id: str
    underlying_name: str
    expiry: date | None
    expiry_text: str
    strike: float
    option_type: int

    @property
    def is_index(self) -> bool:
        return self.kind == SPOT

    @property
    def freeze_limit(self) -> int:
        """Largest order quantity, 0 for none: NSEFO prints the limit plus one (§9.4)."""
        return self.freeze - 1 if self.segment == "NSEFO" else self.freeze

    @property
    def trading_symbol(self) -> str:
        """As order rows show it: `NIFTY 25AUG2026 CE 25000`, `RELIANCE`."""
        return self.display


def parse(row: str) -> Instrument:
    """Read a row of 22, 21 or 23 columns (§9.1-9.3)."""
    c = row.split("|")
    kind = int(c[2])
    expiry: date | None = None
    expiry_text = ""
    strike, option_type, isin, underlying, index_name = 0.0, 0, "", "-1", ""
    if len(c) == 22:
        display, isin = c[14], c[15]
    else:
        underlying, index_name, expiry_text = c[14], c[15], c[16]
        expiry = datetime.fromisoformat(expiry_text).date()
        if len(c) == 23:
            strike, option_type, display = float(c[17]), int(c[18]), c[19]
        else:
            display = c[17]
    return Instrument(
        segment=c[0],
        number=SEGMENT_NUMBERS[c[0]],
        token=int(c[1]),
        kind=kind,
        name=c[3],
        description=c[4],
        series=c[5],
        instrument_id=int(c[7]),
        high=float(c[8]),
        low=float(c[9]),
        freeze=int(c[10]),
        tick=float(c[11]),
        lot=int(c[12]),
        multiplier=float(c[13]),
        display=display,
        isin=isin,
        underlying_id=underlying,
        underlying_name=index_name,
        expiry=expiry,
        expiry_text=expiry_text,
        strike=strike,
        option_type=option_type,
    )
