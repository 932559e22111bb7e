"""Verdicts need evidence: PASS and FAIL at their thresholds, NO DATA where nothing was seen."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from database import journal
from database.engine import Database
from database.journal import Intent, IntentKind, IntentState
from services.alarms import AlarmService
from services.failures import FailureService
from services.figures import Day, FigureService
from services.quality import SCENARIOS, QualityService, Verdict, judge_figures
from services.reconciler import ORDER_TWICE
from tests.support.clocks import ManualClock
from tests.support.databases import add_account, sqlite_database
from utils.config import ROOT
from utils.tally import Tally


def verdict(code: str, **values: dict[str, float]) -> tuple[str, str]:
    days = [Day(date(2026, 11, 19), {}), Day(date(2026, 11, 20), values)]
    found = {judged.scenario.code: judged for judged in judge_figures(days)}
    return found[code].verdict.value, found[code].measured


@pytest.mark.parametrize(
    ("code", "values", "expected"),
    [
        ("A2", {"orders": {"accepted": 95, "rejected": 3, "unknown": 2}}, "PASS"),
        ("A2", {"orders": {"accepted": 94, "rejected": 6, "received": 50}}, "FAIL"),
        ("A2", {"orders": {"accepted": 19}}, "NO DATA"),
        ("A3", {"fast_fail_within": {"0.1": 1}}, "PASS"),
        ("A3", {"fast_fail_within": {"0.1": 98, "0.2": 2}}, "FAIL"),
        ("A3", {}, "NO DATA"),
        ("B1", {"api_calls": {"2xx": 9_991, "5xx": 9}}, "PASS"),
        ("B1", {"api_calls": {"2xx": 9_990, "5xx": 10}}, "FAIL"),
        ("B1", {"api_calls": {"5xx": 19}}, "NO DATA"),
        ("B2", {"api_own_within": {"0.2": 95, "0.25": 5}}, "PASS"),
        ("B2", {"api_own_within": {"0.2": 94, "0.25": 6}}, "FAIL"),
        ("B3", {"api_within": {"1": 99, "2.5": 1}}, "PASS"),
        ("B3", {"api_within": {"1": 98, "+Inf": 2}}, "FAIL"),
        ("C1", {"broker_calls": {"ok": 95, "failed": 5}}, "PASS"),
        ("C1", {"broker_calls": {"ok": 94, "failed": 6}}, "FAIL"),
        ("C2", {"broker_within": {"5": 95, "7.5": 5}}, "PASS"),
        ("C2", {"broker_within": {"5": 94, "7.5": 6}}, "FAIL"),
        ("C3", {"wait_within": {"2.5": 95, "5": 5}}, "PASS"),
        ("C3", {"wait_within": {"2.5": 94, "5": 6}}, "FAIL"),
        ("D1", {"cache_hits": {"a": 81}, "cache_misses": {"a": 19}}, "PASS"),
        ("D1", {"cache_hits": {"a": 80}, "cache_misses": {"a": 20}}, "FAIL"),
    ],
)
def test_at_the_threshold(code: str, values: dict[str, dict[str, float]], expected: str) -> None:
    assert verdict(code, **values)[0] == expected


def test_a_share_is_not_rounded_up() -> None:
    assert verdict("B1", api_calls={"2xx": 999_998, "5xx": 2}) == ("PASS", "99.999 %")


class Bench:
    """The service over a scratch database and a folder of backups."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.clock = ManualClock()
        self.database = database
        self.backups = folder / "backups"
        self.figures = FigureService(database, self.clock, Tally())
        self.alarms = AlarmService(database, self.clock)
        settings: Any = SimpleNamespace(backup_dir=self.backups)
        failures = FailureService(database, self.clock)
        self.quality = QualityService(
            settings, database, self.clock, self.figures, self.alarms, failures
        )

    def verdicts(self) -> dict[str, str]:
        return {judged.scenario.code: judged.verdict.value for judged in self.quality.judge()}


def test_nothing_seen_is_no_data_for_every_scenario(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        judged = Bench(database, tmp_path).quality.judge()
    assert [one.scenario for one in judged] == list(SCENARIOS)
    assert {one.verdict for one in judged} == {Verdict.NO_DATA}


def test_without_a_database_nothing_is_known(tmp_path: Path) -> None:
    with sqlite_database(tmp_path, upgraded=False) as database:
        judged = Bench(database, tmp_path).quality.judge()
    assert {one.verdict for one in judged} == {Verdict.NO_DATA}
    assert len(judged) == len(SCENARIOS)


def test_orders_and_their_alarms(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        bench = Bench(database, tmp_path)
        account = add_account(database)
        intent = Intent(
            reference="R", tag="T", kind=IntentKind.PLACE, account_id=account, user_id=None,
            request_id="", created_at=bench.clock.now(),
        )
        with database.write() as conn:
            number = journal.new_intent(conn, intent)
            journal.change(conn, number, IntentState.SENDING, "test", at=bench.clock.now())
            journal.change(conn, number, IntentState.UNKNOWN, "test", at=bench.clock.now())
        assert bench.verdicts()["A4"] == "PASS"  # it may still be looked up
        bench.clock.advance(61)
        assert bench.verdicts()["A4"] == "FAIL"
        assert bench.verdicts()["A1"] == "NO DATA"  # no book was read yet
        with database.write() as conn:
            journal.change(conn, number, IntentState.ACCEPTED, "test", at=bench.clock.now())
            journal.bear_out(conn, number, "FILLED", "in the book", at=bench.clock.now())
        assert (bench.verdicts()["A1"], bench.verdicts()["A4"]) == ("PASS", "PASS")
        bench.alarms.open(ORDER_TWICE, "prop-b", "The book shows the order R more than once.")
        assert bench.verdicts()["A1"] == "FAIL"
        bench.alarms.close(ORDER_TWICE, "prop-b")
        assert bench.verdicts()["A1"] == "FAIL"  # it happened
        bench.clock.advance(timedelta(days=8).total_seconds())
        assert bench.verdicts()["A1"] == "NO DATA"


def test_backups(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        bench = Bench(database, tmp_path)
        bench.backups.mkdir()
        assert bench.verdicts()["E1"] == "FAIL"
        (bench.backups / "backup-later.json").touch()  # not the name of one
        (bench.backups / "backup-20990101-000000.bak").touch()  # not complete
        for name in (f"backup-{bench.clock.now():%Y%m%d-%H%M%S}", "backup-20200101-000000"):
            (bench.backups / f"{name}.json").touch()
        for minutes, expected in ((19, "PASS"), (2, "FAIL")):
            bench.clock.advance(minutes * 60)
            assert bench.verdicts()["E1"] == expected


def test_the_catalogue_has_every_scenario_and_no_other() -> None:
    text = (ROOT / "docs" / "QS-Catalog.md").read_text(encoding="utf-8")
    headings = dict(re.findall(r"^### (\w\d): (.+)$", text, flags=re.M))
    assert headings == {one.code: one.title for one in SCENARIOS}
    for one in SCENARIOS:
        section = text.split(f"### {one.code}: ")[1].split("\n### ")[0]
        assert one.measure in section
