"""One row of `symbol_token` on its way into and out of the database; imports nothing heavy."""

from __future__ import annotations

from typing import Any, NamedTuple


class SymbolRow(NamedTuple):
    """A row of the master contract under its OpenAlgo symbol (REST reference §3).

    A named tuple in the order of the columns. `expiry` is "DD-MMM-YY" or "", `strike` 0 without
    one; `tick_size`, `strike` and the price band are rupees, `lotsize` and `freeze_qty` units;
    `tradable` is 1, or 0 for what can only be looked at.
    """

    symbol: str
    brsymbol: str
    name: str
    exchange: str
    brexchange: str
    token: str
    expiry: str
    strike: float
    lotsize: int
    instrumenttype: str
    tick_size: float
    freeze_qty: int | None
    kind: str
    isin: str
    price_low: float | None
    price_high: float | None
    multiplier: float
    tradable: int


RowValues = tuple[Any, ...]
"""A `SymbolRow` without its names, as a contract's rows are: it is made and bound much faster."""

FIELDS = SymbolRow._fields
