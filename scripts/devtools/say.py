"""What people see in the terminal: short lines, and how long a step took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Failed(Exception):
    """Something that the person at the terminal has to mend; the message is for them."""


def say(text: str) -> None:
    """One line, shown at once."""
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show a step that takes time: its title at once, its duration when it is over."""
    started = time.monotonic()
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        print(f"  … {title}", end="", flush=True)
    try:
        yield
    except BaseException:
        print(f"\r  ✗ {title}" if on_terminal else f"  ✗ {title}", flush=True)
        raise
    seconds = time.monotonic() - started
    line = f"  ✓ {title} ({seconds:.1f} s)"
    print(f"\r{line}" if on_terminal else line, flush=True)
