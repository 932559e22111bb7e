"""Finds what the logs say about a request or an order: in all three files, rotated ones too.

Files are read line by line, and only lines that hold one of the words are parsed, so that weeks
of logs take seconds and no memory.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

FILES = ("app.log", "error.log", "access.log")


def files_of(folder: Path) -> list[Path]:
    """The logs of a folder and their rotated predecessors, the oldest first."""
    found = [path for name in FILES for path in folder.glob(f"{name}*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def find(folder: Path, words: Collection[str]) -> list[dict[str, Any]]:
    """The lines in which one of the words stands, by time, each once.

    A word counts as the value of a field (or one of several values), or within the message.
    `OSError` when a file can't be read.
    """
    wanted = [word for word in words if word]
    found: dict[str, dict[str, Any]] = {}
    for path in files_of(folder):
        for line in _lines(path):
            if line in found or not any(word in line for word in wanted):
                continue
            fields = _parsed(line)
            if fields is not None and _is_about(fields, wanted):
                found[line] = fields
    return sorted(found.values(), key=lambda fields: str(fields.get("time", "")))


def _lines(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            yield line.rstrip("\n")


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None  # half a line, at the end of a disk
    return fields if isinstance(fields, dict) else None


def _is_about(fields: dict[str, Any], words: Collection[str]) -> bool:
    for name, value in fields.items():
        if name in ("message", "exc_info"):
            if any(word in str(value) for word in words):
                return True
        elif any(str(one) in words for one in (value if isinstance(value, list) else [value])):
            return True
    return False
