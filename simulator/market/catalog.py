"""The instrument master as served and searched: text per segment and a compact index into it.

The text of a full master is written to a cache directory once a trading date and mapped, not
loaded; the index is a sorted array of (token, offset), so 200,000 rows cost little memory.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from simulator.market.instruments import SPOT, Instrument, parse
from simulator.market.master import FULL, TARGETS, MasterMaker
from simulator.market.universe import INDICES
from simulator.profiles import SEGMENT_NUMBERS

FORMAT = 5
_CHUNK = 128 * 1024
_GARBAGE = (
    "{s}|999990|8|BROKEN|too|few|columns",
    "{s}|NaN|8|NANTOKEN|NANTOKEN-EQ|EQ|NANTOKEN-EQ|NaN|10|8|0|0.05|1|1|NANTOKEN|INE0|1|1|NAN|0|-1|-1",
    "<html><head><title>502 Bad Gateway</title></head></html>",
    "{s}|999991|2|BADSTRIKE|BADSTRIKE|OPTSTK|B-OPTSTK|1|9|1|0|0.05|25|1|-1|X|no-date|abc|9|B|1|1|B",
    "|||||||||||||||||||||",
    "{s}|999992|8|NOLOT|NOLOT-EQ|EQ|NOLOT-EQ|1|10|8|0|0|0|1|NOLOT|INE0|1|1|NOLOT|0|-1|-1",
    "{s}|999993|16|COMDTY|COMDTY|COMDTY|COMDTY-COMDTY|1|0|0|0|1|1|1|COMDTY|1|1|COMDTY",
)


class Segment:
    """One segment's text (bytes or a mapped file) and its index."""

    __slots__ = ("index", "size", "text")

    def __init__(self, text: bytes | mmap.mmap, size: int, index: array[int]) -> None:
        self.text = text
        self.size = size
        self.index = index

    def row(self, token: int) -> str | None:
        """The row of a token, or None."""
        key = token << 32
        place = bisect_left(self.index, key)
        if place >= len(self.index) or self.index[place] >> 32 != token:
            return None
        return self._at(self.index[place] & 0xFFFFFFFF)

    def _at(self, offset: int) -> str:
        end = self.text.find(b"\n", offset)
        return self.text[offset : end if end >= 0 else self.size].decode()

    def __len__(self) -> int:
        return len(self.index)

    def rows(self) -> Iterator[str]:
        """Every row, in the order served."""
        offset = 0
        while offset < self.size:
            end = self.text.find(b"\n", offset)
            if end < 0:
                end = self.size
            yield self.text[offset:end].decode()
            offset = end + 1

    def find_all(self, needle: bytes, limit: int) -> list[str]:
        """Rows that contain `needle`, at most `limit`."""
        found: list[str] = []
        offset = 0
        while len(found) < limit:
            hit = self.text.find(needle, offset)
            if hit < 0:
                break
            start = self.text.rfind(b"\n", 0, hit) + 1
            end = self.text.find(b"\n", hit)
            if end < 0:
                end = self.size
            found.append(self.text[start:end].decode())
            offset = end
        return found


def index_of(text: bytes) -> array[int]:
    """Sorted (token << 32 | offset) of every row."""
    index: array[int] = array("Q")
    offset = 0
    for row in text.split(b"\n"):
        index.append(int(row.split(b"|", 2)[1]) << 32 | offset)
        offset += len(row) + 1
    return array("Q", sorted(index))


