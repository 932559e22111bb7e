"""The searchable text of one broker's symbols: a line a symbol, found by any part of it.

A line is SYMBOL, byte 2, and for what has no expiry its NAME, all in upper case, which is what
queries are made into; one text an exchange. 200,000 symbols are about 5 MB, of which a part is
found in 1 to 4 ms; as objects they would be 300 MB.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

SEPARATOR = b"\x02"
_END = b"\n"
_DIGITS = b"0123456789"
_MAX_CANDIDATES = 20_000  # lines an exchange that are held against the other words of a query


def lines_of(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """The lines of some rows' symbol, name and expiry."""
    return [
        f"{symbol}\x02" if expiry else f"{symbol}\x02{name.upper()}"
        for symbol, name, expiry in rows
    ]


def compress(lines: list[str]) -> bytes:
    """The lines of one exchange as they are stored: sorted, which this does in place."""
    lines.sort()  # by code points, which is the order of their bytes as well
    return zlib.compress("\n".join(lines).encode(), 1)


class SearchText:
    """The lines of one broker by exchange, sorted by their bytes."""

    __slots__ = ("_texts",)

    def __init__(self, stored: Mapping[str, bytes]) -> None:
        """`stored` by exchange; a search goes through the exchanges in this order."""
        self._texts = {
            exchange: _END + zlib.decompress(body) + _END for exchange, body in stored.items()
        }

    def find(self, query: str, exchanges: Sequence[str] | None, limit: int) -> (
        list[tuple[str, str]]
    ):
        """Up to `limit` pairs of symbol and exchange: exact, then prefix, then any part.

        Last come lines that hold every word of a query of several ("NIFTY 25000 CE").
        `exchanges` None: all of them.
        """
        needle = "".join(c for c in query.strip().upper() if c >= " ").encode("utf-8", "ignore")
        if not needle:
            return []
        places = [name for name in self._texts if exchanges is None or name in exchanges]
        found: dict[tuple[str, str], None] = {}
        for exchange, line in chain(
            self._each(places, _beginning, needle + SEPARATOR),
            self._each(places, _beginning, needle),
            self._each(places, _holding, needle),
            self._each(places, _holding_all, needle) if len(needle.split()) > 1 else (),
        ):
            found[line.partition(SEPARATOR)[0].decode(), exchange] = None
            if len(found) >= limit:
                break
        return list(found)

    def _each(
        self, places: Sequence[str], lines: Callable[[bytes, bytes], Iterator[bytes]], part: bytes
    ) -> Iterator[tuple[str, bytes]]:
        """Exchange and line of what `lines` finds in each exchange's text."""
        for exchange in places:
            for line in lines(self._texts[exchange], part):
                yield exchange, line


def _beginning(text: bytes, prefix: bytes) -> Iterator[bytes]:
    """The lines that begin so: neighbours, because lines are sorted; found by bisection."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high) // 2
        start = text.rfind(_END, 0, middle) + 1
        end = text.find(_END, start)
        if text[start:end] < prefix:
            low = end + 1
        else:
            high = start
    while text.startswith(prefix, low):
        end = text.find(_END, low)
        yield text[low:end]
        low = end + 1


def _holding(text: bytes, part: bytes) -> Iterator[bytes]:
    """The lines that hold this anywhere."""
    at = text.find(part)
    while at >= 0:
        start = text.rfind(_END, 0, at) + 1
        end = text.find(_END, at)
        yield text[start:end]
        at = text.find(part, end)


def _holding_all(text: bytes, query: bytes) -> Iterator[bytes]:
    """The lines that hold every word of the query; of a strike or a date there are fewest."""
    words = query.split()
    telling = max(words, key=lambda word: (any(byte in _DIGITS for byte in word), len(word)))
    for line in islice(_holding(text, telling), _MAX_CANDIDATES):
        if all(word in line for word in words):
            yield line
