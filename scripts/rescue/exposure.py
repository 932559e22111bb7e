"""Working orders and open positions: asked of the brokers before anything is changed.

The application's own command asks (`flask exposure`): that of the release that is served, or, where
that one cannot start, of the release that is returned to. Where neither can, the journal says
which orders may still work, and the positions are unknown: that is said, never shown as none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.rescue.installation import Installation
from scripts.rescue.run import CommandFailed, run
from scripts.rescue.service import application_command, application_environ
from scripts.rescue.store import Store, StoreFailed

_SECONDS = 25.0


@dataclass
class Exposure:
    """What was found. `source`: who said so; `unread`: why something is not known.

    `brokers`: the ones that are offered, and whether each is connected; None where nobody knows.
    """

    source: str
    orders: list[dict[str, Any]] = field(default_factory=list)
    positions: list[dict[str, Any]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    brokers: dict[str, bool] | None = None


class Desk:
    """Asks through the application of any of these folders, the first that runs."""

    def __init__(
        self, installation: Installation, method: str, folders: Sequence[Path]
    ) -> None:
        self._installation = installation
        self._method = method
        self.folders = list(folders)

    def ask(self, *words: str) -> Any:
        """The JSON document that the command printed, also one that then failed.

        `CommandFailed` when no folder's application runs it.
        """
        problems: dict[str, list[str]] = {}
        for folder in self.folders:
            try:
                return _document(self._ask(folder, words))
            except CommandFailed as error:
                with suppress(ValueError):
                    return _document(error.output)
                problems.setdefault(error.said, []).append(folder.name)
            except ValueError as error:
                problems.setdefault(str(error), []).append(folder.name)
        told = [f"{', '.join(names)}: {said}" for said, names in problems.items()]
        raise CommandFailed("; ".join(told) or "no application is there")

    def call(self, *words: str) -> None:
        """Run a command of the first folder's application; `CommandFailed` when it fails."""
        self._ask(self.folders[0], words)

    def _ask(self, folder: Path, words: Sequence[str]) -> str:
        command, cwd = application_command(self._installation, self._method, folder, words)
        return run(
            command, seconds=_SECONDS, cwd=cwd, env=application_environ(self._installation),
            user=self._installation.user,
        )


def look(desk: Desk, store: Store, broker: str) -> Exposure:
    """The broker's working orders and open positions, as far as anybody can tell."""
    try:
        found = desk.ask("exposure", "show", "--json")
    except CommandFailed as error:
        return _from_journal(store, broker, str(error))
    exposure = Exposure("the broker's books", brokers=offered_in(found))
    for account in (row for row in found["accounts"] if row["broker"] == broker):
        label = account["account"]
        exposure.orders += [{"account": label, **row} for row in account["orders"]]
        exposure.positions += [{"account": label, **row} for row in account["positions"]]
        if account["error"]:
            exposure.unread.append(f"{label}: {account['error']}")
    return exposure


def offered_in(document: Any) -> dict[str, bool]:
    """The brokers that a document of the application's says are on, and whether connected."""
    return {row["name"]: row["connected"] for row in document["brokers"] if row["enabled"]}


def lines(exposure: Exposure) -> list[str]:
    """The findings for people."""
    words = [f"Working orders: {len(exposure.orders)} ({exposure.source})"]
    words += [
        f"  {row['account']}  {row.get('order_id') or row.get('broker_order_id')}  "
        f"{row['side']} {row['quantity']} {row['symbol']} {row['exchange']} {row['product']}"
        for row in exposure.orders
    ]
    if not exposure.unread or exposure.positions:
        words.append(f"Open positions: {len(exposure.positions)}")
    words += [
        f"  {row['account']}  {row['quantity']} {row['symbol']} {row['exchange']} {row['product']}"
        for row in exposure.positions
    ]
    words += [f"NOT KNOWN: {why}" for why in exposure.unread]
    return words


def _from_journal(store: Store, broker: str, why: str) -> Exposure:
    exposure = Exposure("the journal, which is not the broker's book")
    exposure.unread.append(
        f"the broker's books could not be read ({why}): look at the broker's own terminal"
    )
    try:
        exposure.orders = store.orders_without_end(broker)
    except StoreFailed as error:
        exposure.unread.append(f"the journal could not be read either: {error}")
    return exposure


def _document(text: str) -> Any:
    """The JSON document in a command's output, which may have lines before it."""
    start = text.find("{")
    if start < 0:
        raise ValueError("no document in the answer")
    return json.loads(text[start:])
