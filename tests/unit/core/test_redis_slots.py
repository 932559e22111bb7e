"""Slots in Redis: the rule of the other stores, over hosts, by its clock; and when it is gone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from broker.base import Deadline, Grant, Limit, NullObserver, Operation, Priority, Wait, WindowKey
from broker.pacing import Pacer
from broker.redis_link import RedisAway
from broker.redis_slots import WAITER_LEASE, RedisSlotStore
from broker.slots import RECHECK, SlotsUnavailable
from broker.waiting import WaitingRoom
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import wait_until as until
from utils.clock import SystemClock

pytestmark = pytest.mark.redis

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def key(server: RedisServer, request: pytest.FixtureRequest) -> WindowKey:
    """A window of this test's own, on a server that has been there for longer than a window."""
    found = WindowKey(f"venue/{request.node.name}", 2, 0.2)
    _settled(RedisSlotStore(server.link()), found)
    return found


def _settled(store: RedisSlotStore, key: WindowKey) -> None:
    until(lambda: store.peek([key]) == 0)


def granted(answer: Grant | Wait) -> Grant:
    assert isinstance(answer, Grant)
    return answer


def waits(answer: Grant | Wait) -> float:
    assert isinstance(answer, Wait)
    return answer.seconds


def test_a_slot_is_free_one_window_after_its_answer(server: RedisServer, key: WindowKey) -> None:
    stores = [RedisSlotStore(server.link()) for _ in range(2)]
    grants = [granted(store.acquire([key], Priority.ENTRY, 30.0)) for store in stores]
    assert waits(stores[0].acquire([key], Priority.ENTRY, 30.0)) == pytest.approx(key.window)
    began = time.monotonic()
    stores[1].release(grants[0])
    left = waits(stores[0].acquire([key], Priority.ENTRY, 30.0))
    assert 0 < left <= key.window
    until(lambda: isinstance(stores[0].acquire([key], Priority.ENTRY, 30.0), Grant))
    assert time.monotonic() - began >= key.window
    waits(stores[1].acquire([key], Priority.ENTRY, 30.0))


def test_all_windows_or_none(server: RedisServer, key: WindowKey) -> None:
    store = RedisSlotStore(server.link())
    wide = WindowKey(f"{key.scope}/wide", 3, key.window)
    for _ in range(2):
        granted(store.acquire([key, wide], Priority.ENTRY, 30.0))
    for _ in range(5):
        waits(store.acquire([key, wide], Priority.ENTRY, 30.0))
    granted(store.acquire([wide], Priority.ENTRY, 30.0))
    waits(store.acquire([wide], Priority.ENTRY, 30.0))


def test_a_slot_whose_holder_died_comes_back_by_its_lease(
    server: RedisServer, key: WindowKey
) -> None:
    store = RedisSlotStore(server.link())
    began = time.monotonic()
    late = granted(store.acquire([key], Priority.ENTRY, 0.1))
    granted(store.acquire([key], Priority.ENTRY, 0.1))
    waits(store.acquire([key], Priority.ENTRY, 0.1))
    until(lambda: isinstance(store.acquire([key], Priority.ENTRY, 0.1), Grant))
    assert time.monotonic() - began >= 0.1 + key.window
    store.release(late)  # its call was made all the same, and counts from its answer
    assert store.peek([key]) > 0


def test_whoever_is_more_urgent_goes_first_on_all_hosts(
    server: RedisServer, key: WindowKey
) -> None:
    here, there = (RedisSlotStore(server.link()) for _ in range(2))
    there.waiting([key], Priority.EXIT, 1)
    there.waiting([key], Priority.EXIT, 1)
    assert waits(here.acquire([key], Priority.ENTRY, 1.0)) == pytest.approx(RECHECK)
    granted(here.acquire([key], Priority.EXIT, 1.0))
    there.waiting([key], Priority.EXIT, -1)
    assert waits(here.acquire([key], Priority.READ, 1.0)) == pytest.approx(RECHECK)
    there.waiting([key], Priority.EXIT, -1)
    granted(here.acquire([key], Priority.ENTRY, 1.0))


