"""From a broker's instrument to its OpenAlgo symbol, for every kind and series (REST reference §3).

    equity   BASE                        INFY, M&M, BAJAJ-AUTO; another series: INFY-N1
    future   BASE DDMMMYY FUT            BANKNIFTY24APR24FUT
    option   BASE DDMMMYY STRIKE CE|PE   NIFTY28MAR2420800CE, VEDL25APR24292.5CE
    index    NAME without blanks         NIFTY, NIFTYNXT50, INDIAVIX
    spread   BASE DDMMMYY-MMMYY SPD      SENSEX14JAN25-FEB25SPD: never a future's name

A name depends on nothing but the instrument and, for shares of other series than EQ, on which rows
share their base: the rules are the same on every day and in any order of rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from broker.models import Exchange, Instrument, InstrumentKind
from database.symbol_rows import RowValues

# Raw names of the exchanges whose OpenAlgo spelling isn't "upper case without blanks" (§3). The
# Sensex's relatives stand in masters under the exchange's short codes.
INDEX_NAMES: dict[Exchange, dict[str, str]] = {
    Exchange.NSE_INDEX: {
        "NIFTY50": "NIFTY",
        "NIFTYBANK": "BANKNIFTY",
        "NIFTYFINSERVICE": "FINNIFTY",
        "NIFTYMIDSELECT": "MIDCPNIFTY",
        "NIFTYMIDCAPSELECT": "MIDCPNIFTY",
        "NIFTYNEXT50": "NIFTYNXT50",
    },
    Exchange.BSE_INDEX: {
        "SNSX50": "SENSEX50",
        "SNXT50": "BSESENSEXNEXT50",
        "BSEBANKEX": "BANKEX",
        "BSESENSEX": "SENSEX",
    },
}

# Groups of BSE that are debt, whatever type the row claims: F fixed income, G government paper.
_BSE_DEBT_GROUPS = frozenset({"F", "FC", "G", "GC"})
_MAIN_SERIES = "EQ"
_FAR_LEG = re.compile(r"\d{2}[A-Z]{3}(\d{2})([A-Z]{3})FUT")
_SEPARATORS = str.maketrans("", "", " -")

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SHARES = frozenset({InstrumentKind.EQUITY, InstrumentKind.FUND})


class _Dates(dict[date | None, tuple[str, str]]):
    """Expiries as "28MAR24" and "28-MAR-24"."""

    def __missing__(self, expiry: date | None) -> tuple[str, str]:
        if expiry is None:
            raise ValueError("a derivative without an expiry")
        parts = (f"{expiry.day:02d}", _MONTHS[expiry.month - 1], f"{expiry.year % 100:02d}")
        made = self[expiry] = ("".join(parts), "-".join(parts))
        return made


class _Strikes(dict[Decimal, tuple[str, float]]):
    """Strikes as symbols and as the table have them."""

    def __missing__(self, strike: Decimal) -> tuple[str, float]:
        made = self[strike] = strike_text(strike), float(strike)
        return made


class _Floats(dict[Decimal, float]):
    """Numbers of which a contract has few, as the table has them."""

    def __missing__(self, number: Decimal) -> float:
        made = self[number] = float(number)
        return made


class SymbolNamer:
    """Names the instruments of one master contract.

    `name` gives a row at once, or None for a share that must wait for the others of its base;
    `rest` gives those, after the last instrument.
    """

    def __init__(self) -> None:
        self._dates = _Dates()
        self._strikes = _Strikes()
        self._numbers = _Floats()
        self._main: set[tuple[Exchange, str]] = set()
        self._waiting: dict[tuple[Exchange, str], list[Instrument]] = {}

    def name(self, instrument: Instrument) -> RowValues | None:
        """The row, None when it comes from `rest`. `ValueError` says why one has no symbol."""
        kind = instrument.kind
        if kind is InstrumentKind.OPTION:
            return self._option(instrument)
        if kind is InstrumentKind.FUTURE:
            return self._future(instrument)
        if kind is InstrumentKind.SPREAD:
            return self._spread(instrument)
        if kind is InstrumentKind.INDEX:
            symbol = index_symbol(instrument.exchange, instrument.root)
            return self._row(instrument, symbol, "INDEX", tradable=0)
        if kind in _SHARES and not _is_debt_group(instrument):
            return self._share(instrument)
        if kind is InstrumentKind.SPOT:
            return self._row(instrument, f"{instrument.root.upper()}-SPOT", "SPOT", tradable=0)
        return self._row(instrument, _with_series(instrument), _paper_type(instrument))

    def rest(self) -> Iterator[RowValues]:
        """The shares in other series than EQ: BASE when nothing else has it, else BASE-SERIES."""
        for key, instruments in self._waiting.items():
            alone = len(instruments) == 1 and key not in self._main
            for instrument in instruments:
                symbol = instrument.root.upper() if alone else _with_series(instrument)
                yield self._row(instrument, symbol, "EQ")
        self._waiting.clear()

    def _share(self, instrument: Instrument) -> RowValues | None:
        base = instrument.root.upper()
        if instrument.exchange is Exchange.BSE:  # a group of BSE says who trades, not what
            return self._row(instrument, base, "EQ")
        if instrument.series == _MAIN_SERIES or not instrument.series:
            self._main.add((instrument.exchange, base))
            return self._row(instrument, base, "EQ")
        self._waiting.setdefault((instrument.exchange, base), []).append(instrument)
        return None

    def _option(self, instrument: Instrument) -> RowValues:
        strike, option_type = instrument.strike, instrument.option_type
        if strike is None or option_type is None:
            raise ValueError("an option without strike or type")
        base = instrument.root.upper()
        compact, dashed = self._dates[instrument.expiry]
        right = option_type._value_
        text, number = self._strikes[strike]
        symbol = f"{base}{compact}{text}{right}"
        return self._filled(instrument, symbol, base, dashed, number, right, 1)

    def _future(self, instrument: Instrument) -> RowValues:
        base = instrument.root.upper()
        compact, dashed = self._dates[instrument.expiry]
        return self._filled(instrument, f"{base}{compact}FUT", base, dashed, 0.0, "FUT", 1)

    def _spread(self, instrument: Instrument) -> RowValues:
        base = instrument.root.upper()
        compact, dashed = self._dates[instrument.expiry]
        legs = _FAR_LEG.fullmatch(instrument.broker_symbol.upper().removeprefix(base))
        far = f"{legs[2]}{legs[1]}" if legs else instrument.token
        symbol = f"{base}{compact}-{far}SPD"
        return self._filled(instrument, symbol, base, dashed, 0.0, "SPD", 0)

    def _row(
        self, instrument: Instrument, symbol: str, instrument_type: str, tradable: int = 1
    ) -> RowValues:
        """The row of something without expiry: its name is what it is called in full."""
        name = " ".join(instrument.description.split()).removesuffix(f"-{instrument.series}")
        return self._filled(instrument, symbol, name, "", 0.0, instrument_type, tradable)

    def _filled(
        self, instrument: Instrument, symbol: str, name: str, expiry: str, strike: float,
        instrument_type: str, tradable: int,
    ) -> RowValues:
        (exchange, token, kind, _, _, segment, broker_symbol, _, isin, _, _, _, tick, lot, freeze,
         multiplier, low, high) = instrument
        numbers = self._numbers
        return (
            symbol,
            broker_symbol,
            name,
            exchange._value_,
            segment,
            token,
            expiry,
            strike,
            lot,
            instrument_type,
            numbers[tick],
            freeze,
            kind._value_,
            isin,
            None if low is None else float(low),
            None if high is None else float(high),
            numbers[multiplier],
            tradable,
        )


def index_symbol(exchange: Exchange, raw: str) -> str:
    """The OpenAlgo name of an index: "NIFTY MID SELECT" is MIDCPNIFTY, "BSE 100" is BSE100."""
    squeezed = raw.upper().translate(_SEPARATORS)
    return INDEX_NAMES.get(exchange, {}).get(squeezed, squeezed)


def strike_text(strike: Decimal) -> str:
    """A strike as symbols have it: "20800" when whole, else its least decimals ("292.5")."""
    text = str(strike)
    if "E" in text:
        text = format(strike, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _with_series(instrument: Instrument) -> str:
    series = instrument.series.upper()
    return f"{instrument.root.upper()}-{series}" if series else instrument.root.upper()


def _is_debt_group(instrument: Instrument) -> bool:
    return instrument.exchange is Exchange.BSE and instrument.series in _BSE_DEBT_GROUPS


def _paper_type(instrument: Instrument) -> str:
    return "DEBT" if instrument.kind is not InstrumentKind.OTHER else "EQ"
