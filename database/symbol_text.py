"""The searchable text of one broker's symbols: a line a symbol, found by any part of it.

A line is SYMBOL, byte 2, and for what has no expiry its NAME, all in upper case, which is what
queries are made into; one text an exchange. 200,000 symbols are about 5 MB, of which a part is
found in 1 to 4 ms; as objects they would be 300 MB.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

SEPARATOR = b"\x02"
_END = b"\n"
_MAX_CANDIDATES = 20_000  # lines an exchange that are held against the other words of a query


def compress(text: str) -> bytes:
    """The text of one exchange as it is stored."""
    return zlib.compress(text.encode(), 1)


class SearchText:
    """The lines of one broker by exchange, in the order of their symbols."""

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
        for pattern in (_END + needle + SEPARATOR, _END + needle, needle):
            for exchange in places:
                for line in _lines(self._texts[exchange], pattern):
                    found[line.partition(SEPARATOR)[0].decode(), exchange] = None
                    if len(found) >= limit:
                        return list(found)
        words = sorted(needle.split(), key=len, reverse=True)
        for exchange in places if len(words) > 1 else []:
            candidates = islice(_lines(self._texts[exchange], words[0]), _MAX_CANDIDATES)
            for line in candidates:
                if all(word in line for word in words):
                    found[line.partition(SEPARATOR)[0].decode(), exchange] = None
                    if len(found) >= limit:
                        return list(found)
        return list(found)


def _lines(text: bytes, pattern: bytes) -> Iterator[bytes]:
    """The lines that hold the pattern."""
    at = text.find(pattern)
    while at >= 0:
        start = at + 1 if pattern.startswith(_END) else text.rfind(_END, 0, at) + 1
        end = text.find(_END, start)
        yield text[start:end]
        at = text.find(pattern, end)
