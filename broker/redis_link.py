"""One Redis as several parts of a process use it: whoever finds it away spares the others the wait.

The client is handed in (redis-py's, or one like it); this module imports nothing to connect with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from broker.base import Clock

PAUSE = 0.5
"""Seconds for which a server that did not answer is asked again by one caller only."""

Script = Callable[[Sequence[str], Sequence[object]], Any]


class RedisAway(Exception):
    """Redis does not answer, or cannot do what it was asked."""


class Client(Protocol):
    """What is needed of a Redis client."""

    def register_script(self, script: str) -> Any:
        """A callable with `keys` and `args` that runs the script."""

    def ping(self) -> Any:
        """A sign of life."""


class RedisLink:
    """Calls to one Redis. `failures` is what its client raises when it cannot be used."""

    def __init__(
        self, client: Client, clock: Clock, failures: tuple[type[Exception], ...]
    ) -> None:
        self._client = client
        self._clock = clock
        self._failures = failures
        self._guard = threading.Lock()
        self._down_until: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether Redis was away when it was last asked."""
        return self._down_until is not None

    def script(self, text: str) -> Script:
        """A script as a function of keys and arguments; it raises `RedisAway`."""
        registered = self._client.register_script(text)

        def run(keys: Sequence[str], arguments: Sequence[object]) -> Any:
            return self.call(lambda: registered(keys=list(keys), args=list(arguments)))

        return run

    def ping(self) -> None:
        """Raise `RedisAway` unless Redis gives a sign of life."""
        self.call(self._client.ping)

    def call(self, work: Callable[[], Any]) -> Any:
        """Run `work`; `RedisAway` when it fails, and at once for a while after it failed."""
        if self._down_until is not None:
            self._only_one()
        try:
            answer = work()
        except self._failures as error:
            with self._guard:
                self._down_until = self._clock.monotonic() + PAUSE
            raise RedisAway(f"Redis does not answer ({type(error).__name__})") from error
        self._down_until = None
        return answer

    def _only_one(self) -> None:
        with self._guard:
            now = self._clock.monotonic()
            if self._down_until is not None and now < self._down_until:
                raise RedisAway("Redis did not answer a moment ago")
            self._down_until = now + PAUSE
