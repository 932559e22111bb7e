"""Another process that holds the lock of a port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.config import ROOT

HOLD = """
import signal, sys
from pathlib import Path
from scripts.devtools import instances
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
stream = instances.take(Path(sys.argv[1]))
print("held", flush=True)
signal.pause()
"""


@contextmanager
def held(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
