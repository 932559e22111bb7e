"""Rows of the master contract as instruments, by type and width (XTS reference §9).

Every row is judged by its own InstrumentType and its own number of fields: rows of 21, 22 and 23
columns stand in one dump, and a future read with the option's header would carry a name as its
strike. A row that fits nothing becomes a `BadRow`; it never stops the others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial
from operator import itemgetter
from typing import TypeVar

from broker.errors import ProtocolError
from broker.models import BadRow, Instrument, InstrumentKind, OptionType
from broker.xts import wire
from broker.xts.profile import Segment
from broker.xts.values import identifier

_TEST_NAME = "NSETEST"
_NONE_MARKS = frozenset({"", "undefined", "null", "NaN"})
_INDEX_TICK = Decimal("0.05")
_ONE = Decimal(1)
_MAX_TEXT = 300  # characters of a bad row that are kept for the report
_CACHE_SIZE = 50_000
_new_tuple = tuple.__new__
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")

# Columns that every generation and kind shares, without and with Multiplier (§9.1, §9.5).
_NAME, _DESCRIPTION, _SERIES = 3, 4, 5
_HIGH, _LOW, _FREEZE, _TICK, _LOT, _MULTIPLIER = 8, 9, 10, 11, 12, 13

_DERIVATIVE_KINDS = frozenset({InstrumentKind.FUTURE, InstrumentKind.OPTION, InstrumentKind.SPREAD})


class _Layout:
    """Where a row of one type and width keeps what varies. -1: it has no such column.

    `generation` is the year since which servers write it so; `terms` takes from a row the texts
    of tick, lot and freeze quantity, then those of multiplier, price numerator and denominator as
    far as it has them.
    """

    __slots__ = (
        "describe",
        "expiry",
        "generation",
        "isin",
        "kind",
        "option_type",
        "strike",
        "terms",
    )

    def __init__(
        self,
        kind: InstrumentKind,
        generation: int,
        *,
        multiplier: int = _MULTIPLIER,
        isin: int = -1,
        numerator: int = -1,
        describe: int = _DESCRIPTION,
        expiry: int = -1,
        strike: int = -1,
    ) -> None:
        self.kind = kind
        self.generation = generation
        self.isin = isin
        self.describe = describe
        self.expiry = expiry
        self.strike = strike
        self.option_type = strike + 1
        columns = [_TICK, _LOT, _FREEZE]
        if multiplier > 0:
            columns.append(multiplier)
        if numerator > 0:
            columns += [numerator, numerator + 1]
        self.terms: Callable[[list[str]], tuple[str, ...]] = itemgetter(*columns)


def _layouts() -> dict[tuple[str, int], _Layout]:
    """Layout by (InstrumentType, number of fields); §9.1-§9.3, older generations §9.5."""
    table: dict[tuple[str, int], _Layout] = {}
    for number, kind in wire.KINDS.items():
        if kind is InstrumentKind.OPTION:
            table[number, 23] = _Layout(kind, 2024, numerator=20, describe=19, expiry=16, strike=17)
            table[number, 21] = _Layout(kind, 2023, describe=19, expiry=16, strike=17)
            table[number, 18] = _Layout(kind, 2019, multiplier=-1, expiry=15, strike=16)
        elif kind in _DERIVATIVE_KINDS:
            table[number, 21] = _Layout(kind, 2024, numerator=18, describe=17, expiry=16)
            table[number, 19] = _Layout(kind, 2023, describe=17, expiry=16)
            table[number, 18] = _Layout(kind, 2019, multiplier=-1, expiry=15)
        else:
            table[number, 22] = _Layout(kind, 2024, isin=15, numerator=16, describe=18)
            table[number, 19] = _Layout(kind, 2023, isin=15, numerator=16, describe=18)
            table[number, 13] = _Layout(kind, 2019, multiplier=-1)
    table["16", 18] = _Layout(InstrumentKind.SPOT, 2024, multiplier=-1)  # MCX spot, §9.4
    return table


_LAYOUTS = _layouts()
_WIDTHS = {number: sorted(w for t, w in _LAYOUTS if t == number) for number in wire.KINDS}


class _Reason(ValueError):
    """Why a row can't be read."""


