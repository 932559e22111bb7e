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
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])


class Rereader:
    """Reads one book again and again: items that say what they said last time are not read anew.

    To find where an item ends takes a sixth of reading it, and reading a whole book at once keeps
    the interpreter from everybody else. Items come as the same objects as before: do not change
    them. May be used by several threads.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, object] = {}

    def decode(self, raw: bytes) -> Any:
        """As `decode`; remembers the items of the lists in an object's members."""
        fresh: dict[bytes, object] = {}
        try:
            members = _members.decode(raw)
            body = {name: self._member(bytes(value), fresh) for name, value in members.items()}
        except (msgspec.DecodeError, UnicodeDecodeError):
            return decode(raw)  # not an object, or not strict
        if fresh:  # else it was an error, or an empty book
            self._known = fresh
        return body

    def _member(self, raw: bytes, fresh: dict[bytes, object]) -> object:
        if not raw.startswith(b"["):
            return _strict.decode(raw)
        known, items = self._known, list[object]()
        for one in _items.decode(raw):
            said = bytes(one)
            item = known.get(said)
            if item is None:
                item = _strict.decode(said)
            fresh[said] = item
            items.append(item)
        return items


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