class Catalog:
    """All segments, what is wrong with them on purpose, and the instruments asked for so far."""

    def __init__(self, segments: dict[str, Segment]) -> None:
        self.segments = segments
        self._cache: dict[tuple[str, int], Instrument] = {}
        self.malformed = 0
        self.dropped: set[str] = set()
        self.truncated: dict[str, float] = {}
        self.replaced: dict[str, str] = {}
        for index in INDICES:
            segment = "NSECM" if index.segment == 1 else "BSECM"
            self._cache[(segment, index.token)] = Instrument(
                segment,
                index.segment,
                index.token,
                SPOT,
                index.display,
                index.display,
                "INDEX",
                index.token,
                index.price * 2,
                0.05,
                0,
                0.05,
                1,
                1.0,
                index.display,
                "",
                "-1",
                "",
                None,
                "",
                0.0,
                0,
            )

    def find(self, segment: str, token: int) -> Instrument | None:
        """The instrument, or None when it is not listed."""
        instrument = self._cache.get((segment, token))
        if instrument is None:
            store = self.segments.get(segment)
            row = store.row(token) if store is not None and segment not in self.dropped else None
            if row is None:
                return None
            instrument = self._cache[(segment, token)] = parse(row)
        return instrument

    def reset(self) -> None:
        """Serve the master unspoilt again."""
        self.malformed = 0
        self.dropped.clear()
        self.truncated.clear()
        self.replaced.clear()

    def served(self, names: list[str]) -> tuple[int, list[Iterator[bytes]]]:
        """The dump of some segments as the inside of a JSON string: length and chunk streams."""
        total = 0
        streams: list[Iterator[bytes]] = []
        for name in names:
            if name in self.replaced:
                text = self.replaced[name]
                body = json.dumps(text)[1:-1].encode()
                size, stream = len(body), iter((body,))
            else:
                segment = self.segments.get(name)
                if segment is None or not segment.size or name in self.dropped:
                    continue
                size, stream = self._pieces(name, segment)
            if not size:
                continue
            if streams:
                total += 2
                streams.append(iter((b"\\n",)))
            total += size
            streams.append(stream)
        return total, streams

    def _pieces(self, name: str, segment: Segment) -> tuple[int, Iterator[bytes]]:
        end, count = segment.size, len(segment)
        fraction = self.truncated.get(name)
        if fraction is not None:
            count = max(1, int(count * fraction))
            end = (
                sorted(v & 0xFFFFFFFF for v in segment.index)[count] - 1
                if count < len(segment)
                else end
            )
        bad = self._bad_rows(name)
        extra = "".join(f"{row}\n" for row in bad)
        prefix = json.dumps(extra)[1:-1].encode() if bad else b""
        size = end + (count - 1) + len(prefix)

        def stream() -> Iterator[bytes]:
            # Bad rows go where a careless reader hurts most: the very first rows of the dump,
            # and between two good ones in the middle.
            cut = 0
            if prefix:
                cut = segment.text.find(b"\n", end // 2, end) + 1
                half = len(bad) // 2
                first = json.dumps("".join(f"{row}\n" for row in bad[:half]))[1:-1].encode()
                yield first
                yield from _escaped(segment.text, 0, cut)
                yield prefix[len(first) :]
            yield from _escaped(segment.text, cut, end)

        return size, stream()

    def _bad_rows(self, name: str) -> list[str]:
        return [_GARBAGE[i % len(_GARBAGE)].format(s=name) for i in range(self.malformed)]


def _escaped(text: bytes | mmap.mmap, start: int, end: int) -> Iterator[bytes]:
    for offset in range(start, end, _CHUNK):
        yield text[offset : min(offset + _CHUNK, end)].replace(b"\n", b"\\n")


def build(
    size: str, seed: int, today: date, cache_dir: Path | None, empty: frozenset[str] = frozenset()
) -> Catalog:
    """The catalog of a trading date; a full one is made once and kept in `cache_dir`."""
    if size == FULL and cache_dir is not None:
        segments = _cached(seed, today, cache_dir)
    else:
        segments = {}
        for name, text in _texts(size, seed, today):
            segments[name] = Segment(text, len(text), index_of(text))
    for name in empty:
        segments[name] = Segment(b"", 0, array("Q"))
    return Catalog(segments)


def _texts(size: str, seed: int, today: date) -> Iterator[tuple[str, bytes]]:
    maker = MasterMaker(size, seed, today)
    for name in SEGMENT_NUMBERS:
        yield name, "\n".join(maker.rows(name)).encode()


def _cached(seed: int, today: date, cache_dir: Path) -> dict[str, Segment]:
    home = cache_dir / f"master-v{FORMAT}-{seed}-{today.isoformat()}"
    if not home.is_dir():
        _write(seed, today, cache_dir, home)
    segments: dict[str, Segment] = {}
    for name in TARGETS[FULL]:
        index: array[int] = array("Q")
        index.frombytes((home / f"{name}.idx").read_bytes())
        with (home / f"{name}.txt").open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
        segments[name] = Segment(mapped, size, index)
    return segments


def _write(seed: int, today: date, cache_dir: Path, home: Path) -> None:
    """Write beside and rename: another simulator may be doing the same."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    for old in cache_dir.glob("master-v*"):
        if old.name[-10:] < (today - timedelta(days=4)).isoformat():
            shutil.rmtree(old, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=".making-", dir=cache_dir))
    try:
        for name, text in _texts(FULL, seed, today):
            (work / f"{name}.txt").write_bytes(text)
            (work / f"{name}.idx").write_bytes(index_of(text).tobytes())
        work.rename(home)
    except OSError:
        if not home.is_dir():
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
