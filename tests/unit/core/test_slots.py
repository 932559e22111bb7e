"""Slot stores: no rolling window is ever exceeded, by one thread, many stores or many processes."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker import slots
from broker.base import Deadline, Grant, Limit, NullObserver, Operation, Priority, Wait, WindowKey
from broker.pacing import Pacer
from broker.slots import FileSlotStore, MemorySlotStore, SlotsUnavailable
from broker.testing.clocks import ManualClock
from broker.waiting import WaitingRoom

SECOND = WindowKey("venue/one", 3, 1.0)
MINUTE = WindowKey("venue/two", 5, 4.0)
LEASE = 2.0
EPSILON = 1e-6


class SystemClock(ManualClock):
    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def granted(answer: Grant | Wait) -> Grant:
    assert isinstance(answer, Grant)
    return answer


def waits(answer: Grant | Wait) -> float:
    assert isinstance(answer, Wait)
    return answer.seconds


@pytest.fixture(params=["memory", "file"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[ManualClock], Any]:
    if request.param == "memory":
        return MemorySlotStore
    return lambda clock: FileSlotStore(tmp_path / "slots", clock)


class SlotModel(RuleBasedStateMachine):
    """Two stores on the same files against the plain rule: who counts, and until when."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.directory = tempfile.TemporaryDirectory()
        self.stores = [FileSlotStore(Path(self.directory.name), self.clock) for _ in range(2)]
        self.calls: list[dict[str, Any]] = []
        self.open: list[dict[str, Any]] = []

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.directory.cleanup()

    def counting(self, key: WindowKey) -> int:
        now = self.clock.monotonic()
        return sum(
            1 for call in self.calls if key in call["keys"] and call["ends"][key] > now + EPSILON
        )

    @rule(
        which=st.integers(0, 1),
        keys=st.sampled_from([(SECOND,), (MINUTE,), (SECOND, MINUTE)]),
    )
    def acquire(self, which: int, keys: tuple[WindowKey, ...]) -> None:
        free = all(self.counting(key) < key.calls for key in keys)
        store = self.stores[which]
        ahead = store.peek(keys)
        answer = store.acquire(keys, Priority.ENTRY, LEASE)
        if isinstance(answer, Wait):
            # A store may hold back for the nanosecond that sums of seconds are off by.
            assert not free or answer.seconds < EPSILON
            assert 0 < answer.seconds <= max(key.window for key in keys)
            assert abs(answer.seconds - ahead) < EPSILON
            return
        assert free
        now = self.clock.monotonic()
        call = {
            "grant": answer,
            "keys": keys,
            "ends": {key: now + LEASE + key.window for key in keys},
            "late": False,
        }
        self.calls.append(call)
        self.open.append(call)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 1), pick=st.integers(0, 99))
    def release(self, which: int, pick: int) -> None:
        call = self.open.pop(pick % len(self.open))
        self.stores[which].release(call["grant"])
        now = self.clock.monotonic()
        # Past its lease a call is counted once more on top: the slot may be in use again.
        call["late"] = min(call["ends"].values()) <= now
        call["ends"] = {key: now + key.window for key in call["keys"]}

    @rule(seconds=st.sampled_from([0.01, 0.3, 0.7, 1.0, 2.5, 7.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def never_too_many(self) -> None:
        late = sum(1 for call in self.calls if call["late"])
        for key in (SECOND, MINUTE):
            assert self.counting(key) <= key.calls + late


SlotModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestSlotModel = SlotModel.TestCase


def test_slot_is_free_one_window_after_its_answer(make_store: Callable[..., Any]) -> None:
    clock = ManualClock()
    store = make_store(clock)
    key = WindowKey("a", 1, 1.0)
    grant = granted(store.acquire([key], Priority.ENTRY, 5))
    clock.advance(0.4)
    assert waits(store.acquire([key], Priority.ENTRY, 5)) == pytest.approx(1.0)
    store.release(grant)
    clock.advance(0.75)
    assert waits(store.acquire([key], Priority.ENTRY, 5)) == pytest.approx(0.25)
    clock.advance(0.25)
    granted(store.acquire([key], Priority.ENTRY, 5))


def test_all_windows_or_none(make_store: Callable[..., Any]) -> None:
    clock = ManualClock()
    store = make_store(clock)
    narrow, wide = WindowKey("n", 1, 1.0), WindowKey("w", 2, 1.0)
    granted(store.acquire([narrow], Priority.ENTRY, 5))
    waits(store.acquire([narrow, wide], Priority.ENTRY, 5))
    granted(store.acquire([wide], Priority.ENTRY, 5))
    granted(store.acquire([wide], Priority.ENTRY, 5))


def test_lost_holder_is_counted_until_its_lease_ends(make_store: Callable[..., Any]) -> None:
    clock = ManualClock()
    store = make_store(clock)
    key = WindowKey("a", 1, 1.0)
    lost = granted(store.acquire([key], Priority.ENTRY, 3))
    clock.advance(3.9)
    assert waits(store.acquire([key], Priority.ENTRY, 3)) == pytest.approx(0.1)
    clock.advance(0.2)
    second = granted(store.acquire([key], Priority.ENTRY, 3))
    store.release(lost)
    store.release(second)
    clock.advance(0.9)
    waits(store.acquire([key], Priority.ENTRY, 3))


def test_smaller_limit_waits_for_enough_slots(make_store: Callable[..., Any]) -> None:
    clock = ManualClock()
    store = make_store(clock)
    for _ in range(4):
        store.release(granted(store.acquire([WindowKey("a", 4, 1.0)], Priority.ENTRY, 3)))
        clock.advance(0.1)
    smaller = WindowKey("a", 2, 1.0)
    assert waits(store.acquire([smaller], Priority.ENTRY, 3)) == pytest.approx(0.8)


def test_urgent_waiter_holds_others_back(make_store: Callable[..., Any]) -> None:
    clock = ManualClock()
    store = make_store(clock)
    key = WindowKey("a", 5, 1.0)
    store.waiting([key], Priority.EXIT, 1)
    assert waits(store.acquire([key], Priority.ENTRY, 3)) == pytest.approx(slots.RECHECK)
    granted(store.acquire([key], Priority.EXIT, 3))
    store.waiting([key], Priority.EXIT, -1)
    granted(store.acquire([key], Priority.ENTRY, 3))


def test_waiter_of_the_same_rank_holds_nobody_back(make_store: Callable[..., Any]) -> None:
    store = make_store(ManualClock())
    key = WindowKey("a", 5, 1.0)
    store.waiting([key], Priority.ENTRY, 1)
    granted(store.acquire([key], Priority.ENTRY, 3))
    waits(store.acquire([key], Priority.READ, 3))


def test_silent_waiter_is_forgotten(make_store: Callable[..., Any]) -> None:
    clock = ManualClock()
    store = make_store(clock)
    key = WindowKey("a", 5, 1.0)
    store.waiting([key], Priority.EXIT, 1)
    clock.advance(slots.WAITER_LEASE - 1)
    waits(store.acquire([key], Priority.ENTRY, 3))
    clock.advance(slots.WAITER_LEASE + 1)
    granted(store.acquire([key], Priority.ENTRY, 3))


def test_more_in_use_than_rows_waits(make_store: Callable[..., Any]) -> None:
    store = make_store(ManualClock())
    key = WindowKey("a", 1_000_000, 1.0)
    grants = [granted(store.acquire([key], Priority.ENTRY, 3)) for _ in range(512)]
    waits(store.acquire([key], Priority.ENTRY, 3))
    for grant in grants:
        store.release(grant)
    granted(store.acquire([key], Priority.ENTRY, 3))


def test_full_ring_keeps_slots_counted(
    make_store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_RING_SIZE", 4)
    clock = ManualClock()
    store = make_store(clock)
    for _ in range(6):
        store.release(granted(store.acquire([WindowKey("a", 99, 1.0)], Priority.ENTRY, 3)))
    assert waits(store.acquire([WindowKey("a", 6, 1.0)], Priority.ENTRY, 3)) == pytest.approx(1.0)
    clock.advance(1.1)
    granted(store.acquire([WindowKey("a", 1, 1.0)], Priority.ENTRY, 3))


def test_files_of_another_boot_or_time_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = WindowKey("a", 1, 1.0)
    late = ManualClock()
    late.advance(1_000_000)
    granted(FileSlotStore(tmp_path, late).acquire([key], Priority.ENTRY, 3))
    early = ManualClock()
    granted(FileSlotStore(tmp_path, early).acquire([key], Priority.ENTRY, 3))
    waits(FileSlotStore(tmp_path, early).acquire([key], Priority.ENTRY, 3))
    monkeypatch.setattr(slots, "_boot", lambda: 7)
    granted(FileSlotStore(tmp_path, early).acquire([key], Priority.ENTRY, 3))


def test_files_are_private_and_reopened(tmp_path: Path) -> None:
    store = FileSlotStore(tmp_path / "deep" / "slots", ManualClock())
    key = WindowKey("account/secretive", 1, 1.0)
    granted(store.acquire([key], Priority.ENTRY, 3))
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "deep" / "slots").iterdir()}
    assert modes == {0o600}
    store.close()
    waits(store.acquire([key], Priority.ENTRY, 3))


def test_unusable_directory_and_full_disk_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SlotsUnavailable):
        FileSlotStore(tmp_path / "file", ManualClock()).acquire([SECOND], Priority.ENTRY, 3)

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SlotsUnavailable, match="No space"):
        FileSlotStore(tmp_path / "s", ManualClock()).acquire([SECOND], Priority.ENTRY, 3)


