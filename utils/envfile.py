"""The secrets of a fresh installation: written to `.env` once, at random, readable by its owner.

Only the standard library is imported, because `scripts/dev.py` runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

GENERATED = ("SECRET_KEY", "API_KEY_PEPPER", "BACKUP_KEY")
_MODE = 0o600
_HEAD = """\
# Settings of this installation; every variable is explained in .env.example.
# The secrets below were made at random. Keep this file, and keep it to yourself.
"""


def read_plain(path: Path) -> dict[str, str]:
    """The plain `NAME=value` lines of a `.env` file: enough to know a port before the start.

    The gateway itself reads `.env` with python-dotenv.
    """
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*", line)
        if match:
            value = match.group(2)
            if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
            found[match.group(1)] = value
    return found


def ensure_secrets(path: Path, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Add the secrets that neither `path` nor the environment has; return their names.

    The file gets mode 600, whatever it had. It is replaced as a whole, under a lock, so that two
    processes that start at once agree on the same secrets and none reads half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        known = {**read_plain(path), **environ}
        missing = [name for name in GENERATED if not (known.get(name) or known.get(f"{name}_FILE"))]
        if missing:
            text = path.read_text(encoding="utf-8") if path.is_file() else _HEAD
            if not text.endswith("\n"):
                text += "\n"
            text += "".join(f"{name}={secrets.token_hex(32)}\n" for name in missing)
            write_private(path, text)
        elif path.is_file() and path.stat().st_mode & 0o077:
            path.chmod(_MODE)
        return missing
    finally:
        os.close(descriptor)


def set_variables(path: Path, changes: Mapping[str, str | None]) -> None:
    """Set variables in a file, or take them out (None); other lines stay as they are.

    The file, or what a link leads to, is replaced as a whole and keeps its owner and its mode.
    """
    real = path.resolve()
    text = real.read_text(encoding="utf-8")
    for name, value in changes.items():
        line = re.compile(rf"(?m)^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*=.*(?:\n|\Z)")
        text = line.sub("", text)
        if value is not None:
            text += ("" if text.endswith("\n") or not text else "\n") + f"{name}={value}\n"
    facts = real.stat()
    descriptor, draft = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), facts.st_mode & 0o777)
            if os.geteuid() == 0:
                os.fchown(stream.fileno(), facts.st_uid, facts.st_gid)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).replace(real)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, with mode 600 from its first byte on."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), _MODE)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
