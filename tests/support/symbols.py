"""A master contract of a few rows, for tests of what is built on symbols."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from broker.models import Exchange, InstrumentRef
from services.errors import UnknownSymbol


@dataclass(frozen=True)
class Row:
    """The columns that the order services look at."""

    symbol: str
    exchange: str
    token: str
    lotsize: int = 1
    tick_size: Decimal = Decimal("0.05")
    freeze_qty: int | None = None
    price_low: Decimal | None = None
    price_high: Decimal | None = None
    tradable: bool = True
    multiplier: Decimal = Decimal(1)

    @property
    def ref(self) -> InstrumentRef:
        return InstrumentRef(Exchange(self.exchange), self.token)


SYMBOLS = [
    Row("INFY", "NSE", "1594", price_low=Decimal(80), price_high=Decimal(120)),
    Row("TCS", "NSE", "11536"),
    Row("SBIN", "NSE", "3045", freeze_qty=100),
    Row("NIFTY26NOVFUT", "NFO", "41000", lotsize=65, freeze_qty=1800),
    Row("BANKNIFTY26NOVFUT", "NFO", "41001", lotsize=30, freeze_qty=60),
    Row("NIFTYSPREAD", "NFO", "41002", lotsize=65, tradable=False),
    Row("CRUDEOIL26NOVFUT", "MCX", "500", lotsize=100, tick_size=Decimal(1), freeze_qty=1000),
    Row("NIFTY", "NSE_INDEX", "26000", tradable=False),
]


def ref_of(symbol: str) -> InstrumentRef:
    """The instrument of one of the rows above."""
    return next(row.ref for row in SYMBOLS if row.symbol == symbol)


class FakeSymbols:
    """Look-ups over `SYMBOLS`, one contract for every broker."""

    def __init__(self) -> None:
        self.rows = list(SYMBOLS)

    def lookup(self, broker: str, exchange: str, symbol: str) -> Row | None:
        return next(
            (row for row in self.rows if (row.exchange, row.symbol) == (exchange, symbol)), None
        )

    def require(self, broker: str, exchange: str, symbol: str) -> Row:
        found = self.lookup(broker, exchange, symbol)
        if found is None:
            raise UnknownSymbol(f"Token not found for symbol '{symbol}' on '{exchange}'.")
        return found

    def many_by_token(
        self, broker: str, refs: Iterable[InstrumentRef]
    ) -> dict[InstrumentRef, Row]:
        wanted = set(refs)
        return {row.ref: row for row in self.rows if row.ref in wanted}
