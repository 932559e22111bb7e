"""Lets work that can wait give way, within the process, to requests that cannot.

Python's threads take turns at the interpreter. One that computes keeps it for the switch interval
(5 ms) each time somebody wants it back, and an order wants it back some twenty times. A short
interval all the time is no answer: every thread that waits wakes up at its end, which with sixteen
waiting costs more than it gives (docs/decisions/0101).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHORT = 0.002
"""Seconds for which a thread keeps the interpreter while work gives way."""

_guard = threading.Lock()
_giving = 0
_usual = 0.0


@contextmanager
def giving_way() -> Iterator[None]:
    """While the block runs, whoever wants the interpreter has it within two milliseconds."""
    global _giving, _usual
    with _guard:
        _giving += 1
        if _giving == 1:
            _usual = sys.getswitchinterval()
            sys.setswitchinterval(min(SHORT, _usual))
    try:
        yield
    finally:
        with _guard:
            _giving -= 1
            if _giving == 0:
                sys.setswitchinterval(_usual)
