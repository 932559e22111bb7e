"""Loads one master contract: read, name, stage, check, publish. Runs in a process of its own.

Nothing here or in what it imports needs SQLAlchemy, Flask or the settings: the process stays small
and starts fast. Rows are read as a stream and never all held.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from broker.base import Broker, Runtime, SlotStore
from broker.models import BadRow, Exchange, Instrument
from broker.registry import discover
from broker.slots import FileSlotStore, MemorySlotStore
from database.symbol_import import SymbolImport, in_chunks, open_import
from database.symbol_rows import FIELDS, RowValues
from services.contract_checks import doubts
from services.contract_order import ContractOrder
from services.symbol_names import SymbolNamer
from utils.clock import SystemClock
from utils.memory import peak_memory_mb

_CHUNK = 1_000
_SYMBOL, _EXCHANGE, _BREXCHANGE = map(FIELDS.index, ("symbol", "exchange", "brexchange"))
_KEPT = 100  # bad rows and collisions that the report shows in full
_KEPT_REASONS = 50
_LONGEST_SYMBOL = 64


class Implausible(Exception):
    """The contract was read and is not to be trusted; `report` says what it looked like."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.report = report


class ContractLoader:
    """One run. `progress()` may be asked from another thread at any time."""

    def __init__(self, order: ContractOrder) -> None:
        self._order = order
        self._phase = "Waiting"
        self._exchange = ""
        self._rows = 0
        self._expected = 0
        self._bad: list[BadRow] = []
        self._bad_count = 0
        self._reasons: Counter[str] = Counter()
        self._open = ExitStack()

    def progress(self) -> dict[str, Any]:
        """How far the run is: phase, exchange, rows, bad rows; per cent where it can be told."""
        told: dict[str, Any] = {
            "phase": self._phase, "exchange": self._exchange, "rows": self._rows,
            "bad_rows": self._bad_count,
        }
        if self._expected:
            told["percent"] = min(95, self._rows * 95 // self._expected)
        return told

    def run(self) -> dict[str, Any]:
        """Load and publish; the report. `BrokerError` from the broker, or `Implausible`.

        The contract is live when this returns; `close` does the tidying that nobody waits for.
        """
        started = time.monotonic()
        clock = SystemClock()
        order = self._order
        slots: SlotStore = MemorySlotStore(clock)
        if order.slots_directory:
            slots = FileSlotStore(Path(order.slots_directory), clock)
        paths = [Path(path) for path in order.plugin_paths] or None
        broker = discover(paths).get(order.broker)(order.account, Runtime(clock, slots))
        self._open.enter_context(closing(broker))
        target = open_import(order.symbols_url, order.broker)
        self._open.enter_context(closing(target))
        broker.attach(order.session)
        self._expected = sum(target.live().values())
        self._read(broker, target)
        self._phase = "Checking"
        target.settle()
        report = self._report(broker, target)
        self._check(report, target)
        self._phase = "Publishing"
        report["generation"] = target.publish()
        report["seconds"] = round(time.monotonic() - started, 2)
        report["cpu_seconds"] = round(time.process_time(), 2)
        report["peak_memory_mb"] = int(peak_memory_mb())
        return report

    def close(self) -> None:
        """Undo what was not published, and give everything back."""
        self._open.close()

    def _read(self, broker: Broker, target: SymbolImport) -> None:
        self._phase = "Downloading"
        wanted = [Exchange(name) for name in self._order.exchanges] or None
        namer = SymbolNamer()
        for items in in_chunks(broker.instruments(wanted), _CHUNK):
            self._stage(self._named(items, namer), target)
        self._stage(list(namer.rest()), target)

    def _named(self, items: list[Instrument | BadRow], namer: SymbolNamer) -> list[RowValues]:
        rows: list[RowValues] = []
        for item in items:
            if isinstance(item, BadRow):
                self._spoilt(item)
                continue
            try:
                row = namer.name(item)
            except ValueError as exc:
                self._spoilt(BadRow(item.broker_segment, 0, item.broker_symbol, str(exc)))
                continue
            if row is not None:
                rows.append(row)
        return rows

    def _stage(self, rows: list[RowValues], target: SymbolImport) -> None:
        symbols = [row[_SYMBOL] for row in rows]
        longest = max(map(len, symbols), default=0)
        if longest > _LONGEST_SYMBOL or not "".join(symbols).isprintable():
            rows = [row for row in rows if self._usable(row)]
        if rows:
            target.stage(rows)
            self._rows += len(rows)
            self._exchange = rows[-1][_EXCHANGE]

    def _usable(self, row: RowValues) -> bool:
        symbol: str = row[_SYMBOL]
        usable = len(symbol) <= _LONGEST_SYMBOL and symbol.isprintable()
        if not usable:
            self._spoilt(BadRow(row[_BREXCHANGE], 0, repr(symbol)[:200], "no usable symbol"))
        return usable

    def _spoilt(self, row: BadRow) -> None:
        self._bad_count += 1
        if len(self._bad) < _KEPT:
            self._bad.append(row)
        reason = row.reason
        if reason not in self._reasons and len(self._reasons) >= _KEPT_REASONS:
            reason = "other reasons"
        self._reasons[reason] += 1

    def _report(self, broker: Broker, target: SymbolImport) -> dict[str, Any]:
        live, staged, changes = target.live(), target.staged(), target.changes()
        served = sorted(each.value for each in broker.capabilities.exchanges)
        asked = self._order.exchanges or served
        collisions = target.collisions()
        return {
            "rows": sum(staged.values()),
            "added": sum(changes.added.values()),
            "removed": sum(changes.removed.values()),
            "bad_rows": self._bad_count,
            "collisions": len(collisions),
            "exchanges": {
                name: {
                    "rows": staged.get(name, 0),
                    "before": live.get(name, 0),
                    "added": changes.added.get(name, 0),
                    "removed": changes.removed.get(name, 0),
                }
                for name in sorted({*asked, *staged, *live})
            },
            "empty_exchanges": [name for name in asked if not staged.get(name)],
            "added_samples": changes.added_samples,
            "removed_samples": changes.removed_samples,
            "bad_reasons": dict(self._reasons.most_common()),
            "bad": [row._asdict() for row in self._bad],
            "collision_samples": [item._asdict() for item in collisions[:_KEPT]],
        }

    def _check(self, report: dict[str, Any], target: SymbolImport) -> None:
        if not report["rows"]:
            raise Implausible("The broker's master contract is empty.", report)
        found = doubts(
            target.live(), target.staged(), self._bad_count, self._order.exchanges or None
        )
        report["doubts"] = found
        if found and not self._order.force:
            raise Implausible(
                f"The new master contract was refused, the one from before is still in use: "
                f"{'; '.join(found)}. Force the download if this is right.", report,
            )
