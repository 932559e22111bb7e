"""Every kind and series of instrument gets the symbol of the grammar (REST reference §3)."""

from __future__ import annotations

import itertools
import re
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.models import Exchange, Instrument, InstrumentKind
from services.symbol_names import SymbolNamer, index_symbol, strike_text
from tests.support.instruments import future, index, option, rows_of, share

APRIL = date(2024, 4, 24)


def symbol(instrument: Instrument) -> str:
    (row,) = rows_of([instrument])
    return row.symbol


@pytest.mark.parametrize(("instrument", "wanted"), [
    (share("INFY"), "INFY"),
    (share("M&M"), "M&M"),
    (share("BAJAJ-AUTO"), "BAJAJ-AUTO"),
    (future("BANKNIFTY", APRIL), "BANKNIFTY24APR24FUT"),
    (future("SENSEX", APRIL, exchange=Exchange.BFO), "SENSEX24APR24FUT"),
    (option("NIFTY", date(2024, 3, 28), "20800"), "NIFTY28MAR2420800CE"),
    (option("VEDL", date(2024, 4, 25), "292.5"), "VEDL25APR24292.5CE"),
    (future("USDINR", date(2024, 5, 10), exchange=Exchange.CDS), "USDINR10MAY24FUT"),
    (option("USDINR", date(2024, 4, 19), "82", exchange=Exchange.CDS), "USDINR19APR2482CE"),
    (future("CRUDEOILM", date(2024, 5, 20), exchange=Exchange.MCX), "CRUDEOILM20MAY24FUT"),
    (option("CRUDEOIL", date(2024, 4, 17), "6750", exchange=Exchange.MCX),
     "CRUDEOIL17APR246750CE"),
    (future("726GS2033", date(2024, 4, 25), exchange=Exchange.CDS), "726GS203325APR24FUT"),
    (option("726GS2032", date(2024, 4, 25), "97", "PE", exchange=Exchange.CDS),
     "726GS203225APR2497PE"),
    (option("M&M", date(2026, 1, 6), "3000.0", "PE"), "M&M06JAN263000PE"),
])
def test_the_examples_of_the_reference(instrument: Instrument, wanted: str) -> None:
    assert symbol(instrument) == wanted


@pytest.mark.parametrize(("exchange", "raw", "wanted"), [
    (Exchange.NSE_INDEX, "NIFTY 50", "NIFTY"),
    (Exchange.NSE_INDEX, "Nifty Bank", "BANKNIFTY"),
    (Exchange.NSE_INDEX, "NIFTY FIN SERVICE", "FINNIFTY"),
    (Exchange.NSE_INDEX, "NIFTY MID SELECT", "MIDCPNIFTY"),
    (Exchange.NSE_INDEX, "NIFTY NEXT 50", "NIFTYNXT50"),
    (Exchange.NSE_INDEX, "INDIA VIX", "INDIAVIX"),
    (Exchange.NSE_INDEX, "NIFTY100 EQL Wgt", "NIFTY100EQLWGT"),
    (Exchange.NSE_INDEX, "HANGSENG BEES-NAV", "HANGSENGBEESNAV"),
    (Exchange.BSE_INDEX, "SENSEX", "SENSEX"),
    (Exchange.BSE_INDEX, "SNSX50", "SENSEX50"),
    (Exchange.BSE_INDEX, "BSE OIL & GAS", "BSEOIL&GAS"),
    (Exchange.MCX_INDEX, "MCXBULLDEX", "MCXBULLDEX"),
])
def test_index_names_are_translated(exchange: Exchange, raw: str, wanted: str) -> None:
    assert index_symbol(exchange, raw) == wanted
    (row,) = rows_of([index(exchange, raw)])
    assert (row.symbol, row.instrumenttype, row.tradable) == (wanted, "INDEX", 0)


@pytest.mark.parametrize(("strike", "wanted"), [
    ("20800", "20800"), ("20800.0", "20800"), ("20800.00", "20800"), ("292.50", "292.5"),
    ("17.5", "17.5"), ("2.08E+4", "20800"), ("0.25", "0.25"), ("100", "100"), ("1E+2", "100"),
])
def test_a_strike_has_the_least_decimals(strike: str, wanted: str) -> None:
    assert strike_text(Decimal(strike)) == wanted


@given(st.decimals(min_value="0.0001", max_value="1000000", places=4))
def test_a_strike_is_read_back_as_it_was(strike: Decimal) -> None:
    text = strike_text(strike)
    assert Decimal(text) == strike
    assert re.fullmatch(r"\d+(\.\d*[1-9])?", text)


