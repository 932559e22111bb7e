"""A simulator without limits, as new for each test, and accounts at its venues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulator.testing import ThreadSimulator, threaded
from tests.support.xts_accounts import Account

Connect = Callable[..., Account]


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadSimulator]:
    with threaded() as simulator:
        yield simulator


@pytest.fixture
def sim(running: ThreadSimulator) -> ThreadSimulator:
    running.control("reset", {"sessions": True})
    running.control("limits", {"mode": "off"})
    running.control("clock", {"always_open": True})
    running.control("hostlookup", {})
    running.control("master", {"reset": True})
    return running


@pytest.fixture
def connect(sim: ThreadSimulator) -> Iterator[Connect]:
    """`connect("b")`, `connect("c", "normal1", …)`: logged in, unless `login=False`."""
    made: list[Account] = []

    def make(
        venue: str, label: str | None = None, *, login: bool = True, **settings: Any
    ) -> Account:
        account = Account(sim, venue, label, **settings)
        made.append(account)
        return account.connect() if login else account

    yield make
    for account in made:
        account.close()
