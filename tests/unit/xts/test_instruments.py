"""Rows of the master contract, every type and width (XTS reference §9)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProtocolError
from broker.models import BadRow, Exchange, Instrument, InstrumentKind, OptionType
from broker.xts.instruments import RowReader, indices_from
from broker.xts.profile import INDEX_SEGMENTS, Segment, usual_segments
from tests.support.xts import (
    ROW_BSE_EQUITY,
    ROW_BSE_OPTION,
    ROW_FUTURE,
    ROW_NSE_EQUITY,
    ROW_OPTION,
    ROW_SPREAD,
)

SEGMENTS = {segment.name: segment for segment in usual_segments()}


def read(*rows: str, segment: str = "") -> list[Instrument | BadRow]:
    name = segment or rows[0].partition("|")[0]
    return RowReader(SEGMENTS[name]).read(list(rows))


def good(row: str, segment: str = "") -> Instrument:
    (found,) = read(row, segment=segment)
    assert isinstance(found, Instrument), found
    return found


def bad(row: str, segment: str = "NSEFO") -> str:
    (found,) = read(row, segment=segment)
    assert isinstance(found, BadRow), found
    assert found.line == 1
    return found.reason


def change(row: str, **columns: str) -> str:
    cells = row.split("|")
    for column, value in columns.items():
        cells[int(column.removeprefix("c"))] = value
    return "|".join(cells)


def test_an_nse_equity_of_22_columns() -> None:
    assert good(ROW_NSE_EQUITY) == Instrument(
        exchange=Exchange.NSE,
        token="12018",
        kind=InstrumentKind.EQUITY,
        root="SUZLON",
        series="EQ",
        broker_segment="NSECM",
        broker_symbol="SUZLON-EQ",
        description="SUZLON ENERGY LIMITED-EQ",
        isin="INE040H01021",
        expiry=None,
        strike=None,
        option_type=None,
        tick_size=Decimal("0.01"),
        lot_size=1,
        freeze_quantity=1596737,
        multiplier=Decimal(1),
        price_low=Decimal("59.1"),
        price_high=Decimal("65.33"),
    )


def test_a_bse_equity_without_a_freeze_quantity() -> None:
    found = good(ROW_BSE_EQUITY)
    assert (found.exchange, found.series, found.freeze_quantity) == (Exchange.BSE, "B", None)


def test_a_future_of_21_columns() -> None:
    found = good(ROW_FUTURE)
    assert (found.kind, found.root, found.expiry) == (
        InstrumentKind.FUTURE,
        "CDSL",
        date(2025, 2, 27),
    )
    assert (found.strike, found.option_type) == (None, None), "no display name in the strike"
    assert found.description == "CDSL 27FEB2025"
    assert found.freeze_quantity == 14000, "NSEFO shows the limit plus one"
    assert found.lot_size == 350


def test_a_spread_is_its_own_kind_under_its_own_name() -> None:
    found = good(ROW_SPREAD)
    assert found.kind is InstrumentKind.SPREAD
    assert (found.price_low, found.price_high) == (Decimal("-2344.15"), Decimal("3906.95"))
    assert found.freeze_quantity == 500, "BSEFO shows the limit itself"
    assert found.expiry == date(2025, 1, 14)


def test_options_of_23_columns() -> None:
    put, call = good(ROW_OPTION), good(ROW_BSE_OPTION)
    assert (put.strike, put.option_type, put.expiry) == (
        Decimal(335),
        OptionType.PE,
        date(2026, 1, 27),
    )
    assert put.freeze_quantity == 112500
    assert (call.strike, call.option_type) == (Decimal(84700), OptionType.CE)
    assert call.description == "SENSEX 03JAN2025 CE 84700"
    assert good(change(ROW_OPTION, c17="17.5")).strike == Decimal("17.5")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("8", InstrumentKind.EQUITY),
        ("16", InstrumentKind.SPOT),
        ("32", InstrumentKind.OTHER),
        ("64", InstrumentKind.DEBT),
        ("128", InstrumentKind.OTHER),
        ("256", InstrumentKind.OTHER),
        ("512", InstrumentKind.FUND),
    ],
)
def test_every_type_of_the_cash_market(number: str, kind: InstrumentKind) -> None:
    assert good(change(ROW_NSE_EQUITY, c2=number)).kind is kind


def test_names_with_digits_dashes_and_ampersands() -> None:
    for name in ("M&M", "BAJAJ-AUTO", "726GS2033", "NIFTYNXT50", "3MINDIA"):
        assert good(change(ROW_NSE_EQUITY, c3=name)).root == name


def test_a_segment_may_be_a_number() -> None:
    assert good(change(ROW_NSE_EQUITY, c0="1"), segment="NSECM").broker_segment == "NSECM"


def test_older_generations_are_understood() -> None:
    cells = ROW_NSE_EQUITY.split("|")
    assert good("|".join(cells[:19])).isin == "INE040H01021"
    assert good("|".join(cells[:13])).token == "12018"
    future = ROW_FUTURE.split("|")
    assert good("|".join(future[:19])).expiry == date(2025, 2, 27)
    option = ROW_OPTION.split("|")
    assert good("|".join(option[:21])).strike == Decimal(335)
    first = future[:13] + future[14:17]
    assert good("|".join([*first, "undefined", "undefined"])).expiry == date(2025, 2, 27)
    second = option[:13] + option[14:17]
    found = good("|".join([*second, "335", "4"]))
    assert (found.strike, found.option_type, found.multiplier) == (335, OptionType.PE, 1)


def test_the_commodity_spot_row_of_18_columns() -> None:
    row = "|".join(change(ROW_FUTURE, c0="MCXFO", c2="16").split("|")[:18])
    assert good(row, segment="MCXFO").kind is InstrumentKind.SPOT


def test_a_row_that_lost_columns_is_no_older_generation() -> None:
    cut = "|".join(ROW_NSE_EQUITY.split("|")[:19])
    found = read(ROW_NSE_EQUITY, cut)
    assert isinstance(found[1], BadRow)
    assert "19 columns" in found[1].reason


def test_test_scrips_and_blank_lines_are_dropped() -> None:
    assert read(change(ROW_FUTURE, c3="061NSETEST"), "", "  ") == []


def test_a_carriage_return_is_no_column() -> None:
    assert good(ROW_OPTION + "\r").description == good(ROW_OPTION).description


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (change(ROW_FUTURE, c1="NaN"), "token"),
        (change(ROW_FUTURE, c1=""), "token"),
        (change(ROW_FUTURE, c1="١٢"), "token"),
        (change(ROW_FUTURE, c2="2"), "expiry|option type|strike|columns"),
        (change(ROW_FUTURE, c2="77"), "unknown"),
        (change(ROW_FUTURE, c2=""), "unknown"),
        (change(ROW_FUTURE, c3=""), "name"),
        (change(ROW_FUTURE, c3="CDS\ufffd"), "name"),
        (change(ROW_FUTURE, c0="NSECM"), "segment"),
        (change(ROW_FUTURE, c8="x"), "price band"),
        (change(ROW_FUTURE, c10="x"), "freeze"),
        (change(ROW_FUTURE, c10="1.5"), "whole"),
        (change(ROW_FUTURE, c11="0"), "tick"),
        (change(ROW_FUTURE, c11="NaN"), "tick"),
        (change(ROW_FUTURE, c12="0"), "lot"),
        (change(ROW_FUTURE, c12="-5"), "lot"),
        (change(ROW_FUTURE, c12="x"), "lot"),
        (change(ROW_FUTURE, c13="0"), "multiplier"),
        (change(ROW_FUTURE, c16="soon"), "expiry"),
        (change(ROW_FUTURE, c18="2", c19="0"), "denominator"),
        (change(ROW_OPTION, c17="dear"), "strike"),
        (change(ROW_OPTION, c17="-1"), "strike"),
        (change(ROW_OPTION, c18="1"), "option type"),
        (ROW_FUTURE + "|x", "22 columns"),
        ("garbage", "1 columns"),
        ("a|b", "2 columns"),
    ],
)
def test_a_bad_row_says_why_and_stops_nobody(row: str, reason: str) -> None:
    assert any(part in bad(row) for part in reason.split("|"))
    assert isinstance(read(row, ROW_OPTION, segment="NSEFO")[-1], Instrument)


def test_bad_rows_keep_their_line_and_a_bounded_text() -> None:
    reader = RowReader(SEGMENTS["NSEFO"])
    found = [*reader.read([ROW_FUTURE, "x" * 5000]), *reader.read([ROW_OPTION, "y"])]
    wrong = [row for row in found if isinstance(row, BadRow)]
    assert [(row.line, len(row.text)) for row in wrong] == [(2, 300), (4, 1)]


def test_rows_mean_the_same_whatever_was_read_before_them() -> None:
    rows = [
        ROW_FUTURE,
        ROW_OPTION,
        change(ROW_FUTURE, c18="2", c19="0"),
        change(ROW_FUTURE, c8="0", c9="-12.5"),
        change(ROW_FUTURE, c8="x"),
        change(ROW_OPTION, c17="0.05", c9="335", c8="NaN"),
        change(ROW_OPTION, c10="NaN"),
        change(ROW_FUTURE, c13="5"),
    ]
    alone = [read(row)[0] for row in rows]
    wanted = [
        row._replace(line=place) if isinstance(row, BadRow) else row
        for place, row in enumerate([*alone, *alone], start=1)
    ]
    assert read(*rows, *rows) == wanted


def test_value_per_point_of_currency_and_commodities() -> None:
    row = change(ROW_FUTURE, c13="1000", c18="1", c19="100")
    assert good(row).multiplier == Decimal(10)
    assert good(change(ROW_FUTURE, c13="629.2")).multiplier == Decimal("629.2")
    assert good(change(ROW_FUTURE, c18="5", c19="5")).multiplier == 1


def test_numbers_written_as_decimals() -> None:
    found = good(change(ROW_FUTURE, c10="14001.0", c12="350.0"))
    assert (found.freeze_quantity, found.lot_size) == (14000, 350)


@pytest.mark.parametrize("text", ["0", "", "1", "undefined"])
def test_a_freeze_quantity_of_none(text: str) -> None:
    assert good(change(ROW_FUTURE, c10=text)).freeze_quantity is None


def test_a_price_band_of_none() -> None:
    for low, high in (("0", "0"), ("", ""), ("NaN", "5")):
        found = good(change(ROW_FUTURE, c8=high, c9=low))
        assert (found.price_low, found.price_high) == (None, None)


def test_a_full_cache_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.xts.instruments._CACHE_SIZE", 10)
    rows = [change(ROW_OPTION, c17=str(strike)) for strike in range(1, 40)]
    found = read(*rows)
    assert [row.strike for row in found if isinstance(row, Instrument)] == list(range(1, 40))


name = st.from_regex(r"[A-Z0-9][A-Z0-9&-]{0,11}", fullmatch=True).filter(
    lambda text: "NSETEST" not in text
)


@given(
    root=name,
    token=st.integers(1, 10**9),
    strike=st.decimals("0.05", 200000, places=2),
    expiry=st.dates(date(2025, 1, 1), date(2035, 1, 1)),
    lot=st.integers(1, 10000),
    freeze=st.integers(2, 10**6),
    call=st.booleans(),
)
def test_an_option_s_row_goes_round(
    root: str, token: int, strike: Decimal, expiry: date, lot: int, freeze: int, call: bool
) -> None:
    row = change(
        ROW_OPTION,
        c1=str(token),
        c3=root,
        c10=str(freeze),
        c12=str(lot),
        c16=f"{expiry.isoformat()}T14:30:00",
        c17=str(strike),
        c18="3" if call else "4",
    )
    found = good(row)
    assert (found.root, found.token, found.strike, found.expiry, found.lot_size) == (
        root,
        str(token),
        strike,
        expiry,
        lot,
    )
    assert found.option_type is (OptionType.CE if call else OptionType.PE)
    assert found.freeze_quantity == freeze - 1


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert all(isinstance(row, BadRow) for row in read(text, segment="NSEFO"))


# Indices ---------------------------------------------------------------------------------------


def test_the_index_list_is_cut_at_the_last_underscore() -> None:
    result = {"exchangeSegment": "1", "indexList": ["NIFTY 50_26000", "A_B_26001", "BAD", "_7", 5]}
    found = list(indices_from(result, INDEX_SEGMENTS[0]))
    rows = [row for row in found if isinstance(row, Instrument)]
    assert [(row.root, row.token, row.exchange) for row in rows] == [
        ("NIFTY 50", "26000", Exchange.NSE_INDEX),
        ("A_B", "26001", Exchange.NSE_INDEX),
    ]
    assert rows[0].kind is InstrumentKind.INDEX
    assert [row.line for row in found if isinstance(row, BadRow)] == [3, 4, 5]


@pytest.mark.parametrize("result", [{}, [], {"indexList": "x"}])
def test_an_index_list_of_another_shape_raises(result: object) -> None:
    with pytest.raises(ProtocolError):
        list(indices_from(result, INDEX_SEGMENTS[0]))


def test_all_segments_know_their_exchange() -> None:
    segment = Segment(Exchange.CDS, "NSECD", 3)
    found = RowReader(segment).read([change(ROW_FUTURE, c0="NSECD")])
    assert isinstance(found[0], Instrument)
    assert found[0].exchange is Exchange.CDS
