"""Tolerant reading of the wire's numbers and times (XTS reference §5.5, §5.6).

Tolerant in form, never in meaning: what cannot be read raises `Unreadable`, and nothing is read
as zero but what the venue sends for "none" ("", null, "NaN"), and only where a caller says so.
Results are cached, because books repeat the same few hundred texts.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

from broker.models import ZERO

IST = timezone(timedelta(hours=5, minutes=30), "IST")

_CACHE_SIZE = 8192
_numbers: dict[int | str | Decimal, Decimal | None] = {}
_times: dict[str, datetime | None] = {}

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(MONTHS, start=1)}
_NONE_YEARS = frozenset({1900, 1980})  # §5.6: the wire's way of saying "no time"
_TICK_EPOCH = datetime(1980, 1, 1, tzinfo=IST)
_CANDLE_EPOCH = datetime(1970, 1, 1, tzinfo=IST)
_TICK_BASE_LIMIT = 1_600_000_000  # §5.6: smaller values count from 1980, larger from 1970


class Unreadable(ValueError):
    """A value is not of the form that its place on the wire demands."""


def number(value: object) -> Decimal | None:
    """A number in any of the wire's forms; None for "", null and NaN (§5.5).

    Accepts numbers, numeric text and text with thousands commas. `Unreadable` for anything else.
    """
    if type(value) is str or type(value) is int or type(value) is Decimal:
        try:
            return _numbers[value]
        except KeyError:
            return _read_number(value)
    if value is None:
        return None
    if type(value) is float:
        return _read_number(repr(value))
    raise Unreadable(f"{type(value).__name__} where a number belongs")


def _read_number(value: str | int | Decimal) -> Decimal | None:
    digits = value.strip().replace(",", "") if isinstance(value, str) else value
    result: Decimal | None = None
    if digits != "":
        try:
            result = Decimal(digits)
        except InvalidOperation:
            raise Unreadable(f"{value!r} is not a number") from None
        if result.is_nan():
            result = None
        elif not result.is_finite():
            raise Unreadable(f"{value!r} is not a finite number")
    if len(_numbers) >= _CACHE_SIZE:
        _numbers.clear()
    _numbers[value] = result
    return result


def money(value: object) -> Decimal:
    """A price or amount in rupees; 0 where the venue says none."""
    result = number(value)
    return ZERO if result is None else result


def whole(value: object) -> int:
    """A whole number; `Unreadable` for none, for fractions and for anything else."""
    if type(value) is int:
        return value
    result = number(value)
    if result is None:
        raise Unreadable("no number where one belongs")
    if result != result.to_integral_value():
        raise Unreadable(f"{value!r} is not a whole number")
    return int(result)


def whole_or(value: object, default: int) -> int:
    """A whole number, or `default` where the venue says none."""
    if type(value) is int:
        return value
    return default if number(value) is None else whole(value)


def text(value: object) -> str:
    """A text field, stripped; null is "". Numbers become their text (ids come as either, §5.7)."""
    if type(value) is str:
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return str(value)
    raise Unreadable(f"{type(value).__name__} where text belongs")


def identifier(value: object) -> str:
    """An order id or instrument id as text of digits; `Unreadable` for anything else (§5.7)."""
    if type(value) is int and 0 <= value < 10**20:
        return str(value)
    digits = text(value)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        raise Unreadable(f"{digits[:24]!r} is not an id")
    return digits


def flag(value: object) -> bool:
    """A boolean that may come as text (§5.5)."""
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def moment(value: object) -> datetime | None:
    """The time of an order or trade row, aware; None for "none" values (§5.6).

    Knows `dd-MM-yyyy HH:mm:ss`, ISO with up to 7-digit fractions and an offset, and
    `MMM dd yyyy HH:mm:ss`. Without an offset it is IST.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unreadable(f"{type(value).__name__} where a time belongs")
    try:
        return _times[value]
    except KeyError:
        result = _read_moment(value.strip())
        if len(_times) >= _CACHE_SIZE:
            _times.clear()
        _times[value] = result
        return result


def _read_moment(value: str) -> datetime | None:
    if not value:
        return None
    try:
        if value[:3] in _MONTHS:
            month, day, year, clock = value.split()
            result = _at(int(year), _MONTHS[month], int(day), clock)
        elif value[2:3] == "-":
            date_part, _, clock = value.partition(" ")
            day, month, year = date_part.split("-")
            result = _at(int(year), int(month), int(day), clock or "00:00:00")
        else:
            result = _iso(value)
    except (ValueError, KeyError):
        raise Unreadable(f"{value[:40]!r} is not a time") from None
    return None if result.year in _NONE_YEARS else result


def _at(year: int, month: int, day: int, clock: str) -> datetime:
    hour, minute, second = clock.split(":")
    return datetime(year, month, day, int(hour), int(minute), int(second), tzinfo=IST)


def _iso(value: str) -> datetime:
    head, point, rest = value.partition(".")
    if point:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        value = f"{head}.{rest[: min(digits, 6)]:0<6}{rest[digits:]}"
    result = datetime.fromisoformat(value)
    return result.replace(tzinfo=IST) if result.tzinfo is None else result.astimezone(IST)


def tick_time(value: object) -> datetime | None:
    """The time of a quote: seconds of the IST wall clock since 1980, or since 1970 (§5.6)."""
    seconds = whole_or(value, 0)
    if seconds <= 0:
        return None
    epoch = _TICK_EPOCH if seconds < _TICK_BASE_LIMIT else _CANDLE_EPOCH
    return _after(epoch, seconds)


def candle_time(value: object) -> datetime:
    """The stamp of a candle: seconds of the IST wall clock since 1970 (§5.6)."""
    return _after(_CANDLE_EPOCH, whole(value))


def _after(epoch: datetime, seconds: int) -> datetime:
    try:
        return epoch + timedelta(seconds=seconds)
    except OverflowError:
        raise Unreadable(f"{seconds} is not a time") from None


def token_expiry(token: str) -> datetime | None:
    """The `exp` claim of a token, aware; None when there is none to read (§3.4).

    The signature is not checked: the claim only shortens how long a session is believed in.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claim = json.loads(payload)["exp"]
        return datetime.fromtimestamp(float(claim), tz=UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
