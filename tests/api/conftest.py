"""The whole gateway: gunicorn, a simulator behind it, the official client in front."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openalgo
import pytest

from benchmarks.servers import PROFILE, Served
from tests.support.databases import scratch_postgres_url


class Api:
    """A served gateway with its simulator, and clients of it."""

    profile = PROFILE

    def __init__(self, served: Served) -> None:
        self.served = served
        self.simulator = served.simulator
        self.key = served.key
        self.client = openalgo.api(api_key=served.key, host=served.url, timeout=30.0)
        self.http = httpx.Client(base_url=served.url, timeout=30.0, trust_env=False)
        self._seen = 0

    def post(self, path: str, **body: Any) -> httpx.Response:
        """POST with the key; `path` without the prefix."""
        return self.http.post(f"/api/v1/{path}", json={"apikey": self.key, **body})

    def truth(self) -> list[dict[str, Any]]:
        """Every order request that reached the simulator since `begin`."""
        return self.simulator.orders(self.profile)[self._seen :]

    def begin(self) -> None:
        """A test begins: orders of earlier ones stay in the book, but no longer count here."""
        self._seen = len(self.simulator.orders(self.profile))

    def counts(self) -> dict[str, int]:
        """Requests that reached the simulator, by route."""
        return self.simulator.counts(self.profile)


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The gateway on SQLite, and again on PostgreSQL."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        environ = {}
        if request.param == "postgres":
            environ["DATABASE_URL"] = stack.enter_context(scratch_postgres_url())
        yield Api(stack.enter_context(Served(folder, environ=environ)))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The gateway on SQLite."""
    with Served(tmp_path_factory.mktemp("api")) as served:
        yield Api(served)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Api]]:
    """Start a gateway with other settings; all are ended with the module."""
    with ExitStack() as stack:

        def start(**options: Any) -> Api:
            folder: Path = tmp_path_factory.mktemp("served")
            return Api(stack.enter_context(Served(folder, **options)))

        yield start
