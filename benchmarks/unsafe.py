"""The gateway without journal and pacing, only to be measured: what they cost is the difference.

All else is the gateway's own application: key check, validation, look-up, mapping, the wire. It
does no scheduled work, so that the one on the same database keeps doing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from app import GatewayApp, create_app
from broker.base import Grant, Priority, SlotStore, WindowKey
from database.journal import Intent
from services.gateway import Gateway
from services.recording import Recorder


class NoSlots(SlotStore):
    """Counts nothing and lets everyone through."""

    def acquire(self, wanted: Sequence[WindowKey], priority: Priority, lease: float) -> Grant:
        return Grant(())

    def release(self, grant: Grant) -> None: ...

    def waiting(self, wanted: Sequence[WindowKey], priority: Priority, change: int) -> None: ...

    def peek(self, wanted: Sequence[WindowKey]) -> float:
        return 0.0


class NoEntry:
    """An order's journal entry that is written nowhere."""

    def __init__(self, intent: Intent) -> None:
        self.intent = intent

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class NoRecorder:
    """Begins entries that are written nowhere."""

    def entry(self, intent: Intent, *, way_out: bool) -> NoEntry:
        return NoEntry(intent)


class Unsafe(GatewayApp):
    """The application; it has no background work."""

    def start_background(self, worker: Any = None) -> None: ...


def create() -> GatewayApp:
    """For gunicorn: `benchmarks.unsafe:create()`."""
    app = create_app(build=lambda settings: Gateway(settings, slots=lambda *_: NoSlots()))
    app.__class__ = Unsafe
    dispatcher = app.gateway.orders._placer._dispatcher
    dispatcher._recorder = cast(Recorder, NoRecorder())
    return app
