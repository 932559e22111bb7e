"""What a backup is, what it is held against, and which ones are kept."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

LATEST = "latest"
EVERY_ONE_FOR = timedelta(hours=48)
"""For how long every backup is kept; of older days the last one of each is."""

SETTINGS_FILE = "openalgo.env"
NAME = re.compile(r"backup-\d{8}-\d{6}")


class Mirror(Protocol):
    """A copy of the folder somewhere else. Every method may raise `Unavailable`."""

    def names(self) -> list[str]:
        """The files that are there."""

    def put(self, path: Path) -> None:
        """Copy a file there."""

    def get(self, name: str, target: Path) -> None:
        """Copy a file here."""

    def delete(self, name: str) -> None:
        """Delete a file there."""


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What is backed up, where to, under which key, and for how long.

    `settings`: the variables of the instance, as they go into the backup; `previous_key`: one that
    older backups were sealed with.
    """

    database_url: str = field(repr=False)
    folder: Path
    key: str = field(repr=False)
    retention: timedelta = timedelta(days=30)
    keep: int = 7
    settings: Mapping[str, str] | None = field(default=None, repr=False)
    previous_key: str = field(default="", repr=False)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that open backups, the newest first."""
        return tuple(key for key in (self.key, self.previous_key) if key)


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup. `size` in bytes with its symbols' file; `here`: not only off the site."""

    name: str
    at: datetime
    kind: str
    version: str
    size: int
    symbols_file: str
    inventory: Mapping[str, Any]
    files: Mapping[str, str]
    here: bool = True


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back. `settings_file`: where the variables were written, if they were.

    `kept`: the files that were there before, on SQLite.
    """

    backup: Backup
    settings_file: Path | None
    symbols: bool
    kept: tuple[Path, ...] = ()


def sorted_out(
    backups: Sequence[Backup], now: datetime, retention: timedelta, keep: int
) -> tuple[list[Backup], list[Backup]]:
    """The backups (the newest first) that are kept, and those that may go.

    Kept are the newest `keep` whatever their age, every one of the last two days, and the last one
    of each day of the retention.
    """
    kept: list[Backup] = []
    gone: list[Backup] = []
    days: set[date] = set()
    for index, backup in enumerate(backups):
        age = now - backup.at
        last_of_day = backup.at.date() not in days
        days.add(backup.at.date())
        recent = age <= EVERY_ONE_FOR or (age <= retention and last_of_day)
        (kept if index < keep or recent else gone).append(backup)
    return kept, gone


def hand_over(path: Path) -> None:
    """Give a file to the owner of its folder: what root makes here, the service has to use."""
    if os.geteuid() == 0:
        facts = path.parent.stat()
        os.chown(path, facts.st_uid, facts.st_gid)


def own_inventory(folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / "inventory.json").read_text(encoding="utf-8"))
    return found


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any], where: str = "") -> list[str]:
    """What is not as it should be, in words."""
    problems = []
    for name in sorted({*wanted, *found}):
        place = f"{where}.{name}" if where else name
        one, other = wanted.get(name), found.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            problems += differences(one, other, place)
        elif one != other:
            problems.append(f"{place} is {other}, was {one}")
    return problems


def quoted(value: str) -> str:
    """A value as both systemd and python-dotenv read it back."""
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,=-]*", value):
        return value
    if "'" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


