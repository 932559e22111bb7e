"""A simulator for the tests of sessions, and gateway processes that talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from database.engine import Database
from simulator.testing import ThreadSimulator, threaded
from tests.support.databases import sqlite_database
from tests.support.simulated import simulated_stack, variables
from tests.support.stacks import Stack
from utils.clock import SystemClock

MakeStack = Callable[..., Stack]


@pytest.fixture(scope="module")
def shared_venue() -> Iterator[ThreadSimulator]:
    with threaded() as running:
        yield running


@pytest.fixture
def sim(shared_venue: ThreadSimulator) -> Iterator[ThreadSimulator]:
    yield shared_venue
    shared_venue.faults()
    shared_venue.reset()
    shared_venue.control("sessions/kill", {})
    shared_venue.control("limits", {"mode": "published"})


@pytest.fixture
def main_database(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


@pytest.fixture
def make_stack(
    main_database: Database, tmp_path: Path, sim: ThreadSimulator
) -> Iterator[MakeStack]:
    made: list[Stack] = []

    def make(profile: str = "jainam-b", **changes: str) -> Stack:
        environment = variables(sim.url, profile) | changes
        made.append(simulated_stack(main_database, tmp_path, SystemClock(), environment))
        return made[-1]

    yield make
    for stack in made:
        stack.sessions.close()


@pytest.fixture
def stack(make_stack: MakeStack) -> Stack:
    return make_stack()
