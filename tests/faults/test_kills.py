"""`kill -9` at named points, and what a crash left open: short (`tests.faults.kills`)."""

from __future__ import annotations

import pytest

from tests.faults import sections
from tests.faults.conftest import assert_true_to_its_word
from tests.faults.fire import Range
from tests.faults.kills import plan_kills, targets_of
from tests.faults.opened import left_open
from tests.support.postgres_server import programs

pytestmark = pytest.mark.slow


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
def test_five_hundred_intents_that_a_crash_left_open(quiet_range: Range) -> None:
    found = left_open(quiet_range, 500)
    assert found.right == found.of == 500
    assert found.there <= 10.0
    assert found.missing <= 20.0
