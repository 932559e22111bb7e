"""Master rows of the cash market: shares, bonds, gold bonds, debentures, test scrips (§9.1)."""

from __future__ import annotations

import random
from collections.abc import Iterator

from simulator.market.pricing import round_tick
from simulator.market.rows import MONTHS, cash_row
from simulator.market.universe import Company
from simulator.profiles import SEGMENT_NUMBERS

#: The best-known companies (listed first) are in series EQ and group A or B.
_WELL_KNOWN = 35
_DEBENTURES = ("N0", "N2", "N3", "N4", "N5", "NA", "NB", "Y1", "Y2", "Z1", "ZA")
_FEW = (
    ("726GS2033", "GS", 64, 101.32, "GOI LOAN 7.26 PC 2033"),
    ("633GS2035", "GS", 64, 99.41, "GOI LOAN 6.33 PC 2035"),
    ("SGBAUG28V", "GB", 64, 9912.0, "2.50%GOLDBONDS2028SR-V"),
    ("SGBFEB32IV", "GB", 64, 10120.0, "2.50%GOLDBONDS2032SR-IV"),
    ("182D250327", "TB", 64, 97.8, "GOI TBILL 182D-25/03/27"),
    ("RELIANCE", "N1", 64, 1011.0, "RELIANCE 8.30% NCD SR-1"),
    ("TATASTEEL", "P1", 32, 102.0, "TATA STEEL CCPS"),
    ("BHARATIW", "W1", 128, 12.0, "WARRANTS SR-1"),
    ("MIRAEMF", "MF", 512, 24.3, "MUTUAL FUND UNIT"),
)


def nse_rows(companies: list[Company], target: int, rng: random.Random) -> list[str]:
    """NSECM: companies in several series, four test scrips, and paper up to the target."""
    rows: list[str] = []
    for place, company in enumerate(companies):
        series = "EQ"
        if place > _WELL_KNOWN:
            series = rng.choices(("EQ", "SM", "BE", "ST", "BZ"), (78, 12, 7, 2, 1))[0]
        band = 0.2 if company.lot else (0.05 if series in ("BE", "BZ", "ST") else 0.1)
        tick = "0.01" if company.price < 250 else ("0.05" if company.price < 1000 else "0.1")
        lot = 100 * rng.randint(2, 30) if series in ("SM", "ST") else 1
        freeze = int(20_000_000 / company.price) if company.lot else 0
        surveillance = rng.choice(("0", "0", "0", "35", "99"))
        rows.append(
            _share(
                "NSECM",
                company.nse,
                company,
                series,
                band,
                tick,
                f"{company.title}-{series}",
                surveillance,
                lot,
                freeze,
            )
        )
    token = max(company.nse for company in companies) + 200
    for number in range(4):
        token += 1
        name = f"0{5 + number}1NSETEST"
        isin = f"DUMMYSAN00{number}"
        rows.append(
            cash_row(
                "NSECM", 1, token, name, "EQ", 12, 8, 0, "0.01", name, isin, "NSE TEST SCRIP", "0"
            )
        )
    paper = _paper(companies)
    while len(rows) < target:
        name, series, kind, price, title = next(paper)
        token += 1
        isin = f"IN{token:07d}X{token % 97:02d}"
        high, low = price * 1.05, price * 0.95
        rows.append(
            cash_row(
                "NSECM",
                1,
                token,
                name,
                series,
                high,
                low,
                0,
                "0.01",
                name,
                isin,
                title,
                "0",
                kind,
            )
        )
    return rows


def _paper(companies: list[Company]) -> Iterator[tuple[str, str, int, float, str]]:
    """Everything that is no ordinary share: (name, series, InstrumentType, price, title)."""
    yield from _FEW
    for year in range(2027, 2067):
        for coupon in range(580, 900, 13):
            price = 100 + (coupon - 700) / 40
            yield f"{coupon}GS{year}", "GS", 64, price, f"GOI {coupon / 100} PC"
    for number in range(60):
        month = MONTHS[number % 12]
        yield f"SGB{month}{27 + number // 12}", "GB", 64, 9800.0 + number, "2.50%GOLDBONDS"
    for series in _DEBENTURES:
        for company in companies:
            yield company.name, series, 64, 1000.0, f"{company.title} NCD {series}"
    raise RuntimeError("the master's target size is larger than what can be listed")


def bse_rows(companies: list[Company], target: int, rng: random.Random) -> list[str]:
    """BSECM: companies in several groups, and bonds (group F) up to the target."""
    rows: list[str] = []
    top = 800_000
    for place, company in enumerate(companies):
        if not company.bse or len(rows) >= target:
            continue
        top = max(top, company.bse)
        group = "A" if company.lot else "B"
        if place > _WELL_KNOWN and not company.lot:
            group = rng.choices(("B", "X", "XT", "T", "M", "Z"), (50, 25, 10, 5, 7, 3))[0]
        band = 0.2 if company.lot else 0.1
        rows.append(
            _share("BSECM", company.bse, company, group, band, "0.05", company.title, "100", 1, 0)
        )
    number = 0
    while len(rows) < target:
        number += 1
        name = f"{700 + number % 300}IRFC{27 + number % 20}{'ABCDEFGH'[number // 300 % 8]}"
        if number >= 2_400:
            name = f"{name}{number // 2_400}"
        isin = f"INE{number:05d}07{number % 89:02d}"
        title = f"IRFC NCD {number}"
        rows.append(
            cash_row(
                "BSECM",
                11,
                top + number,
                name,
                "F",
                1050,
                950,
                0,
                "0.01",
                name,
                isin,
                title,
                "100",
                64,
            )
        )
    return rows


def _share(
    segment: str,
    token: int,
    company: Company,
    series: str,
    band: float,
    tick: str,
    title: str,
    surveillance: str,
    lot: int,
    freeze: int,
) -> str:
    step = float(tick)
    return cash_row(
        segment,
        SEGMENT_NUMBERS[segment],
        token,
        company.name,
        series,
        round_tick(company.price * (1 + band), step),
        round_tick(company.price * (1 - band), step),
        freeze,
        tick,
        company.name,
        company.isin,
        title,
        surveillance,
        8,
        lot,
    )
