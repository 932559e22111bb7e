"""Runs work that can wait in a process of its own: `python -m services.aside MODULE`.

Orders go first, also before what such a process imports, which is a third of a second of work: so
its priority goes down before anything else happens. MODULE has a `main()`; it reads its order from
standard input and gives its exit code back.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

CONTRACT = "services.master_contract_worker"
BACKUP = "services.backup_worker"

_NICENESS = 10
_ROOT = Path(__file__).resolve().parent.parent


def start(module: str, *, stderr: int | None = None) -> subprocess.Popen[str]:
    """Start it, with pipes for its order and its answers; `stderr` as `subprocess` has it."""
    return subprocess.Popen(
        (sys.executable, "-m", "services.aside", module), cwd=_ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=stderr, text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )


def main() -> int:
    """Make way, then work. Ctrl-C in a terminal is for the gateway, which ends its helpers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICENESS)
    code: int = importlib.import_module(sys.argv[1]).main()
    return code


if __name__ == "__main__":
    raise SystemExit(main())
