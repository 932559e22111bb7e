"""The symbol endpoints and search: instrument objects made from master rows (§8.7)."""

from __future__ import annotations

from datetime import date
from typing import Any

from simulator.market.catalog import Catalog
from simulator.market.instruments import Instrument, parse
from simulator.market.rows import plain

OPTION_NAMES = {3: "CE", 4: "PE"}


def document(instrument: Instrument, today: date) -> dict[str, Any]:
    """The instrument object of `symbol`, `futureSymbol`, `optionsymbol` and search."""
    high, low = f"{instrument.high:.2f}", f"{instrument.low:.2f}"
    made: dict[str, Any] = {
        "ExchangeSegment": instrument.number,
        "ExchangeInstrumentID": instrument.token,
        "InstrumentType": instrument.kind,
        "Name": instrument.name,
        "DisplayName": instrument.display,
        "Description": instrument.description,
        "Series": instrument.series,
        "NameWithSeries": f"{instrument.name}-{instrument.series}",
        "InstrumentID": instrument.instrument_id,
        "PriceBand": {
            "High": instrument.high,
            "Low": instrument.low,
            "HighString": high,
            "LowString": low,
            "CreditRating": f"{low}-{high}",
            "HighExecBandString": "0.00",
            "LowExecBandString": "0.00",
            "HighExecBand": 0,
            "LowExecBand": 0,
            "TERRange": "0.00-0.00",
        },
        "FreezeQty": instrument.freeze,
        "TickSize": instrument.tick,
        "LotSize": instrument.lot,
    }
    if instrument.expiry is None:
        made["ISIN"] = instrument.isin
        made["CompanyName"] = instrument.display
        return made
    made.update(
        UnderlyingInstrumentId=int(instrument.underlying_id or -1),
        UnderlyingIndexName=instrument.underlying_name,
        ContractExpiration=instrument.expiry_text,
        ContractExpirationString=instrument.expiry.strftime("%d%b%Y"),
        RemainingExpiryDays=(instrument.expiry - today).days,
        StrikePrice=instrument.strike,
        OptionType=instrument.option_type,
    )
    return made


def full_document(instrument: Instrument, today: date, close: float) -> dict[str, Any]:
    """The wider object of `search/instrumentsbyid`."""
    return {
        **document(instrument, today),
        "ISIN": instrument.isin,
        "Multiplier": instrument.multiplier,
        "PriceNumerator": 1,
        "PriceDenominator": 1,
        "AuctionNumber": 0,
        "MinimumQty": instrument.lot,
        "QuantityMultiplier": 1,
        "FiftyTwoWeekHigh": round(close * 1.2, 2),
        "FiftyTwoWeekLow": round(close * 0.8, 2),
        "Bhavcopy": {
            "Open": close,
            "High": close,
            "Low": close,
            "Close": close,
            "TotTrdQty": 0,
            "TotTrdVal": 0,
        },
    }


class Symbols:
    """Reads the master for the symbol endpoints; rarely used, so it scans."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def series(self, segment: str) -> list[str]:
        """All series codes of a segment."""
        store = self._catalog.segments.get(segment)
        if store is None:
            return []
        return sorted({row.split("|", 6)[5] for row in store.rows()})

    def matching(
        self,
        segment: str,
        series: str,
        symbol: str,
        expiry: date | None = None,
        option_type: str = "",
        strike: str = "",
    ) -> list[Instrument]:
        """Instruments of a series and name, narrowed by what is given."""
        store = self._catalog.segments.get(segment)
        if store is None:
            return []
        needle = f"|{symbol}-{series}|".encode()
        found: list[Instrument] = []
        for row in store.find_all(needle, len(store)):
            instrument = parse(row)
            if instrument.name != symbol or instrument.series != series:
                continue
            if expiry is not None and instrument.expiry != expiry:
                continue
            if option_type and OPTION_NAMES.get(instrument.option_type) != option_type:
                continue
            if strike and plain(instrument.strike) != plain(float(strike)):
                continue
            found.append(instrument)
        return found

    def search(self, text: str, limit: int = 200) -> list[Instrument]:
        """Instruments whose name or description contains the text, any case."""
        words = text.upper().split()
        if not words:
            return []
        found: list[Instrument] = []
        for store in self._catalog.segments.values():
            for row in store.find_all(words[0].encode(), 20_000):
                upper = row.upper()
                if all(word in upper for word in words):
                    found.append(parse(row))
                    if len(found) >= limit:
                        return found
        return found
