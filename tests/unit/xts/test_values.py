"""The wire's loose numbers and its dates on three bases (XTS reference §5.5, §5.6)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.xts import values
from broker.xts.values import IST, Unreadable


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (5, "5"),
        (112.45, "112.45"),
        (Decimal("0.05"), "0.05"),
        ("112.45", "112.45"),
        ("2,853.50", "2853.50"),
        ("1,00,000", "100000"),
        (" 7 ", "7"),
        ("-2344.15", "-2344.15"),
        ("0", "0"),
    ],
)
def test_numbers_in_every_form(raw: object, expected: str) -> None:
    assert values.number(raw) == Decimal(expected)
    assert values.number(raw) == Decimal(expected), "the second reading comes from the cache"


@pytest.mark.parametrize("raw", ["", "  ", None, "NaN", "nan", float("nan")])
def test_none_in_every_form(raw: object) -> None:
    assert values.number(raw) is None
    assert values.money(raw) == 0
    assert values.whole_or(raw, 9) == 9
    with pytest.raises(Unreadable):
        values.whole(raw)


@pytest.mark.parametrize("raw", ["abc", "1.2.3", [], {}, True, False, "Infinity", "--5", object()])
def test_anything_else_is_unreadable(raw: object) -> None:
    for _ in range(2):
        with pytest.raises(Unreadable):
            values.number(raw)


def test_a_boolean_is_no_number_even_after_one_was_cached() -> None:
    assert values.number(1) == 1
    with pytest.raises(Unreadable):
        values.whole(True)


def test_a_fraction_is_no_whole_number() -> None:
    assert values.whole("130.0") == 130
    with pytest.raises(Unreadable):
        values.whole("130.5")


@given(st.decimals(-(10**9), 10**9, places=4))
def test_every_price_is_read_exactly(price: Decimal) -> None:
    assert values.number(str(price)) == price
    assert values.number(f"{price:,}") == price
    assert values.number(float(price)) == price


def test_a_full_cache_starts_again() -> None:
    for index in range(values._CACHE_SIZE + 10):
        assert values.number(f"{index}.5") == Decimal(f"{index}.5")
    assert len(values._numbers) <= values._CACHE_SIZE


@pytest.mark.parametrize(
    "raw",
    [
        "03-08-2026 10:15:00",
        "2026-08-03T10:15:00",
        "2026-08-03T10:15:00.0000000",
        "2026-08-03T10:15:00+05:30",
        "2026-08-03T10:15:00.0000000+05:30",
        "2026-08-03T04:45:00Z",
        "Aug 03 2026 10:15:00",
        "Aug 3 2026 10:15:00",
    ],
)
def test_times_in_every_form(raw: str) -> None:
    assert values.moment(raw) == datetime(2026, 8, 3, 10, 15, tzinfo=IST)


def test_fractions_of_seven_digits() -> None:
    found = values.moment("2026-08-03T10:15:00.1234567")
    assert found == datetime(2026, 8, 3, 10, 15, 0, 123456, tzinfo=IST)


@pytest.mark.parametrize("raw", ["", None, "01-01-1980 00:00:00", "01-01-1900 00:00:00", "  "])
def test_no_time_in_every_form(raw: object) -> None:
    assert values.moment(raw) is None


@pytest.mark.parametrize("raw", ["yesterday", "31-02-2026 10:00:00", "Foo 03 2026", 17, []])
def test_other_times_are_unreadable(raw: object) -> None:
    with pytest.raises(Unreadable):
        values.moment(raw)


def test_the_reference_s_worked_example() -> None:
    at = datetime(2026, 8, 3, 10, 15, tzinfo=IST)
    assert values.tick_time(1470219300) == at
    assert values.candle_time("1785752099") == at.replace(minute=14, second=59)
    assert values.candle_time(1785715200) == at.replace(hour=0, minute=0)


def test_ticks_on_the_other_base_are_told_by_their_size() -> None:
    at = datetime(2026, 8, 3, 10, 15, tzinfo=IST)
    assert values.tick_time(1785752100) == at
    assert values.tick_time(0) is None
    assert values.tick_time("") is None


def test_a_time_beyond_the_calendar_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        values.candle_time(10**15)


@pytest.mark.parametrize(("raw", "expected"), [("1210000042", "1210000042"), (7, "7")])
def test_ids_are_text(raw: object, expected: str) -> None:
    assert values.identifier(raw) == expected


@pytest.mark.parametrize("raw", ["1&clientID=OTHER", "", None, "١٢", "-5", "1.0", True, "9" * 21])
def test_other_ids_are_unreadable(raw: object) -> None:
    with pytest.raises(Unreadable):
        values.identifier(raw)


def test_text_takes_numbers_and_refuses_structures() -> None:
    assert values.text(41000) == "41000"
    assert values.text(Decimal("2")) == "2"
    assert values.text(None) == ""
    with pytest.raises(Unreadable):
        values.text(["x"])


def test_flags() -> None:
    assert values.flag(True)
    assert values.flag("True")
    assert not values.flag("false")
    assert not values.flag(None)
    assert not values.flag(1)


def jwt(payload: object) -> str:
    raw = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"head.{raw}.sign"


def test_the_token_s_own_end() -> None:
    assert values.token_expiry(jwt({"exp": 1785752100})) == datetime.fromtimestamp(1785752100, UTC)


@pytest.mark.parametrize(
    "token",
    ["", "opaque", "a.b.c", jwt({}), jwt([1]), jwt({"exp": "soon"}), jwt({"exp": 10**20}), "a.é.c"],
)
def test_a_token_that_says_nothing(token: str) -> None:
    assert values.token_expiry(token) is None
