"""Step 4: is the broker gone, do the others work, are the logs clean?

What is asked over HTTP needs an API key (`--api-key-file`); without one the application's own
commands are asked, which read the same switches and the same books.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts.rescue.exposure import Desk, offered_in
from scripts.rescue.http import Client
from scripts.rescue.run import CommandFailed
from scripts.rescue.statuses import Failed, Status

_ALARMING = ("ERROR", "CRITICAL")


@dataclass(frozen=True)
class Offer:
    """The brokers that are offered and whether each is connected; the books nobody could read."""

    brokers: dict[str, bool]
    unread: list[str]

    def faults(self, before: Mapping[str, bool]) -> list[str]:
        """What does not work of what worked before, and of what is connected now."""
        gone = [name for name, connected in sorted(before.items()) if connected]
        return [
            *(f"{name} is not offered any more" for name in gone if name not in self.brokers),
            *(f"{name} is disconnected" for name in gone if self.brokers.get(name) is False),
            *self.unread,
        ]


@dataclass(frozen=True)
class Probe:
    """Asks a gateway. `key`: an API key, "" where there is none."""

    url: str
    key: str
    desk: Desk

    @property
    def _client(self) -> Client:
        return Client(self.url, self.key)

    def await_answer(self, seconds: float) -> None:
        """Wait until the gateway serves; `Failed` when it does not in time."""
        why = self._client.wait_until_ready(seconds)
        if why:
            raise Failed(
                Status.NO_ANSWER,
                f"The gateway at {self.url} is not ready after {seconds:g} s: {why}.",
            )

    def look(self) -> Offer:
        """The brokers as they are offered now; `Failed` when nobody can say."""
        return self._over_http() if self.key else self._by_command()

    def _over_http(self) -> Offer:
        brokers = self._brokers()
        unread = []
        for row in brokers:
            for account in (one["account"] for one in row["accounts"] if one["connected"]):
                status, found = self._client.post("/api/v1/orderbook", {"account": account})
                if status != 200:
                    unread.append(f"{account}: {found.get('message', status)}")
        return Offer({row["name"]: row["connected"] for row in brokers}, unread)

    def _by_command(self) -> Offer:
        try:
            found = self.desk.ask("exposure", "show", "--json")
        except CommandFailed:
            return self._by_older_command()
        offered = offered_in(found)
        return Offer(offered, [
            f"{row['account']}: {row['error']}" for row in found["accounts"]
            if row["error"] and offered.get(row["broker"], False)
        ])

    def _by_older_command(self) -> Offer:
        """A release from before `flask exposure` can say who is connected, and no more."""
        try:
            return Offer(offered_in(self.desk.ask("brokers", "list", "--json")), [])
        except CommandFailed as error:
            raise Failed(
                Status.STILL_LISTED, f"The brokers can't be listed: {error}. Use --api-key-file."
            ) from None

    def _brokers(self) -> Any:
        status, answer = self._client.get("/api/v1/brokers")
        if status != 200:
            raise Failed(
                Status.OTHERS_BROKEN,
                f"The list of brokers answers {status}: {answer.get('message', '')}",
            )
        return answer["data"]


def errors_since(log: Path, since: datetime) -> list[str]:
    """The messages of error.log since then.."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found = []
    for line in reversed(text.splitlines()):
        try:
            entry = json.loads(line)
            at = datetime.fromisoformat(entry["time"].replace("Z", "+00:00"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if at < since:
            break
        if entry.get("level") in _ALARMING:
            found.append(str(entry.get("message", ""))[:300])
    return found[::-1]
