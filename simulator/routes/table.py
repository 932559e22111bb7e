"""A route: its canonical name, the handler, the rate-limit class, and whether it needs a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from simulator.envelope import Reply
from simulator.exchange import Context


@dataclass(frozen=True, slots=True)
class StreamReply:
    """A long answer sent in chunks: 200, JSON, length known."""

    length: int
    chunks: Iterator[bytes]


Handler = Callable[[Context], "Reply | StreamReply | Awaitable[Reply]"]


@dataclass(frozen=True, slots=True)
class Route:
    """`name` is "METHOD /path" without the service prefix, as fault plans and counts use it."""

    name: str
    handler: Handler
    limit: str = ""
    token: bool = True


class Table:
    """Routes of one service, by method and lower-case path."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], Route] = {}

    def add(
        self, method: str, path: str, *, limit: str = "", token: bool = True
    ) -> Callable[[Handler], Handler]:
        """Decorator: register a handler."""

        def register(handler: Handler) -> Handler:
            route = Route(f"{method} {path}", handler, limit, token)
            self._routes[(method, path.lower())] = route
            return handler

        return register

    def find(self, method: str, path: str) -> Route | None:
        return self._routes.get((method, path)) or self._routes.get((method, path.lower()))
