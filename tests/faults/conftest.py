"""What the short proof shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import sections
from tests.faults.audit import Report
from tests.faults.fire import Range


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
