"""The swap: old or new and nothing between, collisions told and untradable, two brokers apart."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import zlib
from datetime import date
from pathlib import Path

import pytest

from broker.models import Exchange, Instrument
from database.engine import Database
from database.symbol_import import SqliteImport, in_chunks, open_import
from database.symbol_rows import FIELDS
from database.symbols import SymbolReader
from tests.support.databases import sqlite_database
from tests.support.instruments import future, load, option, rows_of, share

NOV = date(2026, 11, 24)


def contract(size: int = 300, lot: int = 65) -> list[Instrument]:
    return [
        *(option("NIFTY", NOV, str(20_000 + 50 * n), token=str(50_000 + n), lot_size=lot)
          for n in range(size)),
        *(share(f"SHARE{n}", token=str(n), lot_size=lot) for n in range(1, 40)),
    ]


def url(database: Database) -> str:
    return database.symbols_url.render_as_string(hide_password=False)


def test_an_import_replaces_the_broker_s_rows_and_no_others(database: Database) -> None:
    assert load(database, contract(), "wisdom") == 1
    assert load(database, contract(), "jainam_prop") == 1
    assert load(database, contract(200, lot=30), "jainam_prop") == 2
    reader = SymbolReader(database)
    with database.symbols() as conn:
        live: dict[str, int] = dict(conn.exec_driver_sql(
            "SELECT broker, count(*) FROM symbol_token GROUP BY broker"
        ).fetchall())
        generations = conn.exec_driver_sql(
            "SELECT DISTINCT generation FROM symbol_token WHERE broker='jainam_prop'"
        ).fetchall()
    assert live == {"jainam_prop": 239, "wisdom": 339}
    assert [tuple(row) for row in generations] == [(2,)]
    assert reader.generations() == {"jainam_prop": 2, "wisdom": 1}
    generation = reader.generation("jainam_prop")
    assert generation is not None
    assert (generation.rows, generation.counts) == (239, {"NFO": 200, "NSE": 39})
    assert reader.generation("nobody") is None
    ours = reader.by_symbol("jainam_prop", "NSE", "SHARE1")
    theirs = reader.by_symbol("wisdom", "NSE", "SHARE1")
    assert ours is not None and theirs is not None and ours[9] == 30 and theirs[9] == 65
    reader.close()


def test_what_is_not_published_is_gone(database: Database) -> None:
    load(database, contract())
    run = open_import(url(database), "jainam_prop")
    run.stage(rows_of(contract(5)))
    run.settle()
    assert run.staged() == {"NFO": 5, "NSE": 39}
    assert run.live() == {"NFO": 300, "NSE": 39}
    run.close()
    reader = SymbolReader(database)
    assert reader.generations() == {"jainam_prop": 1}
    assert reader.by_symbol("jainam_prop", "NFO", "NIFTY24NOV2634950CE") is not None
    reader.close()
    assert load(database, contract(10)) == 2


def test_changes_are_counted_and_shown(database: Database) -> None:
    run = open_import(url(database), "jainam_prop")
    run.stage(rows_of(contract(4)))
    run.settle()
    first = run.changes()
    assert first.added == {"NFO": 4, "NSE": 39} and first.removed == {}
    assert first.added_samples == []  # on the first day everything is new
    run.publish()
    run.close()
    run = open_import(url(database), "jainam_prop")
    run.stage(rows_of([*contract(3), future("NIFTY", NOV, "900")]))
    run.settle()
    changes = run.changes()
    run.close()
    assert (changes.added, changes.removed) == ({"NFO": 1}, {"NFO": 1})
    assert changes.added_samples == ["NFO:NIFTY24NOV26FUT"]
    assert changes.removed_samples == ["NFO:NIFTY24NOV2620150CE"]


def test_an_exchange_that_went_empty_is_a_change(database: Database) -> None:
    load(database, contract(4))
    run = open_import(url(database), "jainam_prop")
    run.stage(rows_of([share("SHARE1")]))
    run.settle()
    changes = run.changes()
    run.close()
    assert changes.removed == {"NFO": 4, "NSE": 38}


def test_rows_that_claim_one_symbol_can_only_be_looked_at(database: Database) -> None:
    load(database, contract(3), "wisdom")
    run = open_import(url(database), "jainam_prop")
    run.stage(rows_of([
        share("TWIN", token="7", exchange=Exchange.BSE),
        share("TWIN", "B", token="8", exchange=Exchange.BSE),
        share("TWIN", token="900"),
        *contract(3),
    ]))
    run.settle()
    assert run.collisions() == [("BSE", "TWIN", ["7", "8"])]
    run.publish()
    run.close()
    reader = SymbolReader(database)
    assert reader.by_symbol("jainam_prop", "BSE", "TWIN") is None
    for token in ("7", "8"):
        row = reader.by_token("jainam_prop", "BSE", token)
        assert row is not None and row[1] == f"TWIN#{token}" and row[-2] == 0
    other = reader.by_symbol("jainam_prop", "NSE", "TWIN")
    assert other is not None and other[-2] == 1
    assert reader.by_symbol("wisdom", "NFO", "NIFTY24NOV2620000CE") is not None
    reader.close()


@pytest.mark.parametrize("size", [1, 24, 25, 26, 50, 63])
def test_every_row_of_a_chunk_arrives_whole_and_in_its_order(database: Database, size: int) -> None:
    rows = rows_of(contract(size))[:size]
    run = open_import(url(database), "jainam_prop")
    run.stage(rows)
    run.settle()
    found = run._all(f"SELECT {', '.join(FIELDS)} FROM {run.staging} ORDER BY id")
    run.close()
    assert [tuple(row) for row in found] == rows


def searched(database: Database, broker: str) -> dict[str, list[str]]:
    """The lines of the broker's search texts by exchange."""
    with database.symbols() as conn:
        stored = conn.exec_driver_sql(
            f"SELECT exchange, body FROM symbol_search WHERE broker = '{broker}'"
        ).fetchall()
    return {name: zlib.decompress(body).decode().split("\n") for name, body in stored}


