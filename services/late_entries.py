"""Journal entries that could not be written when they were made: kept, and written down elsewhere.

While the database is away the way out stays open (cancels and exits go on), and what was learnt
after the wire must not be lost either. Each such entry waits in memory in the order of time, and in
a file of this process, synced before the caller goes on. The file is allocated when the process
begins, so that a full disk does not stop it. It is emptied when the entries are in the journal; one
that a process left behind when it ended is taken over by whoever reconciles
(docs/decisions/0141-late-entries-survive-their-process.md).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from database import journal
from database.journal import Intent, IntentKind, IntentState

log = logging.getLogger(__name__)

ALLOCATED = 256 * 1024
"""Bytes that a process's file has from the start: some 250 entries."""

_BLANK = b"\n"
_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an intent: to `state`, or (None) a remark that changes none."""

    at: datetime
    cause: str
    state: IntentState | None = None
    order_id: str | None = None
    message: str = ""

    def apply(self, conn: Connection, intent_id: int) -> None:
        """Write it in the caller's transaction. `IllegalTransition` as `journal.change` says."""
        if self.state is None:
            journal.note(conn, intent_id, self.cause, at=self.at, message=self.message)
        else:
            journal.change(
                conn, intent_id, self.state, self.cause, at=self.at,
                broker_order_id=self.order_id, message=self.message or None,
            )

    def apply_once(self, conn: Connection, intent_id: int) -> None:
        """The same, unless it is there: a process may end before it can tick an entry off."""
        known = journal.events(conn, intent_id)
        if not any(event.at == self.at and event.cause == self.cause for event in known):
            self.apply(conn, intent_id)


@dataclass(frozen=True, slots=True)
class LateEntry:
    """An intent and what happened to it; `journal` says whether the intent itself is there."""

    intent: Intent
    changes: tuple[Change, ...]

    def write(self, conn: Connection) -> None:
        """Write what the journal does not have yet, in the caller's transaction."""
        known = journal.get(conn, self.intent.reference)
        intent_id = known.id if known else journal.new_intent(conn, self.intent)
        for change in self.changes:
            change.apply_once(conn, intent_id)

    def as_it_stands(self) -> Intent:
        """The intent after these changes."""
        states = [change.state for change in self.changes if change.state is not None]
        ids = [change.order_id for change in self.changes if change.order_id is not None]
        return replace(
            self.intent, state=states[-1] if states else self.intent.state,
            broker_order_id=ids[-1] if ids else self.intent.broker_order_id,
        )

    def to_json(self) -> str:
        """One line."""
        intent = {
            field.name: value for field in fields(Intent)
            if (value := getattr(self.intent, field.name)) != field.default
        }
        document = {"intent": intent, "changes": [asdict(change) for change in self.changes]}
        return json.dumps(document, default=str, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> LateEntry:
        """Read `to_json` back; ValueError, KeyError or TypeError for anything else."""
        document = json.loads(line)
        changes = (_typed(Change, change) for change in document["changes"])
        return cls(_typed(Intent, document["intent"]), tuple(changes))


def _typed(cls: Any, values: Mapping[str, Any]) -> Any:
    return cls(**{
        name: _TYPES[name](value) if name in _TYPES and value is not None else value
        for name, value in values.items()
    })


_TYPES: dict[str, Any] = {
    **dict.fromkeys(
        ("at", "created_at", "updated_at", "sent_at", "deadline_at", "seen_at"),
        datetime.fromisoformat,
    ),
    "price": Decimal, "trigger_price": Decimal, "kind": IntentKind, "state": IntentState,
}


class LateEntries:
    """The entries of this process that wait. Not locked: its owner does that."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is shared by the processes of one gateway; None: memory alone."""
        self._folder = folder
        self._waiting: deque[LateEntry] = deque()
        self._file = -1
        self._path: Path | None = None
        self._used = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def intents(self) -> list[Intent]:
        """The intents that wait, here and in the files of other processes of this host, each as
        its last entry leaves it.
        """
        waiting = [*self._of_others(), *self._waiting]
        return list({entry.intent.reference: entry.as_it_stands() for entry in waiting}.values())

    def _of_others(self) -> Iterator[LateEntry]:
        """What others have written down; a file that begins with a blank holds nothing."""
        if self._folder is None:
            return
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path == self._path:
                continue
            with suppress(OSError), path.open("rb") as file:
                if os.pread(file.fileno(), 1, 0) != _BLANK:
                    yield from _entries(path, file.fileno())

    def first(self) -> LateEntry:
        """The oldest entry."""
        return self._waiting[0]

    def prepare(self) -> None:
        """Allocate the file now, while there is room. A folder that cannot be used is told."""
        if self._folder is None or self._file >= 0:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
            made = self._folder / f"{name}.new"  # not to be taken over before it is locked
            file = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                _write(file, 0, _BLANK * ALLOCATED)
                os.fsync(file)
                made.rename(self._folder / name)
            except OSError:
                os.close(file)
                made.unlink(missing_ok=True)
                raise
            self._file, self._path = file, self._folder / name
        except OSError as error:
            log.warning("late journal entries could only be kept in memory: %s", error)

    def add(self, entry: LateEntry) -> bool:
        """Keep an entry; whether it is written down and would survive this process."""
        self._waiting.append(entry)
        self.prepare()
        if self._file < 0:
            return False
        line = entry.to_json().encode() + _BLANK
        try:
            _write(self._file, self._used, line)
            os.fdatasync(self._file)
        except OSError as error:
            log.warning("a late journal entry is only kept in memory: %s", error)
            return False
        self._used += len(line)
        return True

    def done(self) -> None:
        """The oldest entry is in the journal. The file is emptied with the last one."""
        self._waiting.popleft()
        if self._waiting or self._file < 0 or not self._used:
            return
        try:
            _write(self._file, 0, _BLANK * self._used)
            os.fdatasync(self._file)
        except OSError as error:  # then they are found once more, and known
            log.warning("late journal entries cannot be ticked off: %s", error)
        self._used = 0

    def close(self) -> None:
        """Let go of the file; it stays when entries wait in it."""
        if self._file < 0 or self._path is None:
            return
        if not self._waiting:
            with suppress(OSError):
                self._path.unlink()
        os.close(self._file)
        self._file, self._path, self._used = -1, None, 0

    def left_behind(self) -> Iterator[tuple[Path, list[LateEntry]]]:
        """The files of processes that have ended, with their entries.

        Each is held while the caller works on it, and is the caller's to unlink.
        """
        if self._folder is None:
            return
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path == self._path:
                continue
            with _taken(path) as file:
                if file is not None:
                    yield path, _entries(path, file)


@contextmanager
def _taken(path: Path) -> Iterator[int | None]:
    """The file, if its process has ended and nobody else is at it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file if os.fstat(file).st_nlink else None
    except BlockingIOError:
        yield None
    finally:
        os.close(file)


def _entries(path: Path, file: int) -> list[LateEntry]:
    found = []
    size = os.fstat(file).st_size
    for line in os.pread(file, size, 0).decode("utf-8", "replace").split("\n"):
        if not line:
            continue
        try:
            found.append(LateEntry.from_json(line))
        except (ValueError, KeyError, TypeError):  # its process ended while it wrote this
            log.critical("a late journal entry in %s cannot be read: %s", path, line)
    return found


def _write(file: int, offset: int, content: bytes) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(file, content[done:], offset + done)
