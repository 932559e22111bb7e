"""Where the time of one request went: waiting for a turn, at the broker, or here.

The HTTP layer opens a collection per request; whoever waits or calls adds to it, from any thread
that runs in a copy of the request's context.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Spent:
    """Seconds by kind. Calls made side by side add up, so `broker` may exceed the whole."""

    __slots__ = ("broker", "queue")

    def __init__(self) -> None:
        self.queue = 0.0
        self.broker = 0.0

    def header(self, total: float) -> str:
        """The value of `Server-Timing` (milliseconds) for a request that took `total` seconds."""
        ours = max(0.0, total - self.queue - self.broker)
        return (
            f"queue;dur={self.queue * 1000:.2f}, broker;dur={self.broker * 1000:.2f}, "
            f"ours;dur={ours * 1000:.2f}, total;dur={total * 1000:.2f}"
        )


_spent: ContextVar[Spent | None] = ContextVar("spent", default=None)


@contextmanager
def collect() -> Iterator[Spent]:
    """Collect what this context spends."""
    spent = Spent()
    token = _spent.set(spent)
    try:
        yield spent
    finally:
        _spent.reset(token)


def waited(seconds: float) -> None:
    """Add time spent waiting for a turn."""
    if (spent := _spent.get()) is not None:
        spent.queue += seconds


def at_broker(seconds: float) -> None:
    """Add time spent on one call of the broker."""
    if (spent := _spent.get()) is not None:
        spent.broker += seconds
