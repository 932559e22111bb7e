"""The figures of the day: counted by name and label, in buckets, between threads."""

from __future__ import annotations

import threading

import pytest

from utils.tally import Buckets, Tally, quantile, share_within


def test_what_was_counted_is_drained_once_and_can_be_given_back() -> None:
    tally = Tally()
    tally.add("calls", "ok")
    tally.add("calls", "ok", 2)
    tally.add_all({("seconds", ""): 0.5})
    counted = tally.drain()
    assert counted == {("calls", "ok"): 3, ("seconds", ""): 0.5}
    assert tally.drain() == {}
    tally.add("calls", "ok")
    tally.add_all(counted)
    assert tally.drain()["calls", "ok"] == 4


def test_threads_lose_nothing() -> None:
    tally = Tally()

    def count() -> None:
        for _ in range(2_000):
            tally.add("calls")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.drain() == {("calls", ""): 16_000}


@pytest.mark.parametrize(
    ("value", "label"), [(0.0, "0.1"), (0.1, "0.1"), (0.11, "1"), (1, "1"), (1.1, "+Inf")]
)
def test_buckets_are_named_by_their_upper_bound(value: float, label: str) -> None:
    assert Buckets((0.1, 1.0)).label(value) == label


def test_shares_and_quantiles() -> None:
    counts = {"0.1": 90.0, "1": 9.0, "+Inf": 1.0}
    assert share_within(counts, 0.1) == 0.9
    assert share_within(counts, 1) == 0.99
    assert quantile(counts, 0.5) == 0.1
    assert quantile(counts, 0.95) == 1
    assert quantile(counts, 0.999) == float("inf")
    assert share_within({}, 1) is None
    assert quantile({}, 0.5) is None
