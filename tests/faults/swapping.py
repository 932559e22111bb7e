"""Look-ups while the master contract is swapped under them: no miss, no mixture.

Each generation of the contract has a lot size of its own: a look-up tells which one it saw.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from broker.models import Exchange, Instrument, InstrumentRef
from database.engine import Database
from services.symbols import SymbolService
from tests.faults.fire import Range
from tests.support.databases import scratch_database
from tests.support.instruments import load, option

BROKER = "jainam_prop"
ROWS = 400
THREADS = 4
TOGETHER = 30
"""Tokens that are asked for at once, some of them remembered from before and some not."""

_EXPIRY = date(2026, 11, 24)


@dataclass
class Swapped:
    """What the look-ups saw."""

    asked: int = 0
    swaps: int = 0
    wrong: list[str] = field(default_factory=list)


def contract(lot: int) -> Iterator[Instrument]:
    """A generation: the same names, another lot size."""
    for number in range(ROWS):
        yield option(
            "NIFTY", _EXPIRY, str(20_000 + 50 * number), token=str(50_000 + number), lot_size=lot
        )


def swapped(kind: str, folder: Path, look_ups: int, swaps: int = 8) -> Swapped:
    """At least so many look-ups by symbol, and as many of books, over at least so many swaps."""
    found = Swapped()
    with scratch_database(kind, folder) as database:
        load(database, contract(1), BROKER)
        over = threading.Event()
        asked = [0] * THREADS
        work = [
            threading.Thread(target=_look, args=(database, number, over, asked, found.wrong))
            for number in range(THREADS)
        ]
        for thread in work:
            thread.start()
        try:
            while sum(asked) < look_ups or found.swaps < swaps:
                found.swaps += 1
                load(database, contract(found.swaps + 1), BROKER)
        finally:
            over.set()
            for thread in work:
                thread.join()
        found.asked = sum(asked)
    return found


def _look(
    database: Database, number: int, over: threading.Event, asked: list[int], wrong: list[str]
) -> None:
    """What a process of its own does: two services would share nothing but the database."""
    service = SymbolService(database)
    newest = 0
    while not over.is_set():
        nth = (asked[number] * 7 + number) % ROWS
        record = service.lookup(BROKER, "NFO", f"NIFTY24NOV26{20_000 + 50 * nth}CE")
        if record is None:
            wrong.append("a miss")
        elif record.lotsize < newest:
            wrong.append(f"generation {record.lotsize} came back after {newest}")
        else:
            newest = record.lotsize
        refs = [
            InstrumentRef(Exchange.NFO, str(50_000 + (nth + n) % ROWS)) for n in range(TOGETHER)
        ]
        book = service.many_by_token(BROKER, refs)
        if len(book) != TOGETHER:
            wrong.append(f"{TOGETHER - len(book)} misses in a book")
        if len({record.lotsize for record in book.values()}) != 1:
            wrong.append("a mixture in a book")
        asked[number] += 1
    service.close()


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What became of a contract with a fifth fewer rows of an exchange: once asked, then forced."""

    refused: bool
    kept: bool
    forced: bool


def shrunk(range_: Range) -> Shrunk:
    """Let the venue publish too short a contract, and ask the gateway to load it."""
    served = range_.served

    def rows() -> int:
        status = json.loads(served.flask("master-contract", "status", BROKER, "--json"))
        return int(status["rows"])

    before = rows()
    served.simulator.control("master", {"truncate": {"NSECM": 0.7}})
    try:
        served.flask("master-contract", "download", BROKER)
        refused = False
    except RuntimeError as error:
        refused = "shrank" in str(error)
    kept = rows() == before
    served.flask("master-contract", "download", BROKER, "--force")
    forced = rows() < before
    served.simulator.control("master", {"reset": True})
    served.flask("master-contract", "download", BROKER, "--force")
    return Shrunk(refused, kept, forced)
