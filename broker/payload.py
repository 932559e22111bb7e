"""Bodies of requests and answers: JSON with exact prices, and gzip unpacked in bounded pieces."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

PIECE = 256 * 1024
"""Bytes of one unpacked piece at most: a small packed answer may unpack to anything."""


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
    """A body as JSON says it, decimal numbers as `Decimal`. `ValueError` for what is no JSON.

    What strict JSON does not allow but venues send (NaN, a mark of byte order, UTF-16, half a
    surrogate pair) is left to Python's parser: NaN and the infinities come as their names.
    """
    try:
        return _strict.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(raw, parse_float=Decimal, parse_constant=str)


_strict = msgspec.json.Decoder(float_hook=Decimal)


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
