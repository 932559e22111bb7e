"""Bodies of requests and answers: JSON with exact prices, and gzip unpacked in bounded pieces.

A long answer is parsed in steps. Python's parser keeps the interpreter to itself from the first
byte to the last: 1,000 orders are 5 ms in which no other thread runs, a busy day's book is 50.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from json import decoder, scanner
from typing import Any

PIECE = 256 * 1024
"""Bytes of one unpacked piece at most: a small packed answer may unpack to anything."""

LONG = 128 * 1024
"""Bytes from which on an answer is parsed in steps, which takes about a third longer."""


class Damaged(Exception):
    """An answer's body that cannot be unpacked, or ends before its end."""


def encode(value: object) -> bytes:
    """A JSON value as bytes. `ValueError` or `TypeError` for what JSON cannot say (NaN)."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=_number)
    return text.encode("utf-8")


def _number(value: object) -> int | float:
    """A Decimal as a JSON number: its shortest text up to 15 digits, hence prices stay exact."""
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(raw: bytes) -> Any:
    """A body as JSON says it, decimal numbers as `Decimal`. `ValueError` for what is no JSON."""
    if len(raw) < LONG:
        return json.loads(raw, parse_float=Decimal, parse_constant=str)
    return _IN_STEPS.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))


_scanners: Any = scanner  # the parts of the standard library's parser have no types
_parts: Any = decoder


class _InSteps(json.JSONDecoder):
    """Outer objects and arrays in Python, the elements of the arrays in C, one at a time."""

    def __init__(self) -> None:
        super().__init__(parse_float=Decimal, parse_constant=str)
        element = _scanners.make_scanner(self)

        def array(place: tuple[str, int], _: object) -> tuple[list[Any], int]:
            found: tuple[list[Any], int] = _parts.JSONArray(place, element)
            return found

        self.parse_array = array
        self.scan_once = _scanners.py_make_scanner(self)


_IN_STEPS = _InSteps()


def unpacked(chunks: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """The body in pieces, inflated where the answer's content coding is gzip."""
    if coding in ("identity", ""):
        yield from chunks
        return
    if coding != "gzip":
        raise Damaged("packed in a way that was not asked for")
    unpack = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            piece = unpack.decompress(chunk, PIECE)
            while piece:
                yield piece
                piece = unpack.decompress(unpack.unconsumed_tail, PIECE)
    except zlib.error as error:
        raise Damaged(str(error)) from None
    if not unpack.eof:
        raise Damaged("cut off")
