"""A simulator in this process for each test, without limits in the way, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from simulator.testing import ThreadSimulator, threaded
from tests.support.xts_client import XtsClient

Connect = Callable[..., XtsClient]


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadSimulator]:
    with threaded() as simulator:
        yield simulator


@pytest.fixture
def sim(running: ThreadSimulator) -> ThreadSimulator:
    """A simulator as new; rate limits are off unless a test turns them on."""
    running.control("reset", {"sessions": True})
    running.control("limits", {"mode": "off"})
    running.control("clock", {"always_open": True})
    return running


@pytest.fixture
def connect(sim: ThreadSimulator) -> Iterator[Connect]:
    """Make clients of the simulator: `connect("jainam-b", "pro1")`."""
    made: list[XtsClient] = []

    def make(profile: str, label: str | None = None, *, login: bool = True) -> XtsClient:
        made.append(XtsClient(sim, profile, label, login=login))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def b(connect: Connect) -> XtsClient:
    """A pro dealer on cluster B."""
    return connect("jainam-b")


@pytest.fixture
def investor(connect: Connect) -> XtsClient:
    """An investor at the generic broker."""
    return connect("generic-json")
