"""On whose behalf this context works: whoever shares something out takes turns between callers.

    with calling("key:17"):
        …
    current()   # "key:17" in the block and in what it starts, "" outside
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_caller: ContextVar[str] = ContextVar("caller", default="")


@contextmanager
def calling(name: str) -> Iterator[None]:
    """Work for this caller in the block."""
    token = _caller.set(name)
    try:
        yield
    finally:
        _caller.reset(token)


def current() -> str:
    """The caller that this context works for, "" for the gateway itself."""
    return _caller.get()
