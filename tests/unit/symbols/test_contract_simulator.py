"""The simulator's master contract through the real adapters: every row named, found and unique."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.base import AccountConfig, Broker, Runtime
from broker.models import BadRow, Exchange, InstrumentKind, Secret
from broker.registry import discover
from broker.slots import MemorySlotStore
from database.engine import Database
from database.jobs import JobState
from services.master_contract import MasterContractService
from services.symbols import SymbolService
from simulator.testing import Simulator, credential
from tests.support.databases import sqlite_database
from utils.clock import SystemClock

GRAMMAR = {
    "FUT": re.compile(r"(.+?)\d{2}[A-Z]{3}\d{2}FUT"),
    "CE": re.compile(r"(.+?)\d{2}[A-Z]{3}\d{2}\d+(\.\d*[1-9])?CE"),
    "PE": re.compile(r"(.+?)\d{2}[A-Z]{3}\d{2}\d+(\.\d*[1-9])?PE"),
    "SPD": re.compile(r"(.+?)\d{2}[A-Z]{3}\d{2}-[A-Z0-9]+SPD"),
    "EQ": re.compile(r"[A-Z0-9&-]+"),
    "DEBT": re.compile(r"[A-Z0-9&-]+-[A-Z0-9]+"),
    "INDEX": re.compile(r"[A-Z0-9&]+"),
    "SPOT": re.compile(r"[A-Z0-9&-]+-SPOT"),
}


class OneAccount:
    """A source whose one account talks to the simulator."""

    def __init__(self, name: str, profile: str, cluster: str, url: str) -> None:
        login = credential(profile)
        config = AccountConfig(
            profile,
            {
                "interactive_api_key": Secret(login["interactive_key"]),
                "interactive_api_secret": Secret(login["interactive_secret"]),
                "market_api_key": Secret(login["market_key"]),
                "market_api_secret": Secret(login["market_secret"]),
            },
            cluster=cluster, base_url=url,
        )
        clock = SystemClock()
        self.broker: Broker = discover().get(name)(config, Runtime(clock, MemorySlotStore(clock)))

    def check(self, broker: str) -> None:
        """Everything can be downloaded."""

    def connect(self, broker: str) -> Broker:
        if self.broker.session is None:
            self.broker.attach(self.broker.login())
        return self.broker

    def renew(self, broker: Broker, *, partial: bool) -> Broker:
        broker.attach(broker.login())
        return broker


class NoAlarms:
    def open(self, rule: str, subject: str, message: str) -> None:
        raise AssertionError(message)

    def close(self, rule: str, subject: str) -> None:
        """Nothing is open."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


def load(database: Database, source: OneAccount, name: str, folder: Path) -> dict[str, Any]:
    service = MasterContractService(
        database, SystemClock(), source, NoAlarms(), slots_directory=folder / "slots"
    )
    job = service.wait(service.start(name, "asha").id, 60)
    service.close()
    assert job.state is JobState.DONE, job.report
    return job.report


@pytest.mark.parametrize(("name", "profile", "cluster"), [
    ("jainam_prop", "jainam-b", "B"), ("wisdom", "generic-json", ""),
])
def test_every_row_of_the_master_gets_a_symbol_of_its_own(
    simulator: Simulator, database: Database, tmp_path: Path,
    name: str, profile: str, cluster: str,
) -> None:
    source = OneAccount(name, profile, cluster, simulator.url)
    report = load(database, source, name, tmp_path)
    served = [item for item in source.broker.instruments() if not isinstance(item, BadRow)]
    assert report["rows"] == len(served) and report["collisions"] == 0
    symbols = SymbolService(database)
    for item in served:
        record = symbols.by_token(name, str(item.exchange), item.token)
        assert record is not None, item
        assert GRAMMAR[record.instrumenttype].fullmatch(record.symbol), record.symbol
        assert symbols.lookup(name, record.exchange, record.symbol) == record
        assert (record.lotsize, record.freeze_qty, record.tick_size, record.isin) == (
            item.lot_size, item.freeze_quantity, item.tick_size, item.isin
        )
        assert (record.price_low, record.price_high) == (item.price_low, item.price_high)
        untradable = (InstrumentKind.INDEX, InstrumentKind.SPREAD, InstrumentKind.SPOT)
        assert record.tradable is (item.kind not in untradable)
    assert symbols.counts(name) == {
        str(exchange): count
        for exchange, count in Counter(item.exchange for item in served).items()
    }
    assert symbols.lookup(name, "NSE_INDEX", "NIFTY") is not None
    assert symbols.lookup(name, "NSE", "M&M") is not None
    assert symbols.expiries(name, "NIFTY", "NFO", "options")
    assert {item.exchange for item in served} >= {
        Exchange.NSE, Exchange.BSE, Exchange.NFO, Exchange.BFO, Exchange.CDS, Exchange.MCX
    }
    symbols.close()
    source.broker.close()


def test_two_brokers_live_side_by_side(
    simulator: Simulator, database: Database, tmp_path: Path
) -> None:
    sources = {
        "jainam_prop": OneAccount("jainam_prop", "jainam-b", "B", simulator.url),
        "wisdom": OneAccount("wisdom", "generic-json", "", simulator.url),
    }
    rows = {name: load(database, source, name, tmp_path)["rows"]
            for name, source in sources.items()}
    with database.symbols() as conn:
        counted: dict[str, int] = dict(conn.exec_driver_sql(
            "SELECT broker, count(*) FROM symbol_token GROUP BY broker"
        ).fetchall())
    assert counted == rows
    for source in sources.values():
        source.broker.close()