def test_a_waiter_that_is_not_heard_of_is_forgotten(server: RedisServer, key: WindowKey) -> None:
    here, there = (RedisSlotStore(server.link()) for _ in range(2))
    there.waiting([key], Priority.EXIT, 1)
    began = time.monotonic()
    until(lambda: isinstance(here.acquire([key], Priority.ENTRY, 1.0), Grant))
    assert key.window + WAITER_LEASE - 0.1 <= time.monotonic() - began < 10
    there.waiting([key], Priority.EXIT, 1)
    there.waiting([key], Priority.EXIT, -1)


def test_a_clock_that_steps_back_frees_nothing_and_stops_nothing(
    server: RedisServer, key: WindowKey
) -> None:
    store = RedisSlotStore(server.link())
    grants = [granted(store.acquire([key], Priority.ENTRY, 30.0)) for _ in range(2)]
    with server.client() as client:  # as if the last time seen had been an hour later
        client.hincrby("openalgo:{pacing}:server", "last", 3600 * 1_000_000)
    for grant in grants:
        store.release(grant)
    assert 0 < waits(store.acquire([key], Priority.ENTRY, 1.0)) <= key.window
    until(lambda: isinstance(store.acquire([key], Priority.ENTRY, 1.0), Grant))


def test_hosts_never_exceed_a_window_together(server: RedisServer) -> None:
    calls, window = 20, 0.4
    limit = Limit("orders", frozenset({Operation.PLACE}), calls, window)
    _settled(RedisSlotStore(server.link()), WindowKey("venue/orders", calls, window))
    received: list[float] = []
    ends = time.monotonic() + 2.2

    def work(seed: int) -> None:
        chance = random.Random(seed)
        paced = Pacer(
            [limit], "venue", RedisSlotStore(server.link()), CLOCK, 60.0, WaitingRoom(),
            NullObserver(), "acc",
        )
        while time.monotonic() < ends:
            with paced.reserve(
                Operation.PLACE, priority=Priority.ENTRY, deadline=Deadline(CLOCK, 30)
            ):
                delay = chance.uniform(0, 0.002)
                time.sleep(delay)
                received.append(time.monotonic())
                time.sleep(0.002 - delay)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    received.sort()
    assert len(received) >= 4 * calls
    for index in range(len(received) - calls):
        assert received[index + calls] - received[index] >= window


def test_a_server_that_has_just_begun_grants_nothing_for_one_window() -> None:
    key = WindowKey("venue/young", 5, 0.6)
    with redis_server() as server:
        store = RedisSlotStore(server.link())
        _settled(store, key)
        granted(store.acquire([key], Priority.ENTRY, 1.0))
        server.kill()
        with pytest.raises(SlotsUnavailable):
            store.acquire([key], Priority.ENTRY, 1.0)
        server.start()
        began = time.monotonic()
        until(lambda: _answers(store, key))
        assert store.peek([key]) > 0, "the calls of a moment ago still count at the venue"
        until(lambda: isinstance(_asked(store, key), Grant))
        assert time.monotonic() - began >= key.window


def _asked(store: RedisSlotStore, key: WindowKey) -> Grant | Wait | None:
    try:
        return store.acquire([key], Priority.ENTRY, 1.0)
    except SlotsUnavailable:
        return None


def _answers(store: RedisSlotStore, key: WindowKey) -> bool:
    try:
        store.peek([key])
    except SlotsUnavailable:
        return False
    return True


def test_a_server_that_hangs_costs_one_caller_the_wait() -> None:
    key = WindowKey("venue/hanging", 5, 0.1)
    with redis_server() as server:
        link = server.link(answer=0.4)
        store = RedisSlotStore(link)
        grant = granted(_until_granted(store, key))
        server.pause()
        with pytest.raises(SlotsUnavailable, match="does not answer"):
            store.acquire([key], Priority.ENTRY, 1.0)
        assert link.is_away
        began = time.monotonic()
        for _ in range(50):
            with pytest.raises(SlotsUnavailable, match="a moment ago"):
                store.release(grant)
        assert time.monotonic() - began < 0.4 * 50 / 4, "each would have waited 0.4 s"
        with pytest.raises(RedisAway):
            link.ping()
        server.go_on()
        until(lambda: _answers(store, key))
        assert not link.is_away


def _until_granted(store: RedisSlotStore, key: WindowKey) -> Grant | Wait:
    until(lambda: store.peek([key]) == 0)
    return store.acquire([key], Priority.ENTRY, 1.0)
