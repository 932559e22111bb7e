"""The three kinds of master rows (§9.1-9.3) as text, and the identifiers inside them."""

from __future__ import annotations

from datetime import date

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKLY_MONTH = "123456789OND"
CASH_WIDTH, FUTURE_WIDTH, OPTION_WIDTH = 22, 21, 23


def plain(value: float) -> str:
    """A number as XTS prints it: no exponent, no trailing zeros."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return text if text not in ("", "-0") else "0"


def instrument_id(segment: int, token: int, expiry: date | None = None) -> str:
    """§9.4: segment, last digit of the year, day of year, eight-digit token (cash: 1 and 001)."""
    if expiry is None:
        return f"{segment}1001{token:08d}"
    return f"{segment}{expiry.year % 10}{expiry.timetuple().tm_yday:03d}{token:08d}"


def day_label(expiry: date) -> str:
    """25AUG2026"""
    return f"{expiry.day:02d}{MONTHS[expiry.month - 1]}{expiry.year}"


def monthly_code(expiry: date) -> str:
    """26AUG"""
    return f"{expiry.year % 100:02d}{MONTHS[expiry.month - 1]}"


def weekly_code(expiry: date) -> str:
    """26217: year, month as 1-9 O N D, day."""
    return f"{expiry.year % 100:02d}{_WEEKLY_MONTH[expiry.month - 1]}{expiry.day:02d}"


def cash_row(
    segment: str,
    number: int,
    token: int,
    name: str,
    series: str,
    high: float,
    low: float,
    freeze: int,
    tick: str,
    display: str,
    isin: str,
    title: str,
    surveillance: str,
    kind: int = 8,
    lot: int = 1,
) -> str:
    """22 columns (§9.1)."""
    tagged = f"{name}-{series}"
    return (
        f"{segment}|{token}|{kind}|{name}|{tagged}|{series}|{tagged}|{instrument_id(number, token)}"
        f"|{plain(high)}|{plain(low)}|{freeze}|{tick}|{lot}|1|{display}|{isin}|1|1|{title}"
        f"|{surveillance}|-1|-1"
    )


def future_row(
    segment: str,
    number: int,
    token: int,
    name: str,
    description: str,
    series: str,
    expiry: date,
    high: float,
    low: float,
    freeze: int,
    tick: str,
    lot: int,
    multiplier: str,
    underlying: str,
    index_name: str,
    clock: str,
    display: str,
    kind: int = 1,
    denominator: int = 1,
) -> str:
    """21 columns (§9.2): futures (kind 1) and spreads (kind 4)."""
    ident = instrument_id(number, token, None if kind == 4 else expiry)
    return (
        f"{segment}|{token}|{kind}|{name}|{description}|{series}|{name}-{series}|{ident}"
        f"|{plain(high)}|{plain(low)}|{freeze}|{tick}|{lot}|{multiplier}|{underlying}|{index_name}"
        f"|{expiry.isoformat()}T{clock}|{display}|1|{denominator}|{description}"
    )
