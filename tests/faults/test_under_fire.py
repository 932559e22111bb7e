"""No order twice, none lost: the short proof (`python -m tests.faults` runs the long one)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import plan, sections
from tests.faults.audit import Report
from tests.faults.fire import Range
from tests.faults.keys import Keyed, many_with_one_key
from tests.faults.kills import plan_kills, targets_of
from tests.faults.opened import left_open
from tests.faults.storage import Drill, database_gone, full_disk
from tests.faults.swapping import shrunk, swapped
from tests.faults.table import DOCUMENT, Row, write
from tests.support.postgres_server import programs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quiet_range() -> Iterator[Range]:
    """One gateway for everything that needs no fault plan of its own."""
    with sections.stored("sqlite") as range_:
        yield range_


def assert_true_to_its_word(report: Report) -> None:
    """The three zeros, and whatever else must not be; all is settled in time, or an alarm."""
    print(report.figures)
    assert report.wrong() == {}, report.figures
    assert report.figures["told"], report.figures


@pytest.mark.timeout(240)
def test_orders_under_fire() -> None:
    (report,) = sections.fire_on("sqlite", 240, seed=20)
    assert_true_to_its_word(report)
    assert report.figures["sent_by_asking_again"] == 0
    closed = report.figures["accepted_then_closed"]
    assert closed >= 10
    # while the broker is away nobody can look: those 6 are settled after its return
    looked_up = closed - report.figures["lost_while_away"]
    missed = looked_up - report.figures["accepted_then_closed_told_as_success"]
    assert missed <= 1 + 0.05 * looked_up
    assert set(report.figures["faults"]) == set(plan.kinds())


@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_orders_under_fire_on_postgres() -> None:
    (report,) = sections.fire_on("postgres", 60, seed=21)
    assert_true_to_its_word(report)
    assert report.figures["sent_by_asking_again"] == 0


@pytest.mark.timeout(240)
def test_workers_and_masters_killed_at_named_points() -> None:
    (report,) = sections.kill_on("sqlite", 12, seed=30)
    assert_true_to_its_word(report)
    assert sum(report.figures["targets"].values()) == 12
    assert len(report.figures["points"]) >= 6


@pytest.mark.postgres
@pytest.mark.timeout(240)
@pytest.mark.skipif(programs() is None, reason="no PostgreSQL server is installed")
def test_the_database_killed_at_named_points() -> None:
    (report,) = sections.kill_on("postgres", 8, seed=31)
    assert_true_to_its_word(report)
    assert report.figures["targets"]["database"] == 2


def test_kills_meet_every_target_and_point() -> None:
    deck = plan_kills(90, 1, targets_of("postgres"))
    assert len(deck) == 90
    assert len({(kill.target, kill.point) for kill in deck}) == 27
    assert deck == plan_kills(90, 1, targets_of("postgres"))


@pytest.mark.timeout(120)
def test_two_hundred_requests_with_one_key(quiet_range: Range) -> None:
    found = many_with_one_key(quiet_range, 200)
    for keyed, orders in ((found.single, 1), (found.basket, 3), (found.split, 4)):
        assert_one(keyed, orders)
    assert found.mismatch == 422


def assert_one(keyed: Keyed, orders: int) -> None:
    """One execution, one answer, and conflicts for whoever met it in flight."""
    assert keyed.executed == orders
    assert len(keyed.answers) == 1
    assert set(keyed.statuses) == {200, 409}
    assert sum(keyed.statuses.values()) == 200


@pytest.mark.timeout(120)
def test_five_hundred_intents_that_a_crash_left_open(quiet_range: Range) -> None:
    found = left_open(quiet_range, 500)
    assert found.right == found.of == 500
    assert found.there <= 10.0
    assert found.missing <= 20.0


@pytest.mark.timeout(120)
def test_a_contract_with_far_fewer_rows_is_refused_unless_forced(quiet_range: Range) -> None:
    found = shrunk(quiet_range)
    assert (found.refused, found.kept, found.forced) == (True, True, True)


@pytest.mark.timeout(180)
def test_a_full_disk_refuses_entries_and_leaves_the_way_out_open() -> None:
    try:
        drill = full_disk()
    except PermissionError as error:
        pytest.skip(str(error))
    assert_survived(drill)


@pytest.mark.postgres
@pytest.mark.timeout(180)
@pytest.mark.skipif(programs() is None, reason="no PostgreSQL server is installed")
def test_a_database_that_goes_refuses_entries_and_leaves_the_way_out_open() -> None:
    assert_survived(database_gone())


def assert_survived(drill: Drill) -> None:
    """No entry while storage is away, a cancel all the same, and nothing to be restarted."""
    assert (drill.refused, drill.reached_venue) == (True, 0)
    assert (drill.cancelled, drill.cancel_in_journal) == (True, True)
    assert drill.recovered <= 20.0
    assert drill.report.wrong() == {}


def test_look_ups_see_one_contract_at_a_time(tmp_path: Path) -> None:
    found = swapped("sqlite", tmp_path, 2_000)
    assert found.wrong == []
    assert found.swaps >= 8


def test_figures_go_between_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- faults: a -->\nold\n<!-- end of faults: a -->\nafter\n")
    write("a", "Title", [Row("zeros", "0", True), Row("late", "9 s", False)], page)
    assert page.read_text() == (
        "before\n<!-- faults: a -->\n| Title | | |\n|---|---|---|\n| zeros | 0 | held |\n"
        "| late | 9 s | **broken** |\n<!-- end of faults: a -->\nafter\n"
    )
    with pytest.raises(ValueError, match="no place"):
        write("b", "Title", [], page)


def test_the_page_has_a_place_for_every_section() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in sections.SECTIONS:
        assert f"<!-- faults: {name} -->" in text
        assert f"<!-- end of faults: {name} -->" in text
