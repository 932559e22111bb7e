"""The gateway with points at which it may be killed: `gunicorn tests.faults.killer:create_app()`.

Its wall clock can be set, too: the number in a file is added to it, in seconds.

The product is untouched: points stand around the functions that journal, send and settle, and only
in this entry, which no installation serves (docs/decisions/0140-points-to-kill-at.md). An order to
kill is a file: `{"point": …, "target": …, "pid": …}`; whoever reaches the point first takes it.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from app import GatewayApp
from app import create_app as create_gateway
from broker.transport import Transport
from database import journal
from database.journal import IntentState
from services.recording import Entry
from utils.clock import SystemClock

ORDERS = "OPENALGO_KILL_ORDERS"
"""The variable that names the folder of the orders to kill."""

CLOCK = "OPENALGO_CLOCK_SHIFT"
"""The variable that names the file of the clock."""

POINTS = (
    "before journal", "in journal", "after journal", "before send", "sent", "after send",
    "before settle", "in settle", "after settle",
)
TARGETS = ("worker", "master", "database")

ORDER, TAKEN = "order.json", "taken.json"

_ON_ITS_WAY = 0.05
"""Seconds after which a request has left and has, by a slow venue, no answer yet."""


class Killer:
    """Obeys orders to kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reached(self, point: str) -> None:
        """Kill, if that was ordered for this point."""
        path = self._folder / ORDER
        try:
            order = json.loads(path.read_text())
            if order["point"] != point:
                return
            path.rename(self._folder / TAKEN)
        except (FileNotFoundError, ValueError):
            return
        victim = {"worker": os.getpid(), "master": os.getppid()}.get(order["target"], order["pid"])
        os.kill(victim, signal.SIGKILL)

    def around(self, before: str, after: str) -> Callable[[Any], Any]:
        """Put two points around a function."""

        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def call(*arguments: Any, **named: Any) -> Any:
                self.reached(before)
                try:
                    return function(*arguments, **named)
                finally:
                    self.reached(after)

            return call

        return wrap

    def within(self, point: str, is_meant: Callable[..., bool]) -> Callable[[Any], Any]:
        """Put a point at the end of a function, where its transaction is not committed yet."""

        def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def call(*arguments: Any, **named: Any) -> Any:
                result = function(*arguments, **named)
                if is_meant(*arguments):
                    self.reached(point)
                return result

            return call

        return wrap

    def sends(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Put points before, within and after the request that places an order."""
        around = self.around("before send", "after send")(function)

        @functools.wraps(function)
        def send(transport: Transport, method: str, path: str, **named: Any) -> Any:
            if method != "POST" or not path.endswith("/orders"):
                return function(transport, method, path, **named)
            timer = threading.Timer(_ON_ITS_WAY, self.reached, ("sent",))
            timer.start()
            try:
                return around(transport, method, path, **named)
            finally:
                timer.cancel()

        return send


def set_clock(path: Path) -> None:
    """Let the wall clock follow the file; the steady clock knows nothing of it."""
    real = SystemClock.now

    def now(clock: SystemClock) -> datetime:
        try:
            return real(clock) + timedelta(seconds=float(path.read_text()))
        except (FileNotFoundError, ValueError):
            return real(clock)

    SystemClock.now = now  # type: ignore[method-assign,assignment]  # that is the point


def create_app() -> GatewayApp:
    """The gateway, with the points in place."""
    if CLOCK in os.environ:
        set_clock(Path(os.environ[CLOCK]))
    if ORDERS in os.environ:
        _place_points(Killer(Path(os.environ[ORDERS])))
    return create_gateway()


def _place_points(killer: Killer) -> None:
    patch: list[tuple[Any, str, Callable[[Any], Any]]] = [
        (Entry, "sending", killer.around("before journal", "after journal")),
        (journal, "new_intent", killer.within("in journal", lambda *_: True)),
        (Transport, "send", killer.sends),
        (Entry, "settle", killer.around("before settle", "after settle")),
        (journal, "change", killer.within(
            "in settle", lambda conn, number, state, *_: state is not IntentState.SENDING
        )),
    ]
    for owner, name, wrap in patch:
        setattr(owner, name, wrap(getattr(owner, name)))