def test_what_is_searched_has_the_names_that_rows_were_given(database: Database) -> None:
    load(database, contract(3), "wisdom")
    load(database, [
        share("TWIN", token="7", description="Café & Sons-EQ"), share("TWIN", "A", token="8"),
        share("TWIN", "A", token="9"), share("SAME", token="10"), share("SAME", token="10"),
        *contract(2)[:2],
    ])
    assert searched(database, "jainam_prop") == {
        "NFO": ["NIFTY24NOV2620000CE\x02", "NIFTY24NOV2620050CE\x02"],
        "NSE": ["SAME\x02SAME LIMITED", "TWIN\x02CAFÉ & SONS", "TWIN-A#8\x02TWIN LIMITED",
                "TWIN-A#9\x02TWIN LIMITED"],
    }
    assert len(searched(database, "wisdom")["NSE"]) == 39
    load(database, [share("TWIN", token="7", description="Café & Sons-EQ")])
    assert searched(database, "jainam_prop") == {"NSE": ["TWIN\x02CAFÉ & SONS"]}


def test_rows_are_read_again_in_pages_after_a_collision(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.symbol_import._PAGE", 7)
    run = open_import(url(database), "jainam_prop")
    run.stage(rows_of([share("TWIN", token="1000", exchange=Exchange.BSE),
                       share("TWIN", token="1001", exchange=Exchange.BSE), *contract(30)]))
    run.settle()
    assert run.staged() == {"BSE": 2, "NFO": 30, "NSE": 39}
    run.close()


def test_a_repeated_row_is_kept_once_and_a_contradicted_one_not_traded(
    database: Database,
) -> None:
    run = open_import(url(database), "jainam_prop")
    run.stage(rows_of([
        share("SAME", token="7"), share("SAME", token="7"),
        share("ONE", token="9"), share("OTHER", token="9"),
    ]))
    run.settle()
    told = run.collisions()
    assert run.staged() == {"NSE": 2}
    run.publish()
    run.close()
    assert told == [("NSE", "token 7: SAME", ["7"]), ("NSE", "token 9: ONE, OTHER", ["9"])]
    reader = SymbolReader(database)
    same, one = (reader.by_token("jainam_prop", "NSE", token) for token in ("7", "9"))
    assert same is not None and same[1] == "SAME" and same[-2] == 1
    assert one is not None and one[1] == "ONE" and one[-2] == 0
    reader.close()


def test_readers_see_the_old_contract_or_the_new_one_through_many_swaps(
    database: Database,
) -> None:
    load(database, contract(lot=1))
    stop = threading.Event()
    failures: list[str] = []
    asked = [0, 0]

    def read(number: int) -> None:
        reader = SymbolReader(database)
        newest = 0
        while not stop.is_set():
            nth = asked[number] % 300
            row = reader.by_symbol("jainam_prop", "NFO", f"NIFTY24NOV26{20_000 + 50 * nth}CE")
            if row is None:
                failures.append("a hole")
            elif row[9] < newest:
                failures.append("an older contract came back")
            else:
                newest = row[9]
            batch = reader.many("jainam_prop", "token", [(str(50_000 + n), "NFO")
                                                         for n in range(20)])
            if len(batch) != 20 or len({row[9] for row in batch}) != 1:
                failures.append("a mixture")
            asked[number] += 1
        reader.close()

    enough = 10_000 if database.is_sqlite else 1_000  # a look-up takes longer over a socket
    threads = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    swaps = 1
    while sum(asked) < enough or swaps < 8:
        swaps += 1
        assert load(database, contract(lot=swaps)) == swaps
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_reader_that_is_in_the_middle_keeps_its_contract(database: Database) -> None:
    load(database, contract(lot=1))
    reader = SymbolReader(database)
    rows = reader.iterate("jainam_prop", "NFO")
    first = next(rows)
    load(database, contract(lot=2))
    assert {first[9], *(row[9] for row in rows)} == {1}
    assert {row[9] for row in reader.iterate("jainam_prop", None)} == {2}
    reader.close()


def test_two_imports_into_one_file_take_turns(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        first = open_import(url(database), "jainam_prop")
        first.stage(rows_of(contract(3)))
        done: list[int] = []
        second = threading.Thread(target=lambda: done.append(load(database, contract(2), "wisdom")))
        second.start()
        first.settle()
        assert not done
        first.publish()
        first.close()
        second.join(20)
        assert done == [1]
        reader = SymbolReader(database)
        assert set(reader.generations()) == {"jainam_prop", "wisdom"}
        reader.close()


def test_a_start_does_not_wait_for_an_import_that_runs(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        run = SqliteImport(str(database.symbols_url.database), "jainam_prop")
        database.upgrade()
        run.close()


_LARGE = """
import sys
from datetime import date
from database.symbol_import import in_chunks, open_import
from services.symbol_names import SymbolNamer
from tests.support.instruments import option
from utils.memory import peak_memory_mb

def rows(count):
    for number in range(count):
        made = namer.name(option(f"ROOT{number // 1000}", date(2026, 11, 24),
                                 str(100 + 5 * (number % 1000)), token=str(number)))
        if made is not None:
            yield made

namer = SymbolNamer()
run = open_import(sys.argv[1], "jainam_prop")
for chunk in in_chunks(rows(int(sys.argv[2])), 2000):
    run.stage(chunk)
run.settle()
run.publish()
run.close()
print(peak_memory_mb())
"""


def test_a_large_contract_is_imported_in_little_memory(database: Database) -> None:
    """Field defect 25: 200,000 rows took 565 MB. What a row costs is what grows with their number.
    """
    peaks = {}
    for count in (10_000, 60_000):
        done = subprocess.run(
            [sys.executable, "-c", _LARGE, url(database), str(count)],
            capture_output=True, text=True, check=True, timeout=100,
        )
        peaks[count] = float(done.stdout)
        reader = SymbolReader(database)
        generation = reader.generation("jainam_prop")
        reader.close()
        assert generation is not None and generation.rows == count
    growth = (peaks[60_000] - peaks[10_000]) / 50_000
    at_200_000 = peaks[10_000] + 190_000 * growth
    assert at_200_000 <= 120, f"{peaks} MB: {at_200_000:.0f} MB for 200,000 rows"


def test_an_import_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        load(database, contract(3))
        run = SqliteImport(str(database.symbols_url.database), "jainam_prop")
        run.stage(rows_of(contract(5)))
        run.settle()
        run._conn.close()  # as the end of the process would
        names = sqlite3.connect(str(database.symbols_url.database)).execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        assert {name for (name,) in names} == {
            "symbol_token", "symbol_generation", "symbol_search"
        }
        assert load(database, contract(4)) == 2


def test_what_was_replaced_is_dropped_afterwards_if_need_be_by_the_next_import(
    tmp_path: Path,
) -> None:
    def tables() -> set[str]:
        conn = sqlite3.connect(str(database.symbols_url.database))
        try:
            found = conn.execute("SELECT name FROM sqlite_master WHERE name LIKE 'symbol_token%'")
            return {name for (name,) in found}
        finally:
            conn.close()

    with sqlite_database(tmp_path) as database:
        load(database, contract())
        assert tables() == {"symbol_token"}
        died = open_import(url(database), "jainam_prop")
        died.stage(rows_of(contract(310)))
        died.settle()
        died.publish()
        died._conn.close()  # type: ignore[attr-defined]  # killed before it could tidy up
        assert tables() == {"symbol_token", "symbol_token_old"}
        load(database, contract(320))
        assert tables() == {"symbol_token"}


@pytest.mark.parametrize(("size", "wanted"), [(2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_rows_come_in_chunks(size: int, wanted: list[int]) -> None:
    rows = rows_of([share(f"S{n}", token=str(n)) for n in range(5)])
    assert [len(chunk) for chunk in in_chunks(iter(rows), size)] == wanted
