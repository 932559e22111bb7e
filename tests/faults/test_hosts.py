"""Two hosts on one Redis and one PostgreSQL: short (`tests.faults.pacing_hosts`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.pacing_hosts import (
    Cluster,
    is_refused,
    seconds_until_killed,
    two_hosts,
    under_load,
    without_redis,
)
from tests.faults.pacing_load import ALLOWANCE
from tests.support.databases import scratch_postgres_url

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.redis, pytest.mark.postgres,
    pytest.mark.netns,
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with (
        scratch_postgres_url() as database,
        two_hosts(
            tmp_path_factory.mktemp("hosts"), database, environ={"WEB_CONCURRENCY": "1"}
        ) as running,
    ):
        yield running


def test_two_hosts_share_every_limit_the_kill_switch_and_the_way_out_without_redis(
    cluster: Cluster,
) -> None:
    assert len({Path(url).name for url in cluster.urls}) == 2
    figures, resting = under_load(cluster, 5.0)
    assert figures.breaches == {}
    assert figures.orders_in_time >= 2 * ALLOWANCE
    assert {one.status for one in figures.seen if one.what == "cancel"} == {200}
    assert seconds_until_killed(cluster) <= 1.0
    out = without_redis(cluster, resting)
    assert is_refused(out), out.entries
    assert out.cancels == [200, 200]
    assert out.reduced, "an order that only reduces a position is a way out"
    assert out.books == [200, 200]
    assert out.closed == 200
    assert out.ready == [503, 503]
    assert out.ready_again == [200, 200]
    # counted by each host for itself: a limit of one call has no half, those of orders have
    assert not {"place", "modify", "cancel"} & set(out.breaches)
    assert out.later_breaches == {}