class _Known(dict[_Key, _Value]):
    """What texts that repeat mean, each read once. Emptied when it is full."""

    def __init__(self, read: Callable[[_Key], _Value]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, key: _Key) -> _Value:
        value = self._read(key)
        if len(self) >= _CACHE_SIZE:
            self.clear()
        self[key] = value
        return value


class RowReader:
    """Reads the rows of one segment; keeps small caches of the texts that repeat.

    The newest generation that the dump has shown is the dump's: a row of an older width is then a
    row that lost columns, and not read.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._heads = frozenset({segment.name, str(segment.number)})
        self._prices = _Known(partial(_decimal, "price band"))
        self._strikes = _Known(partial(_positive, "strike"))
        self._dates = _Known(_date)
        self._option_types = _Known(_option_type)
        self._terms = _Known(partial(_terms, segment.freeze_plus_one))
        self._generation = 0
        self._lines = 0

    def read(self, texts: list[str]) -> list[Instrument | BadRow]:
        """The next rows, but blank ones and the exchange's test scrips."""
        found: list[Instrument | BadRow] = []
        read_row = self._row
        line = self._lines
        for text in texts:
            line += 1
            try:
                instrument = read_row(text)
            except ValueError as exc:
                found.append(BadRow(self._segment.name, line, text[:_MAX_TEXT], str(exc)))
                continue
            if instrument is not None:
                found.append(instrument)
        self._lines = line
        return found

    def _row(self, text: str) -> Instrument | None:
        cells = text.rstrip("\r").split("|")
        width = len(cells)
        if width < 3:
            if not text.strip():
                return None
            raise _Reason(f"{width} columns")
        layout = _LAYOUTS.get((cells[2], width))
        if layout is None:
            raise _unfit(cells[2], width)
        if layout.generation != self._generation:
            if layout.generation < self._generation:
                raise _Reason(f"{width} columns, fewer than the rows before")
            self._generation = layout.generation
        if cells[0] not in self._heads:
            raise _Reason(f"a row of segment {cells[0][:20]!r}")
        root = cells[_NAME].strip()
        if _TEST_NAME in root:
            return None
        if not root or "\ufffd" in text:
            raise _Reason("no readable name")
        token = cells[1]
        if not (token.isdigit() and token.isascii()):
            raise _Reason(f"token {token[:20]!r} is not a number")
        tick, lot_size, freeze, multiplier = self._terms[layout.terms(cells)]
        expiry = strike = option_type = None
        if layout.expiry > 0:
            expiry = self._dates[cells[layout.expiry]]
            if layout.strike > 0:
                strike = self._strikes[cells[layout.strike]]
                option_type = self._option_types[cells[layout.option_type]]
        low, high = self._band(cells[_LOW], cells[_HIGH])
        segment = self._segment
        return _new_tuple(Instrument, (  # what Instrument(...) does, in half the time
            segment.exchange,
            token,
            layout.kind,
            root,
            cells[_SERIES],
            segment.name,
            cells[_DESCRIPTION],
            cells[layout.describe],
            cells[layout.isin] if layout.isin > 0 else "",
            expiry,
            strike,
            option_type,
            tick,
            lot_size,
            freeze,
            multiplier,
            low,
            high,
        ))

    def _band(self, low: str, high: str) -> tuple[Decimal | None, Decimal | None]:
        """The day's price band; None where the row gives none. Spreads have negative prices."""
        if low in _NONE_MARKS or high in _NONE_MARKS or (low == high == "0"):
            return None, None
        return self._prices[low], self._prices[high]