def test_lock_that_is_gone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileSlotStore(tmp_path, ManualClock())
    granted(store.acquire([SECOND], Priority.ENTRY, 3))

    def fails(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patched:
        patched.setattr(slots, "_flock", lambda *_: -1)
        patched.setattr(fcntl, "flock", fails)
        with pytest.raises(SlotsUnavailable, match="locks"):
            store.acquire([SECOND], Priority.ENTRY, 3)
    granted(store.acquire([SECOND], Priority.ENTRY, 3))


# Many processes ---------------------------------------------------------------------------------


def _caller(directory: str, seconds: float, calls: int, window: float, out: Any) -> None:
    clock = SystemClock()
    pacer = Pacer(
        [Limit("orders", frozenset({Operation.PLACE}), calls, window)],
        "venue", FileSlotStore(Path(directory), clock), clock, 60.0,
        WaitingRoom(), NullObserver(), "acc",
    )
    chance = random.Random(os.getpid())
    received = []
    deadline = Deadline(clock, seconds)
    while not deadline.expired:
        with pacer.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=Deadline(clock, 30)):
            delay = chance.uniform(0, 0.002)
            clock.sleep(delay)
            received.append(time.monotonic())
            clock.sleep(0.002 - delay)
    out.put(received)


def test_four_processes_share_a_window_without_a_breach(tmp_path: Path) -> None:
    calls, window = 40, 0.5
    context = multiprocessing.get_context("fork")
    out: Any = context.Queue()
    workers = [
        context.Process(target=_caller, args=(str(tmp_path), 3.25, calls, window, out))
        for _ in range(4)
    ]
    started = time.monotonic()
    for worker in workers:
        worker.start()
    parts = [out.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    received = sorted(moment for part in parts for moment in part)
    for index in range(len(received) - calls):
        assert received[index + calls] - received[index] >= window
    # Seven rounds begin within 3.25 s when each takes one window and one call.
    within = [moment for moment in received if moment < started + 3.25]
    assert len(within) >= 0.95 * 7 * calls
    assert all(len(part) > 0 for part in parts)


def _hold(directory: str, ready: Any) -> None:
    store = FileSlotStore(Path(directory), SystemClock())
    store.waiting([SECOND], Priority.EXIT, 1)
    keys = [WindowKey("venue/one", 1, 0.2)]
    store.acquire(keys, Priority.EXIT, 0.3)
    ready.set()
    signal.pause()


def test_killed_holder_frees_its_slot_by_lease_and_its_place_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path), ready))
    holder.start()
    assert ready.wait(20)
    store = FileSlotStore(tmp_path, SystemClock())
    assert waits(store.acquire([SECOND], Priority.ENTRY, 1)) <= slots.RECHECK + EPSILON
    started = time.monotonic()
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    granted(store.acquire([SECOND], Priority.ENTRY, 1))
    key = WindowKey("venue/one", 1, 0.2)
    answer = store.acquire([key], Priority.ENTRY, 1)
    while isinstance(answer, Wait):
        time.sleep(answer.seconds)
        answer = store.acquire([key], Priority.ENTRY, 1)
    assert time.monotonic() - started <= 0.5 + 0.2
