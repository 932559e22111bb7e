"""Rows of the master contract as instruments, by type and width (XTS reference §9).

Every row is judged by its own InstrumentType and its own number of fields: rows of 21, 22 and 23
columns stand in one dump, and a future read with the option's header would carry a name as its
strike. A row that fits nothing becomes a `BadRow`; it never stops the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal, InvalidOperation

from broker.errors import ProtocolError
from broker.models import BadRow, Instrument, InstrumentKind, OptionType
from broker.xts import wire
from broker.xts.profile import Segment
from broker.xts.values import identifier

_TEST_NAME = "NSETEST"
_NONE_MARKS = ("", "undefined", "null", "NaN")
_INDEX_TICK = Decimal("0.05")
_ONE = Decimal(1)
_MAX_TEXT = 300  # characters of a bad row that are kept for the report
_CACHE_SIZE = 50_000
_new_tuple = tuple.__new__

# Columns that every generation and kind shares, without and with Multiplier (§9.1, §9.5).
_NAME, _DESCRIPTION, _SERIES = 3, 4, 5
_HIGH, _LOW, _FREEZE, _TICK, _LOT, _MULTIPLIER = 8, 9, 10, 11, 12, 13

_DERIVATIVE_KINDS = frozenset({InstrumentKind.FUTURE, InstrumentKind.OPTION, InstrumentKind.SPREAD})


class _Layout:
    """Where a row of one type and width keeps what varies. -1: it has no such column.

    `generation` is the year since which servers write it so.
    """

    __slots__ = (
        "denominator",
        "describe",
        "expiry",
        "generation",
        "isin",
        "kind",
        "multiplier",
        "numerator",
        "option_type",
        "strike",
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
        self.multiplier = multiplier
        self.isin = isin
        self.numerator = numerator
        self.denominator = numerator + 1
        self.describe = describe
        self.expiry = expiry
        self.strike = strike
        self.option_type = strike + 1


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


class RowReader:
    """Reads the rows of one segment; keeps small caches of the texts that repeat.

    The newest generation that the dump has shown is the dump's: a row of an older width is then a
    row that lost columns, and not read.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._heads = frozenset({segment.name, str(segment.number)})
        self._decimals: dict[str, Decimal] = {}
        self._dates: dict[str, date] = {}
        self._terms: dict[tuple[str, ...], tuple[Decimal, int, int | None, Decimal]] = {}
        self._generation = 0

    def read(self, runs: Iterable[list[str]]) -> Iterator[Instrument | BadRow]:
        """Every row but blank ones and the exchange's test scrips."""
        line = 0
        read_row = self._row
        for run in runs:
            for text in run:
                line += 1
                try:
                    instrument = read_row(text)
                except ValueError as exc:
                    yield BadRow(self._segment.name, line, text[:_MAX_TEXT], str(exc))
                    continue
                if instrument is not None:
                    yield instrument

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
        tick, lot_size, freeze, multiplier = self._terms_of(cells, layout)
        kind = layout.kind
        expiry: date | None = None
        strike: Decimal | None = None
        option_type: OptionType | None = None
        if layout.expiry > 0:
            expiry = self._date(cells[layout.expiry])
            if kind is InstrumentKind.OPTION:
                strike = self._decimal(cells[layout.strike], "strike")
                option_type = wire.OPTION_TYPES.get(cells[layout.option_type])
                if option_type is None:
                    raise _Reason(f"option type {cells[layout.option_type][:20]!r}")
                if strike <= 0:
                    raise _Reason(f"strike {cells[layout.strike]!r}")
        low, high = self._band(cells[_LOW], cells[_HIGH])
        segment = self._segment
        return _new_tuple(Instrument, (  # what Instrument(...) does, in half the time
            segment.exchange,
            token,
            kind,
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

    def _terms_of(
        self, cells: list[str], layout: _Layout
    ) -> tuple[Decimal, int, int | None, Decimal]:
        """Tick, lot, freeze quantity and multiplier: the same for all contracts of one name."""
        over, under = "1", "1"
        if layout.numerator > 0:
            over, under = cells[layout.numerator], cells[layout.denominator]
        own = cells[layout.multiplier] if layout.multiplier > 0 else "1"
        key = (cells[_TICK], cells[_LOT], cells[_FREEZE], own, over, under)
        known = self._terms.get(key)
        if known is not None:
            return known
        lot = cells[_LOT]
        lot_size = self._whole(lot, "lot size")
        if lot_size < 1:
            raise _Reason(f"lot size {lot!r}")
        tick = self._decimal(cells[_TICK], "tick size")
        if tick <= 0:
            raise _Reason(f"tick size {cells[_TICK]!r}")
        multiplier = self._multiplier(own, over, under)
        terms = tick, lot_size, self._freeze(cells[_FREEZE]), multiplier
        if len(self._terms) >= _CACHE_SIZE:
            self._terms.clear()
        self._terms[key] = terms
        return terms

    def _decimal(self, text: str, what: str) -> Decimal:
        known = self._decimals.get(text)
        if known is not None:
            return known
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise _Reason(f"{what} {text[:20]!r} is not a number") from None
        if not value.is_finite():
            raise _Reason(f"{what} {text[:20]!r} is not a number")
        if len(self._decimals) >= _CACHE_SIZE:
            self._decimals.clear()
        self._decimals[text] = value
        return value

    def _whole(self, text: str, what: str) -> int:
        if text.isdigit():
            return int(text)
        value = self._decimal(text, what)
        if value != value.to_integral_value():
            raise _Reason(f"{what} {text[:20]!r} is not whole")
        return int(value)

    def _date(self, text: str) -> date:
        """The date part alone: the time is cosmetic (§9.4)."""
        known = self._dates.get(text)
        if known is not None:
            return known
        try:
            value = date.fromisoformat(text[:10])
        except ValueError:
            raise _Reason(f"expiry {text[:20]!r} is not a date") from None
        self._dates[text] = value
        return value

    def _band(self, low: str, high: str) -> tuple[Decimal | None, Decimal | None]:
        """The day's price band; None where the row gives none. Spreads have negative prices."""
        if low in _NONE_MARKS or high in _NONE_MARKS or (low == high == "0"):
            return None, None
        return self._decimal(low, "price band"), self._decimal(high, "price band")

    def _freeze(self, text: str) -> int | None:
        """The largest quantity of one order; None where the row gives none (§5.5)."""
        if text == "0" or text in _NONE_MARKS:
            return None
        value = self._whole(text, "freeze quantity")
        if self._segment.freeze_plus_one:
            value -= 1
        return value if value > 0 else None

    def _multiplier(self, own: str, over: str, under: str) -> Decimal:
        """Rupees by which one unit's value moves with a price of one (§9.4)."""
        value = _ONE if own == "1" else self._decimal(own, "multiplier")
        if over != under:
            divisor = self._decimal(under, "price denominator")
            if not divisor:
                raise _Reason("price denominator 0")
            value = value * self._decimal(over, "price numerator") / divisor
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
