"""Inbound limits: exact in one process, shared between processes, with a time to come back."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from limits.storage import storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from blueprints import limits
from blueprints.limit_storage import SharedStorage, storage_options, storage_uri
from blueprints.limits import Gate, retry_after_header
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import wait_until


class Time:
    """Seconds that a test turns by hand."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


counting = SlidingWindowCounterRateLimiter


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def gate(time: Time) -> Gate:
    return Gate({"api": "5 per second"}, counting(SharedStorage(now=time)))


def test_lets_the_limit_through_and_then_says_when_to_come_back(gate: Gate, time: Time) -> None:
    assert [gate.check("api", "key:1") for _ in range(5)] == [None] * 5
    wait = gate.check("api", "key:1")
    assert wait is not None
    assert 0 < wait <= 2

    time.at += wait + 1e-6
    assert gate.check("api", "key:1") is None


def test_a_refused_call_is_not_counted(gate: Gate, time: Time) -> None:
    for _ in range(5):
        gate.check("api", "key:1")
    first = gate.check("api", "key:1")
    for _ in range(100):
        gate.check("api", "key:1")
    assert gate.check("api", "key:1") == first


def test_callers_and_buckets_count_apart(time: Time) -> None:
    gate = Gate({"api": "1 per second", "order": "1 per second"}, counting(SharedStorage(now=time)))
    assert gate.check("api", "key:1") is None
    assert gate.check("api", "key:2") is None
    assert gate.check("order", "key:1") is None
    assert gate.check("api", "key:1") is not None


def test_no_window_ever_lets_twice_the_limit_through(time: Time) -> None:
    """A fixed window lets twice the limit through at its border; a sliding one does not."""
    gate = Gate({"api": "10 per second"}, counting(SharedStorage(now=time)))
    time.at += 0.99
    passed = sum(gate.check("api", "k") is None for _ in range(50))
    time.at += 0.02
    passed += sum(gate.check("api", "k") is None for _ in range(50))
    assert passed <= 11


def test_several_limits_hold_together(time: Time) -> None:
    gate = Gate({"login": "5 per minute;6 per hour"}, counting(SharedStorage(now=time)))
    assert sum(gate.check("login", "address:10.0.0.1") is None for _ in range(10)) == 5
    time.at += 600
    assert sum(gate.check("login", "address:10.0.0.1") is None for _ in range(10)) <= 1


def _hit(uri: str, times: int, queue: multiprocessing.Queue[int]) -> None:
    gate = Gate.at({"api": "100 per hour"}, uri)
    queue.put(sum(gate.check("api", "key:1") is None for _ in range(times)))


def test_processes_of_one_host_count_together(tmp_path: Path) -> None:
    """Field defect 36: limits in memory are counted per worker."""
    uri = storage_uri("", 4, tmp_path)
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_hit, args=(uri, 60, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    passed = sum(queue.get(timeout=30) for _ in workers)
    for worker in workers:
        worker.join(30)
    assert passed == 100


def test_where_limits_are_counted(tmp_path: Path) -> None:
    assert storage_uri("", 1, tmp_path) == "shared://"
    assert storage_uri("", 2, tmp_path) == f"shared://{tmp_path}/inbound-limits.bin"
    assert storage_uri("redis://127.0.0.1:6379/0", 1, tmp_path) == "redis://127.0.0.1:6379/0"


def test_the_storage_serves_fixed_windows_too(time: Time) -> None:
    storage = SharedStorage(now=time)
    assert storage.incr("a", 10) == 1
    assert storage.incr("a", 10, 2) == 3
    assert storage.get("a") == 3
    assert time.at < storage.get_expiry("a") <= time.at + 10
    assert storage.get("never") == 0
    assert storage.get_expiry("never") == time.at
    storage.clear("a")
    assert storage.get("a") == 0
    storage.incr("b", 10)
    storage.reset()
    assert storage.get("b") == 0
    assert storage.check()


def test_a_sliding_window_can_be_cleared(time: Time) -> None:
    storage = SharedStorage(now=time)
    assert storage.acquire_sliding_window_entry("a", 1, 10)
    assert not storage.acquire_sliding_window_entry("a", 1, 10)
    storage.clear_sliding_window("a", 10)
    assert storage.acquire_sliding_window_entry("a", 1, 10)


def test_many_callers_do_not_grow_the_table_and_keep_recent_ones(time: Time) -> None:
    gate = Gate({"api": "1 per second"}, counting(SharedStorage(now=time)))
    for number in range(20_000):
        time.at += 0.001
        gate.check("api", f"address:{number}")
    assert gate.check("api", "address:19999") is not None


def test_a_store_that_fails_is_replaced_by_memory() -> None:
    class Broken(SharedStorage):
        STORAGE_SCHEME = ["broken-for-a-test"]  # noqa: RUF012

        def acquire_sliding_window_entry(
            self, key: str, limit: int, expiry: int, amount: int = 1
        ) -> bool:
            raise ConnectionError("gone")

    gate = Gate({"api": "2 per minute"}, counting(Broken()))
    assert gate.check("api", "k") is None
    assert gate.check("api", "k") is None
    assert gate.check("api", "k") is not None


def test_the_engine_finds_the_storage_by_its_scheme() -> None:
    assert isinstance(storage_from_string("shared://"), SharedStorage)


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2")])
def test_retry_after_is_in_whole_seconds(seconds: float, header: str) -> None:
    assert retry_after_header(seconds) == header


@pytest.mark.redis
def test_hosts_share_a_limit_in_redis_and_count_for_themselves_while_it_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AWAY", 0.05)
    with redis_server() as server:
        gates = [
            Gate.at({"api": "4 per hour"}, server.url, f"shared://{tmp_path / name}")
            for name in "ab"
        ]
        assert [gates[n % 2].check("api", "key:1") for n in range(4)] == [None] * 4
        assert all(gate.check("api", "key:1") for gate in gates)
        server.kill()
        for gate in gates:
            assert [gate.check("api", "key:1") for _ in range(4)] == [None] * 4
            assert gate.check("api", "key:1")
        server.start()
        wait_until(lambda: gates[0].check("api", "key:2") is None and _in_redis(server))


def _in_redis(server: RedisServer) -> bool:
    with server.client() as client:
        return bool(client.keys("*key:2*"))


def test_redis_is_connected_to_with_a_bound_and_unix_sockets_are_named_as_the_engine_wants(
    tmp_path: Path,
) -> None:
    uri = storage_uri("unix:///run/redis.sock", 4, tmp_path)
    assert uri == "redis+unix:///run/redis.sock"
    assert storage_options(uri)["socket_timeout"] <= 1
    assert storage_uri("rediss://h/1", 4, tmp_path) == "rediss://h/1"
    assert storage_options(storage_uri("", 4, tmp_path)) == {}
