"""No order twice, none lost: the short proof (`python -m tests.faults` runs the long one)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import plan
from tests.faults.audit import Report
from tests.faults.clients import Outcome
from tests.faults.fire import killed, one_key, shooting_range, under_fire


def assert_true_to_its_word(report: Report) -> None:
    """The three zeros, and whatever else must not be."""
    print(report.figures)
    assert report.wrong() == {}, report.figures


def assert_settled(report: Report) -> None:
    """Everything unknown has found its end in time, or was an alarm by then."""
    assert report.figures["told"], report.figures


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_orders_under_fire(tmp_path: Path) -> None:
    with shooting_range(tmp_path) as range_:
        report = under_fire(range_, orders=240, seed=20)
    assert_true_to_its_word(report)
    assert_settled(report)
    assert report.figures["sent_by_asking_again"] == 0
    closed = report.figures["accepted_then_closed"]
    assert closed >= 10
    # while the broker is away nobody can look: those 6 are settled after its return
    looked_up = closed - report.figures["lost_while_away"]
    missed = looked_up - report.figures["accepted_then_closed_told_as_success"]
    assert missed <= 1 + 0.05 * looked_up
    assert set(report.figures["faults"]) == set(plan.kinds())


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_orders_under_fire_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    with shooting_range(tmp_path, {"DATABASE_URL": postgres_url}) as range_:
        report = under_fire(range_, orders=60, seed=21, away=0)
    assert_true_to_its_word(report)
    assert_settled(report)
    assert report.figures["sent_by_asking_again"] == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_workers_killed_at_random_moments_and_one_key(tmp_path: Path) -> None:
    with shooting_range(tmp_path) as range_:
        shared = one_key(range_, requests=200)
        report = killed(range_, orders=120, kills=10, seed=30)
    assert shared.executed == 1
    assert {told.outcome for told in shared.told} <= {Outcome.ACCEPTED, Outcome.IN_FLIGHT}
    assert len({told.body["orderid"] for told in shared.told if told.status == 200}) == 1
    assert_true_to_its_word(report)
    assert report.figures["kills"] == 10
    assert_settled(report)
