"""Instruments and symbol rows for tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from broker.models import Exchange, Instrument, InstrumentKind, OptionType
from database.engine import Database
from database.symbol_import import open_import
from database.symbol_rows import SymbolRow
from services.symbol_names import SymbolNamer

_BASIS = Instrument(
    exchange=Exchange.NSE, token="1", kind=InstrumentKind.EQUITY, root="SBIN", series="EQ",
    broker_segment="NSECM", broker_symbol="SBIN-EQ", description="STATE BANK OF INDIA-EQ",
    isin="INE062A01020", expiry=None, strike=None, option_type=None, tick_size=Decimal("0.05"),
    lot_size=1, freeze_quantity=None, multiplier=Decimal(1), price_low=Decimal("700.1"),
    price_high=Decimal("900.05"),
)


def share(root: str, series: str = "EQ", token: str = "1", **changes: Any) -> Instrument:
    made = _BASIS._replace(
        root=root, series=series, token=token, broker_symbol=f"{root}-{series}",
        description=f"{root} LIMITED-{series}",
    )
    return made._replace(**changes)


def future(root: str, expiry: date, token: str = "35", **changes: Any) -> Instrument:
    made = _BASIS._replace(
        exchange=Exchange.NFO, kind=InstrumentKind.FUTURE, root=root, series="FUTSTK",
        broker_segment="NSEFO", broker_symbol=f"{root}{expiry:%y%b}FUT".upper(), isin="",
        description=f"{root} {expiry:%d%b%Y}".upper(), expiry=expiry, token=token, lot_size=65,
        freeze_quantity=1800,
    )
    return made._replace(**changes)


def option(
    root: str, expiry: date, strike: str, right: str = "CE", token: str = "36", **changes: Any
) -> Instrument:
    made = future(root, expiry, token)._replace(
        kind=InstrumentKind.OPTION, strike=Decimal(strike), option_type=OptionType(right),
        broker_symbol=f"{root}{strike}{right}",
    )
    return made._replace(**changes)


def index(exchange: Exchange, name: str, token: str = "26000") -> Instrument:
    return _BASIS._replace(
        exchange=exchange, kind=InstrumentKind.INDEX, root=name, series="INDEX", token=token,
        broker_symbol=name, description=name, isin="", price_low=None, price_high=None,
    )


def rows_of(instruments: Iterable[Instrument]) -> list[SymbolRow]:
    namer = SymbolNamer()
    named = [row for row in map(namer.name, instruments) if row is not None]
    return [SymbolRow._make(row) for row in [*named, *namer.rest()]]


def load(database: Database, instruments: Iterable[Instrument], broker: str = "jainam_prop") -> int:
    """Import the instruments as the broker's whole contract; the generation."""
    url = database.symbols_url.render_as_string(hide_password=False)
    run = open_import(url, broker)
    try:
        run.stage(rows_of(instruments))
        run.settle()
        return run.publish()
    finally:
        run.close()
