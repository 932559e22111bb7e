"""Look-ups, search, expiries and lists, and that they follow the live contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from broker.models import Exchange, InstrumentRef
from broker.testing.clocks import ManualClock
from database.engine import Database
from database.errors import DatabaseUnavailable
from database.symbols import SymbolReader
from services.errors import InvalidRequest, UnknownSymbol
from services.symbols import SymbolService
from tests.support.databases import sqlite_database
from tests.support.instruments import future, index, load, option, share

NOV, DEC = date(2026, 11, 24), date(2026, 12, 29)
CONTRACT = [
    share("SBIN", token="3045", description="STATE BANK OF INDIA-EQ"),
    share("SBICARD", token="17971"),
    share("M&M", token="2031", description="MAHINDRA & MAHINDRA-EQ"),
    share("SBIN", "A", token="500112", exchange=Exchange.BSE, broker_segment="BSECM"),
    index(Exchange.NSE_INDEX, "Nifty 50"),
    future("NIFTY", NOV, "1", tick_size=Decimal("0.1")),
    future("NIFTY", DEC, "2"),
    future("NIFTYNXT50", date(2026, 11, 25), "3"),
    option("NIFTY", NOV, "25000", "CE", "4"),
    option("NIFTY", date(2026, 11, 17), "25000", "PE", "5"),
    option("NIFTY", DEC, "25100", "PE", "6"),
    share("TWIN", token="7", exchange=Exchange.BSE),
    share("TWIN", token="8", exchange=Exchange.BSE),
]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 20, 6, 30, tzinfo=UTC))


@pytest.fixture
def service(database: Database, clock: ManualClock) -> Iterator[SymbolService]:
    load(database, CONTRACT)
    made = SymbolService(database, clock)
    yield made
    made.close()


def test_a_symbol_and_its_token_find_the_same_record(service: SymbolService) -> None:
    record = service.lookup("jainam_prop", "NFO", "NIFTY24NOV26FUT")
    assert record is not None
    assert record == service.by_token("jainam_prop", "NFO", "1")
    assert record is service.lookup("jainam_prop", "NFO", "NIFTY24NOV26FUT")
    assert record.ref == InstrumentRef(Exchange.NFO, "1")
    assert (record.tick_size, record.lotsize, record.freeze_qty, record.expiry) == (
        Decimal("0.1"), 65, 1800, "24-NOV-26"
    )
    assert (record.price_low, record.price_high) == (Decimal("700.1"), Decimal("900.05"))
    assert record.tradable and record.multiplier == 1 and isinstance(record.id, int)


def test_an_exchange_or_broker_more_is_another_thing(service: SymbolService) -> None:
    bse = service.lookup("jainam_prop", "BSE", "SBIN")
    assert bse is not None and bse.token == "500112"
    assert service.lookup("wisdom", "NSE", "SBIN") is None
    assert service.by_token("jainam_prop", "BSE", "3045") is None
    assert service.lookup("jainam_prop", "NSE", "sbin' OR 1=1 --") is None


def test_an_index_can_be_looked_at_and_not_traded(service: SymbolService) -> None:
    record = service.require("jainam_prop", "NSE_INDEX", "NIFTY")
    assert not record.tradable and record.price_low is None


def test_many_tokens_are_found_at_once(service: SymbolService) -> None:
    refs = [InstrumentRef(Exchange.NFO, str(n)) for n in range(1, 150)]
    first = service.many_by_token("jainam_prop", [*refs, InstrumentRef(Exchange.NSE, "3045")])
    assert {record.token for record in first.values()} == {*"123456", "3045"}
    assert service.many_by_token("jainam_prop", refs[:3]) == {
        ref: first[ref] for ref in refs[:3]
    }
    assert service.many_by_token("jainam_prop", []) == {}


@pytest.mark.parametrize(("broker", "exchange", "symbol", "hint"), [
    ("jainam_prop", "NSE", "SBINN", "spelling"),
    ("jainam_prop", "NSE", "SBIN#1", "spelling"),
    ("jainam_prop", "BSE", "TWIN", "Several instruments"),
    ("wisdom", "NSE", "SBIN", "has not been downloaded"),
])
def test_an_unknown_symbol_is_refused_with_what_to_do(
    service: SymbolService, broker: str, exchange: str, symbol: str, hint: str
) -> None:
    with pytest.raises(UnknownSymbol) as caught:
        service.require(broker, exchange, symbol)
    assert caught.value.message.startswith(
        f"Token not found for symbol '{symbol}' on '{exchange}'. "
    )
    assert hint in caught.value.message
    assert "symbol" in caught.value.errors


def symbols(service: SymbolService, query: str, exchange: str | None = None) -> list[str]:
    found = service.search("jainam_prop", query, exchange)
    return [f"{record.exchange}:{record.symbol}" for record in found]


class TestSearch:
    def test_exact_comes_before_prefix_before_any_part(self, service: SymbolService) -> None:
        assert symbols(service, "nifty") == [
            "NSE_INDEX:NIFTY", "NFO:NIFTY17NOV2625000PE", "NFO:NIFTY24NOV2625000CE",
            "NFO:NIFTY24NOV26FUT", "NFO:NIFTY29DEC2625100PE", "NFO:NIFTY29DEC26FUT",
            "NFO:NIFTYNXT5025NOV26FUT",
        ]
        assert symbols(service, "SBI") == ["NSE:SBICARD", "NSE:SBIN", "BSE:SBIN"]

    def test_names_and_parts_are_found(self, service: SymbolService) -> None:
        assert symbols(service, "state bank") == ["NSE:SBIN"]
        assert symbols(service, "& mahindra") == ["NSE:M&M"]
        assert symbols(service, "25100") == ["NFO:NIFTY29DEC2625100PE"]
        assert symbols(service, "ZZZ") == []

    def test_every_word_of_several_must_be_there(self, service: SymbolService) -> None:
        assert symbols(service, "nifty 25000 ce") == ["NFO:NIFTY24NOV2625000CE"]
        assert symbols(service, "bank sbin") == ["NSE:SBIN"]

    def test_an_exchange_narrows_it(self, service: SymbolService) -> None:
        assert symbols(service, "SBIN", "BSE") == ["BSE:SBIN"]
        assert symbols(service, "nse") == []
        assert symbols(service, "SBIN", "MCX") == []

    def test_what_a_query_may_be(self, service: SymbolService) -> None:
        with pytest.raises(InvalidRequest):
            service.search("jainam_prop", "  ")
        assert symbols(service, "\x02\x03") == []
        assert symbols(service, "नमस्ते") == []
        assert symbols(service, "\ud800") == []
        assert symbols(service, "S" * 10_000) == []
        assert len(service.search("jainam_prop", "N", limit=3)) == 3
        assert service.search("wisdom", "SBIN") == []


class TestExpiries:
    def test_they_are_today_or_later_ascending(
        self, service: SymbolService, clock: ManualClock
    ) -> None:
        assert service.expiries("jainam_prop", "NIFTY", "NFO", "futures") == [
            "24-NOV-26", "29-DEC-26"
        ]
        assert service.expiries("jainam_prop", "nifty", "NFO", "options") == [
            "24-NOV-26", "29-DEC-26"
        ]
        clock.advance(4 * 86_400 + 12 * 3600)
        assert service.expiries("jainam_prop", "NIFTY", "NFO", "options") == ["29-DEC-26"]

    def test_a_root_is_not_a_prefix(self, service: SymbolService) -> None:
        assert service.expiries("jainam_prop", "NIFTYNXT50", "NFO", "futures") == ["25-NOV-26"]
        assert service.expiries("jainam_prop", "NIF", "NFO", "futures") == []

    def test_the_type_is_futures_or_options(self, service: SymbolService) -> None:
        with pytest.raises(InvalidRequest) as caught:
            service.expiries("jainam_prop", "NIFTY", "NFO", "swaps")
        assert "instrumenttype" in caught.value.errors


def test_lists_hold_every_record(service: SymbolService) -> None:
    assert len(list(service.instruments("jainam_prop"))) == len(CONTRACT)
    assert {record.symbol for record in service.instruments("jainam_prop", "NSE")} == {
        "SBIN", "SBICARD", "M&M"
    }
    assert service.counts("jainam_prop") == {"BSE": 3, "NFO": 6, "NSE": 3, "NSE_INDEX": 1}
    assert service.counts("wisdom") == {}
    generation = service.generation("jainam_prop")
    assert generation is not None and generation.rows == len(CONTRACT)


def test_a_new_contract_is_seen_within_the_time_of_a_check(
    database: Database, service: SymbolService, clock: ManualClock
) -> None:
    assert service.lookup("jainam_prop", "NSE", "SBIN") is not None
    assert symbols(service, "SBIN")
    load(database, [share("SBIN", token="999"), share("NEWCO", token="5")])
    clock.advance(0.2)
    record = service.lookup("jainam_prop", "NSE", "SBIN")
    assert record is not None and record.token == "999"
    assert service.by_token("jainam_prop", "NSE", "3045") is None
    assert symbols(service, "NEWCO") == ["NSE:NEWCO"]
    assert symbols(service, "NIFTY") == []


def test_what_is_remembered_is_bounded(
    service: SymbolService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.symbols._CACHE_SIZE", 2)
    for _ in range(2):
        for token in "123456":
            assert service.by_token("jainam_prop", "NFO", token) is not None
    assert len(service._known["jainam_prop"].by_token) <= 2


def test_a_fork_reads_with_a_connection_of_its_own(service: SymbolService) -> None:
    assert service.lookup("jainam_prop", "NSE", "SBIN") is not None
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        status = 1
        try:
            status = 0 if service.by_token("jainam_prop", "NSE", "17971") else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert service.by_token("jainam_prop", "NSE", "2031") is not None


def test_a_lost_store_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        reader = SymbolReader(database)
        load(database, CONTRACT)
        path = Path(str(database.symbols_url.database))
        path.write_bytes(b"no database at all" * 1000)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        with pytest.raises(DatabaseUnavailable):
            reader.by_symbol("jainam_prop", "NSE", "SBIN")
    with pytest.raises(ValueError, match="look-up"):
        reader.many("jainam_prop", "name; DROP TABLE x", [])
