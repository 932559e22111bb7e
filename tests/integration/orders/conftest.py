"""The order services over the real adapters, against the simulator."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.contract_loader import ContractLoader
from services.contract_order import ContractOrder
from services.symbols import SymbolService
from simulator.testing import ThreadSimulator, threaded
from tests.support.databases import sqlite_database
from tests.support.processes import Process
from tests.support.simulated import simulated_stack, variables
from utils.clock import SystemClock

MakeProcess = Callable[..., Process]


@pytest.fixture(scope="module")
def shared_venue() -> Iterator[ThreadSimulator]:
    with threaded() as running:
        yield running


@pytest.fixture
def sim(shared_venue: ThreadSimulator) -> Iterator[ThreadSimulator]:
    yield shared_venue
    shared_venue.faults()
    shared_venue.reset()
    shared_venue.control("limits", {"mode": "published"})


@pytest.fixture(scope="module")
def contract(
    shared_venue: ThreadSimulator, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A symbols file with the master contract of the simulator, loaded once."""
    folder = tmp_path_factory.mktemp("contract")
    with sqlite_database(folder) as database:
        stack = simulated_stack(database, folder, SystemClock(), variables(shared_venue.url))
        broker = stack.sessions.connection(stack.account)
        ContractLoader(
            ContractOrder.for_broker(broker, symbols_url=str(database.symbols_url))
        ).run()
        stack.sessions.close()
    return folder / "symbols.db"


@pytest.fixture
def make_process(
    tmp_path: Path, sim: ThreadSimulator, contract: Path
) -> Iterator[MakeProcess]:
    """Processes of one gateway: they share database, locks and pacing."""
    made: list[Process] = []
    with sqlite_database(tmp_path) as database:
        _copy_database(contract, tmp_path / "symbols.db")

        def make(profile: str = "jainam-b", **changes: str) -> Process:
            environment = variables(sim.url, profile) | {"JAINAM_API_TIMEOUT": "3"} | changes
            stack = simulated_stack(database, tmp_path, SystemClock(), environment)
            made.append(Process(
                stack, SymbolService(database),
                timeout=float(environment["JAINAM_API_TIMEOUT"]),
            ))
            return made[-1]

        yield make
        for process in made:
            process.stack.sessions.close()


@pytest.fixture
def process(make_process: MakeProcess) -> Process:
    return make_process()


def _copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database as it stands, its write-ahead log included."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
