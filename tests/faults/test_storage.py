"""Storage that fails and comes back, and a contract that swaps: short (`tests.faults.storage`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import sections
from tests.faults.fire import Range
from tests.faults.storage import Drill, database_gone, full_disk
from tests.faults.swapping import shrunk, swapped
from tests.faults.table import DOCUMENT, Row, write
from tests.support.postgres_server import programs

pytestmark = pytest.mark.slow


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


@pytest.mark.timeout(120)
def test_a_contract_with_far_fewer_rows_is_refused_unless_forced(quiet_range: Range) -> None:
    found = shrunk(quiet_range)
    assert (found.refused, found.kept, found.forced) == (True, True, True)


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