class TestSeries:
    def test_eq_is_the_base_and_other_series_beside_it_are_not(self) -> None:
        rows = rows_of([share("IRFC", "N1", "1"), share("IRFC", "EQ", "2"),
                        share("IRFC", "BE", "3")])
        assert {row.token: row.symbol for row in rows} == {
            "1": "IRFC-N1", "2": "IRFC", "3": "IRFC-BE"
        }
        assert {row.instrumenttype for row in rows} == {"EQ"}

    def test_a_share_that_stands_alone_is_the_base_in_any_series(self) -> None:
        assert symbol(share("GENSOL", "BZ")) == "GENSOL"
        assert symbol(share("SMALLCO", "SM")) == "SMALLCO"
        assert symbol(share("NIFTYBEES", "EQ", kind=InstrumentKind.FUND)) == "NIFTYBEES"

    def test_two_other_series_share_no_base(self) -> None:
        rows = rows_of([share("TWO", "BE", "1"), share("TWO", "BZ", "2")])
        assert sorted(row.symbol for row in rows) == ["TWO-BE", "TWO-BZ"]

    def test_names_do_not_depend_on_the_order_of_rows(self) -> None:
        rows = [share("A", "EQ", "1"), share("A", "BE", "2"), share("B", "BE", "3"),
                share("C", "BE", "4"), share("C", "BZ", "5")]
        wanted = {row.token: row.symbol for row in rows_of(rows)}
        for order in itertools.permutations(rows):
            assert {row.token: row.symbol for row in rows_of(order)} == wanted

    def test_debt_always_carries_its_series(self) -> None:
        assert symbol(share("726GS2033", "GS", kind=InstrumentKind.DEBT)) == "726GS2033-GS"
        assert symbol(share("BHARATIW", "W1", kind=InstrumentKind.OTHER)) == "BHARATIW-W1"

    @pytest.mark.parametrize("group", ["A", "B", "T", "X", "XT", "Z", "M", "MT", "P"])
    def test_a_group_of_bse_is_no_part_of_a_share_s_name(self, group: str) -> None:
        assert symbol(share("CLEDUCATE", group, exchange=Exchange.BSE)) == "CLEDUCATE"

    @pytest.mark.parametrize("group", ["F", "G"])
    def test_debt_groups_of_bse_are(self, group: str) -> None:
        (row,) = rows_of([share("772IRFC39F", group, exchange=Exchange.BSE)])
        assert (row.symbol, row.instrumenttype) == (f"772IRFC39F-{group}", "DEBT")

    def test_a_commodity_s_spot_price_cannot_be_traded(self) -> None:
        (row,) = rows_of([share("GOLD", "COMDTY", exchange=Exchange.MCX, kind=InstrumentKind.SPOT)])
        assert (row.symbol, row.instrumenttype, row.tradable) == ("GOLD-SPOT", "SPOT", 0)


class TestSpreads:
    def spread(self, broker_symbol: str, token: str = "824336") -> Instrument:
        return future(
            "SENSEX", date(2025, 1, 14), token, kind=InstrumentKind.SPREAD,
            exchange=Exchange.BFO, broker_symbol=broker_symbol,
        )

    def test_a_spread_never_takes_the_name_of_its_near_leg(self) -> None:
        rows = rows_of([
            future("SENSEX", date(2025, 1, 14), "1", exchange=Exchange.BFO),
            self.spread("SENSEX25JAN25FEBFUT"),
        ])
        assert [(row.symbol, row.instrumenttype, row.tradable) for row in rows] == [
            ("SENSEX14JAN25FUT", "FUT", 1), ("SENSEX14JAN25-FEB25SPD", "SPD", 0),
        ]
        assert [row.name for row in rows] == ["SENSEX", "SENSEX"]

    def test_a_spread_without_a_readable_far_leg_is_told_by_its_token(self) -> None:
        assert symbol(self.spread("SOMETHING ELSE")) == "SENSEX14JAN25-824336SPD"

    def test_no_spread_is_read_as_a_future_by_the_grammar(self) -> None:
        grammar = re.compile(r"(.+?)(\d{2}[A-Z]{3}\d{2})([\d.]*)(FUT|CE|PE)")
        assert grammar.fullmatch(symbol(self.spread("SENSEX25JAN25FEBFUT"))) is None


def test_a_row_carries_what_the_master_says() -> None:
    (row,) = rows_of([option("VEDL", date(2024, 4, 25), "292.5", token="119476")])
    assert row._asdict() == {
        "symbol": "VEDL25APR24292.5CE", "brsymbol": "VEDL292.5CE", "name": "VEDL",
        "exchange": "NFO", "brexchange": "NSEFO", "token": "119476", "expiry": "25-APR-24",
        "strike": 292.5, "lotsize": 65, "instrumenttype": "CE", "tick_size": 0.05,
        "freeze_qty": 1800, "kind": "OPTION", "isin": "", "price_low": 700.1,
        "price_high": 900.05, "multiplier": 1.0, "tradable": 1,
    }


def test_a_share_is_named_as_the_company_without_its_series() -> None:
    (row,) = rows_of([share("SUZLON")])
    assert row.name == "SUZLON LIMITED"
    assert row.expiry == "" and row.strike == 0


def test_an_incomplete_derivative_has_no_symbol() -> None:
    namer = SymbolNamer()
    for broken in (
        future("NIFTY", APRIL)._replace(expiry=None),
        option("NIFTY", APRIL, "1")._replace(strike=None),
        option("NIFTY", APRIL, "1", option_type=None),
    ):
        with pytest.raises(ValueError, match="without"):
            namer.name(broken)