def _terms(
    freeze_plus_one: bool, texts: tuple[str, ...]
) -> tuple[Decimal, int, int | None, Decimal]:
    """Tick, lot, freeze quantity and multiplier: the same for all contracts of one name."""
    tick, lot, freeze, own, over, under = (*texts, "1", "1", "1")[:6]
    lot_size = _whole("lot size", lot)
    if lot_size < 1:
        raise _Reason(f"lot size {lot!r}")
    tick_size = _positive("tick size", tick)
    multiplier = _multiplier(own, over, under)
    return tick_size, lot_size, _freeze(freeze, freeze_plus_one), multiplier


def _decimal(what: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise _Reason(f"{what} {text[:20]!r} is not a number") from None
    if not value.is_finite():
        raise _Reason(f"{what} {text[:20]!r} is not a number")
    return value


def _positive(what: str, text: str) -> Decimal:
    value = _decimal(what, text)
    if value <= 0:
        raise _Reason(f"{what} {text!r}")
    return value


def _whole(what: str, text: str) -> int:
    if text.isdigit():
        return int(text)
    value = _decimal(what, text)
    if value != value.to_integral_value():
        raise _Reason(f"{what} {text[:20]!r} is not whole")
    return int(value)


def _date(text: str) -> date:
    """The date part alone: the time is cosmetic (§9.4)."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise _Reason(f"expiry {text[:20]!r} is not a date") from None


def _option_type(text: str) -> OptionType:
    found = wire.OPTION_TYPES.get(text)
    if found is None:
        raise _Reason(f"option type {text[:20]!r}")
    return found


def _freeze(text: str, plus_one: bool) -> int | None:
    """The largest quantity of one order; None where the row gives none (§5.5)."""
    if text == "0" or text in _NONE_MARKS:
        return None
    value = _whole("freeze quantity", text)
    if plus_one:
        value -= 1
    return value if value > 0 else None


def _multiplier(own: str, over: str, under: str) -> Decimal:
    """Rupees by which one unit's value moves with a price of one (§9.4)."""
    value = _ONE if own == "1" else _decimal("multiplier", own)
    if over != under:
        divisor = _decimal("price denominator", under)
        if not divisor:
            raise _Reason("price denominator 0")
        value = value * _decimal("price numerator", over) / divisor
    if value <= 0:
        raise _Reason(f"multiplier {own[:20]!r}")
    return value


def _unfit(kind: str, width: int) -> _Reason:
    known = _WIDTHS.get(kind)
    if known is None:
        return _Reason(f"instrument type {kind[:20]!r} is unknown")
    return _Reason(f"{width} columns, where type {kind} has {' or '.join(map(str, known))}")


def indices_from(result: object, segment: Segment) -> Iterator[Instrument | BadRow]:
    """The index list of a segment (§8.3): `NAME_ID`, cut at the last underscore."""
    listed = result.get("indexList") if isinstance(result, dict) else None
    if not isinstance(listed, list):
        raise ProtocolError("The broker's index list is not a list.")
    for line, item in enumerate(listed, start=1):
        name, _, token = str(item).rpartition("_")
        name = name.strip()
        try:
            if not name:
                raise _Reason("no name")
            yield _index(segment, name, identifier(token))
        except ValueError as exc:
            yield BadRow(segment.name, line, str(item)[:_MAX_TEXT], str(exc))


def _index(segment: Segment, name: str, token: str) -> Instrument:
    return Instrument(
        exchange=segment.exchange,
        token=token,
        kind=InstrumentKind.INDEX,
        root=name,
        series="INDEX",
        broker_segment=segment.name,
        broker_symbol=name,
        description=name,
        isin="",
        expiry=None,
        strike=None,
        option_type=None,
        tick_size=_INDEX_TICK,
        lot_size=1,
        freeze_quantity=None,
        multiplier=_ONE,
        price_low=None,
        price_high=None,
    )
