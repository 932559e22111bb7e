"""Keeps the books of an exchange in a file: read once at start, written while it runs.

Changes are collected on the event loop, where the books stand still for that moment, and written
on a thread, so no request waits for the disk. What goes wrong here is said and never stops the
exchange.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

from simulator.exchange import Exchange
from simulator.market import catalog
from simulator.state.capture import Batch, Recorder
from simulator.state.restore import restore, resume
from simulator.state.store import Store, open_store, set_aside
from simulator.state.tables import version

log = logging.getLogger("simulator.state")

#: Seconds between writes: what a kill may lose, and how much one write has to take.
PERIOD = 0.1
#: Seconds that acknowledgements under way may take to arrive (realistic latency: 80 ms).
_SETTLE = 0.1

KEPT, NEW, ASIDE, UNUSABLE = "kept", "new", "set aside", "unusable"


class Keeper:
    """The state file of one exchange.

    became: "kept" (its books are in the exchange again), "new" (there was none, or one of another
    day, version, master or seed), "set aside" (damaged or foreign) or "unusable" (nothing is
    kept: no right to write, or another simulator has the file).
    """

    def __init__(self, path: Path, exchange: Exchange) -> None:
        self._exchange = exchange
        self._recorders = [Recorder(engine) for engine in exchange.engines.values()]
        self._store: Store | None = None
        self._failing = False
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.became = UNUSABLE
        try:
            self._store, self.became = open_store(path, self._version(), exchange.clock.ist())
            if self.became == KEPT:
                self._read(self._store)
        except (OSError, sqlite3.Error) as wrong:
            log.warning("the books are not kept: cannot use %s: %s", path, wrong)

    def start(self) -> None:
        """Write changes from now on, until `close`."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Write what is left and let go of the file."""
        self._stop.set()
        if self._task is not None:
            await self._task
        if any(engine.behaviour.latency != "off" for engine in self._exchange.engines.values()):
            await asyncio.sleep(_SETTLE)
        await self.save()
        if self._store is not None:
            self._store.close()
            self._store = None

    async def save(self) -> None:
        """Write what has changed; a failure is said once, and everything is written next time."""
        if self._store is None:
            return
        batches = [b for b in (recorder.capture() for recorder in self._recorders) if b]
        if batches:
            await self._write(self._store, batches)

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self.save()
            try:
                await asyncio.wait_for(self._stop.wait(), PERIOD)
            except TimeoutError:
                continue

    async def _write(self, store: Store, batches: list[Batch]) -> None:
        try:
            await asyncio.to_thread(store.write, batches)
        except Exception as wrong:
            for recorder in self._recorders:
                recorder.lost()
            if not self._failing:
                log.error("cannot write %s: %s", store.path, wrong)
            self._failing = True
        else:
            self._failing = False

    def _version(self) -> int:
        options = self._exchange.options
        return version(catalog.FORMAT, options.size, options.seed, options.day)

    def _read(self, store: Store) -> None:
        """Take over what the file holds of today; begin anew where that cannot be."""
        exchange = self._exchange
        kept = False
        try:
            for recorder, engine in zip(self._recorders, exchange.engines.values(), strict=True):
                if restore(exchange, engine, store.read(engine.profile.name)):
                    recorder.written()
                    resume(engine)
                    kept = True
        except (ValueError, TypeError, KeyError, sqlite3.DatabaseError) as wrong:
            for engine in exchange.engines.values():
                engine.clear()
            store.close()
            self._store = None
            self.became = UNUSABLE
            set_aside(store.path, str(wrong), exchange.clock.ist())
            self._store, _ = open_store(store.path, self._version(), exchange.clock.ist())
            self.became = ASIDE
            return
        if not kept:
            self.became = NEW
