"""Limits, locks and the end of one host's gateway: short (`tests.faults.pacing_one_host`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.servers import Served
from tests.faults.pacing_load import ALLOWANCE, READS
from tests.faults.pacing_one_host import (
    GRACE,
    TARGET,
    WORKERS,
    ended,
    gateway,
    position,
    smart_order,
    under_load,
)
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with gateway(tmp_path_factory.mktemp("pacing")) as running:
        yield running


def test_no_limit_is_exceeded_under_load_nor_while_two_generations_of_workers_live(
    served: Served,
) -> None:
    first = {worker.pid for worker in served.gateway.workers()}
    assert len(first) == WORKERS
    figures = under_load(served, 7.0, reload_after=2.0)
    assert figures.breaches == {}
    for name in ("orderbook", "tradebook", "positionbook", "funds"):
        assert figures.requests[READS[name][0]] > 0, name
    # a reload takes the machine's processors for a while: the share of the long run is no measure
    assert figures.orders_in_time >= 2 * ALLOWANCE
    # the old workers finish what they have, for as long as gunicorn's graceful time-out lets them
    wait_until(
        lambda: first.isdisjoint(worker.pid for worker in served.gateway.workers()), 30.0
    )
    # positions are asked for at three times their limit, and smart orders wait for one another
    assert figures.statuses("smart").keys() <= {200, 409, 429}
    wait_until(lambda: smart_order(served).status == 200, 30.0)
    assert position(served) == TARGET, "smart orders of two generations traded on one reading"
    quiet = figures.statuses("quiet")
    assert quiet.get(200, 0) >= 6
    assert quiet.get(429, 0) == 0, "one key's flood kept another key's orders out"
    assert figures.percentile("cancel", 0.99, queued=True) <= 0.2
    refused = [one for one in figures.seen if one.status == 429]
    assert refused
    assert all(one.retry_after is not None for one in refused)
    assert not [one for one in figures.seen if one.status >= 500 and one.status != 503]


def test_told_to_end_it_finishes_what_is_in_flight_and_takes_nothing_new(served: Served) -> None:
    end = ended(served)
    assert [one.status for one in end.told] == [200] * len(end.told)
    assert end.unsettled == 0
    assert end.at_venue <= end.in_journal
    assert end.late > 0, "somebody was still let in"
    assert end.seconds <= GRACE + 5
