"""What a rollback did, on disk: so that it may be run twice, and undone.

One folder a rollback: `state.json`, `rollback.log`, the orders and positions that were found, the
symbols that were taken out, and a copy of the script itself, because the code that is returned to
may not have it. `open` names the rollback that is in force.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.rescue.statuses import Failed, Status

_TOOL = (
    "scripts/rollback.sh", "scripts/rescue/*.py", "utils/__init__.py", "utils/envfile.py",
)


@dataclass
class Facts:
    """What has to be known to go on, and to undo."""

    broker: str
    began: str
    code_from: str = ""
    code_to: str = ""
    switched_in_file: bool = False
    variable_before: str | None = None
    switched_in_database: bool = False
    flag_before: str | None = None
    symbols: int = 0
    restarted: str = ""
    connected_before: dict[str, bool] = field(default_factory=dict)
    undone: str = ""


class Record:
    """The rollback in force: its folder, its facts, its log."""

    def __init__(self, folder: Path, facts: Facts) -> None:
        self.folder = folder
        self.facts = facts

    def save(self) -> None:
        """Write the facts down, as a whole."""
        draft = self.folder / "state.json.new"
        draft.write_text(json.dumps(asdict(self.facts), indent=2) + "\n", encoding="utf-8")
        draft.replace(self.folder / "state.json")

    def keep(self, name: str, content: Any) -> None:
        """Keep a JSON document beside the facts."""
        text = json.dumps(content, indent=2) + "\n"
        (self.folder / name).write_text(text, encoding="utf-8")

    def log(self, text: str) -> None:
        """One line, on the terminal and in the log."""
        print(text, flush=True)
        self.note(text)

    def note(self, text: str) -> None:
        """One line in the log alone."""
        with (self.folder / "rollback.log").open("a", encoding="utf-8") as stream:
            stream.write(f"{now()} {text}\n")

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Note a step that fails, and say where its words are and how to go on."""
        try:
            yield
        except Failed as failure:
            self.note(f"FAILED ({int(failure.status)}): {failure}")
            failure.hint = (
                "What was done stays done. When the cause is mended, give the same command again: "
                f"it goes on from here. The log: {self.folder / 'rollback.log'}"
            )
            raise

    def close(self) -> None:
        """The rollback is not in force any more."""
        self.facts.undone = now()
        self.save()
        (self.folder.parent / "open").unlink(missing_ok=True)


def begin(state: Path, broker: str, root: Path) -> Record:
    """A new rollback, with a copy of the script under `root`."""
    folder = state / "rollback" / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z-{broker}"
    folder.mkdir(parents=True, mode=0o750)
    for pattern in _TOOL:
        for source in root.glob(pattern):
            target = folder / "tool" / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    record = Record(folder, Facts(broker, now()))
    record.save()
    link = state / "rollback" / "open.new"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(state / "rollback" / "open")
    return record


def in_force(state: Path) -> Record | None:
    """The rollback that was not undone yet."""
    link = state / "rollback" / "open"
    try:
        content = json.loads((link / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Record(link.resolve(), Facts(**content))


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """One rescue at a time. `Failed` when another one is at it, or nothing can be written."""
    folder = state / "rollback"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        raise Failed(
            Status.NOT_FOUND, f"{folder} can't be written ({error.strerror}): use sudo, or --state."
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(Status.BUSY, "Another rollback is running.") from None
        yield
    finally:
        os.close(handle)


def now() -> str:
    """The moment, as the logs write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
