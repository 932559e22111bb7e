"""Identifiers that need no coordination: request ids, order references and broker tags.

All three start with the time and end with chance, so that they sort by age and are unique across
threads, processes, hosts and restarts without any shared counter.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""32 digits in ASCII order, without I, L, O and U, which people misread."""

REFERENCE_LENGTH = 26
TAG_LENGTH = 20

_TIME_DIGITS = 10  # 50 bits: milliseconds until the year 37,000
_TAG_TIME_DIGITS = 8  # 40 bits: milliseconds, around once in 34.8 years

Bits = Callable[[int], int]


def _digits(value: int, length: int) -> str:
    text = ""
    for _ in range(length):
        text = CROCKFORD[value & 31] + text
        value >>= 5
    return text


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


def new_reference(
    milliseconds: Callable[[], int] = _milliseconds, bits: Bits = secrets.randbits
) -> str:
    """A reference for one intent: 26 characters, sortable by time (the layout of a ULID).

    10 characters are milliseconds since 1970 and 16 are 80 random bits. At a thousand references
    within the same millisecond the chance that any two are equal is 1000² / 2 / 2⁸⁰ < 10⁻¹⁸.
    """
    return _digits(milliseconds(), _TIME_DIGITS) + _digits(bits(80), REFERENCE_LENGTH - 10)


def new_tag(milliseconds: Callable[[], int] = _milliseconds, bits: Bits = secrets.randbits) -> str:
    """A tag for one order at the broker: 20 characters of `0-9A-Z`, all that XTS echoes.

    It is the only thing that finds an order again whose answer was lost, so two intents must never
    share one. 8 characters are milliseconds (they repeat after 34.8 years), 12 are 60 random bits.
    Two tags can only be equal when made in the same millisecond. With n of them in one
    millisecond the chance is n²/2⁶¹: for the 16 orders that can be on their way at once 10⁻¹⁶,
    and even a million tags in the same millisecond, more than a machine can make, collide with
    a chance below 5·10⁻⁷. Spread over time, 1,000 orders a second for ten years (about one tag a
    millisecond) give an expected 1.4·10⁻⁷ equal pairs in all.
    """
    moment = milliseconds() & ((1 << (5 * _TAG_TIME_DIGITS)) - 1)
    return _digits(moment, _TAG_TIME_DIGITS) + _digits(bits(60), TAG_LENGTH - _TAG_TIME_DIGITS)


def tag_time(tag: str, now: datetime) -> datetime | None:
    """When a tag was made, if it is one of ours; `now` says within which 34.8 years."""
    if len(tag) != TAG_LENGTH or not set(tag) <= set(CROCKFORD):
        return None
    moment = 0
    for digit in tag[:_TAG_TIME_DIGITS]:
        moment = (moment << 5) + CROCKFORD.index(digit)
    span = 1 << (5 * _TAG_TIME_DIGITS)
    present = int(now.timestamp() * 1000)
    # The same place in the round of 34.8 years that is nearest to now.
    offset = (moment - present + span // 2) % span - span // 2
    return datetime.fromtimestamp((present + offset) / 1000, UTC)


def new_request_id(bits: Bits = secrets.randbits) -> str:
    """An id for one HTTP request: 32 hexadecimal digits, which is also a W3C trace id.

    128 random bits, never all zero, which W3C Trace Context §3.2.2.3 forbids.
    """
    return f"{bits(128) or 1:032x}"
