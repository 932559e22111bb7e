"""The generated master: size, shapes, identifiers and names (XTS reference §9)."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from simulator.market import calendar
from simulator.market.catalog import build
from simulator.market.instruments import parse
from simulator.market.master import FULL, SMALL, TARGETS, MasterMaker
from simulator.market.rows import instrument_id, plain, weekly_code

TODAY = date(2026, 8, 3)
Rows = dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def full() -> Rows:
    maker = MasterMaker(FULL, 1, TODAY)
    return {name: [row.split("|") for row in maker.rows(name)] for name in TARGETS[FULL]}


@pytest.fixture(scope="module")
def small() -> Rows:
    maker = MasterMaker(SMALL, 1, TODAY)
    return {name: [row.split("|") for row in maker.rows(name)] for name in TARGETS[SMALL]}


def test_sizes(full: Rows, small: Rows) -> None:
    assert sum(map(len, full.values())) == 200_000
    assert sum(map(len, small.values())) == 1_500


@pytest.mark.parametrize("size", ["full", "small"])
def test_widths_tokens_and_keys(size: str, request: pytest.FixtureRequest) -> None:
    rows: Rows = request.getfixturevalue(size)
    widths = {"1": 21, "4": 21, "2": 23}
    for segment, listed in rows.items():
        cash = segment.endswith("CM")
        assert all(len(row) == (22 if cash else widths[row[2]]) for row in listed)
        assert len({row[1] for row in listed}) == len(listed)
        if cash:
            keys = Counter((row[3], row[5]) for row in listed)
        else:
            keys = Counter((row[2], row[4]) for row in listed)
        assert keys.most_common(1)[0][1] == 1
        assert all(float(row[8]) > float(row[9]) for row in listed)
        assert all(float(row[9]) > 0 for row in listed if row[2] != "4")


def test_small_has_every_kind_of_row(small: Rows) -> None:
    for segment in ("NSEFO", "BSEFO", "NSECD", "MCXFO"):
        assert {row[2] for row in small[segment]} == {"1", "2", "4"}
    names = {row[3] for row in small["NSECM"] if row[5] == "EQ"}
    assert {
        "RELIANCE", "INFY", "TCS", "SBIN", "HDFCBANK", "M&M", "BAJAJ-AUTO", "VEDL", "YESBANK",
        "360ONE", "20MICRONS",
    } <= names  # fmt: skip
    assert {"EQ", "BE", "SM", "GS", "GB"} <= {row[5] for row in small["NSECM"]}
    assert any("NSETEST" in row[3] for row in small["NSECM"])
    assert any("NSETEST" in row[3] for row in small["NSEFO"])
    assert {"NIFTY", "BANKNIFTY", "NIFTYNXT50", "M&M", "BAJAJ-AUTO"} <= {
        row[3] for row in small["NSEFO"]
    }
    assert "SENSEX" in {row[3] for row in small["BSEFO"]}
    assert "726GS2033" in {row[3] for row in small["NSECD"]}


def test_instrument_ids(small: Rows) -> None:
    assert instrument_id(2, 41027, date(2025, 1, 30)) == "2503000041027"
    assert instrument_id(12, 824627, date(2025, 1, 3)) == "12500300824627"
    assert instrument_id(1, 12018) == "1100100012018"
    spread = next(row for row in small["NSEFO"] if row[2] == "4")
    assert spread[7].startswith("21001")
    option = next(row for row in small["NSEFO"] if row[2] == "2" and row[3] == "RELIANCE")
    assert option[14] == "1100100002885"
    index = next(row for row in small["NSEFO"] if row[2] == "2" and row[3] == "NIFTY")
    assert (index[14], index[15]) == ("-1", "Nifty 50")


def test_underlyings_exist(full: Rows) -> None:
    cash = {row[7] for name in ("NSECM", "BSECM") for row in full[name]}
    used = {row[14] for name in ("NSEFO", "BSEFO") for row in full[name]} - {"-1"}
    assert len(used) > 200
    assert used <= cash


def test_freeze_lots_and_expiry_times(small: Rows) -> None:
    nifty = next(row for row in small["NSEFO"] if row[3] == "NIFTY")
    assert (nifty[10], nifty[12]) == ("1801", "65")
    sensex = next(row for row in small["BSEFO"] if row[3] == "SENSEX")
    assert (sensex[10], sensex[12]) == ("1000", "20")
    assert all(row[16].endswith("T14:30:00") for row in small["NSEFO"])
    assert all(row[16].endswith("T00:00:00") for row in small["BSEFO"] + small["MCXFO"])
    assert {row[13] for row in small["MCXFO"] if row[3] == "CRUDEOIL"} == {"100"}
    assert "629.2" in {row[13] for row in small["NSECD"]}


def test_display_names(small: Rows) -> None:
    weekly = [row for row in small["NSEFO"] if row[3] == "NIFTY" and row[2] == "2"]
    texts = {row[19] for row in weekly}
    assert any(text.startswith("NIFTY 25AUG2026 CE ") for text in texts)
    assert any(row[4].startswith("NIFTY26AUG") for row in weekly)
    assert any(row[4].startswith("NIFTY26811") for row in weekly)  # the weekly of 11 August
    spread = next(row for row in small["BSEFO"] if row[2] == "4" and row[3] == "SENSEX")
    assert spread[17].endswith("SPD")
    assert float(spread[9]) < 0


def test_decimal_strikes(small: Rows) -> None:
    assert any("." in row[17] for row in small["NSEFO"] if row[2] == "2" and row[3] == "YESBANK")


def test_the_seed_decides(small: Rows) -> None:
    again = MasterMaker(SMALL, 1, TODAY).rows("NSEFO")
    assert again == ["|".join(row) for row in small["NSEFO"]]
    assert MasterMaker(SMALL, 2, TODAY).rows("NSEFO") != again


def test_numbers_and_codes() -> None:
    assert [plain(v) for v in (12.0, 0.05, 1e-9, -3.5, 100000.0)] == [
        "12", "0.05", "0", "-3.5", "100000",
    ]  # fmt: skip
    assert weekly_code(date(2026, 2, 17)) == "26217"
    assert weekly_code(date(2026, 11, 3)) == "26N03"


def test_calendar() -> None:
    assert calendar.last_weekday(2026, 12, calendar.TUESDAY) == date(2026, 12, 29)
    assert calendar.monthlies(date(2026, 8, 26), 2, calendar.TUESDAY) == [
        date(2026, 9, 29),
        date(2026, 10, 27),
    ]
    assert calendar.weeklies(date(2026, 8, 4), 2, calendar.TUESDAY) == [
        date(2026, 8, 4),
        date(2026, 8, 11),
    ]
    assert calendar.day_of_month(date(2026, 8, 6), 2, 5) == [date(2026, 9, 4), date(2026, 10, 5)]


def test_full_catalog_is_small_in_memory_and_finds_everything(tmp_path: Path) -> None:
    old = tmp_path / "master-v0-1-2020-01-01"
    old.mkdir()
    catalog = build(FULL, 1, TODAY, tmp_path)
    assert not old.exists()
    for name, segment in catalog.segments.items():
        assert len(segment) == TARGETS[FULL][name]
    rows = iter(catalog.segments["BSEFO"].rows())
    for _ in range(200):
        row = next(rows)
        found = catalog.find("BSEFO", int(row.split("|")[1]))
        assert found == parse(row)
    assert catalog.find("NSECM", 1) is None
    assert catalog.find("NCDEX", 1) is None


def test_a_cache_made_by_another_process_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(FULL, 1, TODAY, tmp_path)
    real = Path.is_dir
    answers = iter([False])  # the other one finished just after this one looked
    monkeypatch.setattr(Path, "is_dir", lambda path: next(answers, None) or real(path))
    second = build(FULL, 1, TODAY, tmp_path)
    assert len(second.segments["NSECM"]) == len(first.segments["NSECM"])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
