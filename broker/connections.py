"""The connections to one host: kept while they are good, each used by one call at a time.

httpcore's own pool looks at every connection that it keeps, twice for each request, and asks the
system about each idle one. With sixteen orders at a time that was a tenth of what an order costs.
Here a call takes the connection that was used last and looks at that one.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator

import httpcore


class Connections:
    """A pool for one origin. Errors are httpcore's; `PoolTimeout` when no connection is free.

    `size`: how many there may be; `keepalive`: seconds for which an idle one is kept.
    """

    def __init__(
        self,
        origin: httpcore.Origin,
        ssl_context: ssl.SSLContext | None,
        size: int,
        keepalive: float,
        backend: httpcore.NetworkBackend,
    ) -> None:
        self._origin = origin
        self._ssl_context = ssl_context
        self._keepalive = keepalive
        self._backend = backend
        self._room = threading.Semaphore(size)
        self._guard = threading.Lock()
        self._idle: list[httpcore.HTTPConnection] = []  # the one used last is the last
        self._closed = False

    def send(self, request: httpcore.Request, wait: float) -> Answer:
        """Send one request, once; `wait`: seconds to wait for a free connection."""
        if not self._room.acquire(timeout=wait):
            raise httpcore.PoolTimeout("every connection is in use")
        connection = None
        try:
            connection = self._take()
            return Answer(self, connection, connection.handle_request(request))
        except BaseException:
            self._room.release()
            if connection is not None:
                connection.close()
            raise

    def close(self) -> None:
        """Close what is idle; what is in use is closed when its answer is."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> httpcore.HTTPConnection:
        """A connection that is good as far as can be told, else a new one."""
        while True:
            with self._guard:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return httpcore.HTTPConnection(
                    self._origin,
                    ssl_context=self._ssl_context,
                    keepalive_expiry=self._keepalive,
                    network_backend=self._backend,
                )
            if connection.is_available() and not connection.has_expired():
                return connection
            connection.close()

    def give_back(self, connection: httpcore.HTTPConnection) -> None:
        """The answer was closed. The connection idle longest is looked at now and then."""
        oldest = None
        with self._guard:
            keep = not self._closed and connection.is_available()
            if keep:
                if self._idle and self._idle[0].has_expired():
                    oldest = self._idle.pop(0)
                self._idle.append(connection)
        self._room.release()
        if not keep:
            connection.close()
        if oldest is not None:
            oldest.close()


class Answer:
    """An answer whose head has been read. Its connection is free again when it is closed."""

    __slots__ = ("_connection", "_pool", "_response")

    def __init__(
        self, pool: Connections, connection: httpcore.HTTPConnection, response: httpcore.Response
    ) -> None:
        self._pool: Connections | None = pool
        self._connection = connection
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return self._response.headers

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        """Done with it. One that was not read to its end closes its connection."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                self._response.close()
            finally:
                pool.give_back(self._connection)
