"""The pacer: order of turns, bounded waits, early refusals, and what happens without storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from broker.base import (
    Deadline,
    Grant,
    Limit,
    NullObserver,
    Operation,
    Priority,
    SlotStore,
    Wait,
    WindowKey,
)
from broker.errors import BrokerBusy, Fate, LimitsUnknown
from broker.pacing import Pacer
from broker.slots import FileSlotStore, MemorySlotStore, SlotsUnavailable
from broker.testing.clocks import ManualClock
from broker.waiting import WaitingRoom

ORDERS = Limit("orders", frozenset({Operation.PLACE, Operation.MODIFY}), 2, 1.0)
CANCELS = Limit("cancel", frozenset({Operation.CANCEL}), 1, 1.0)
ALL = Limit("all", frozenset({Operation.PLACE, Operation.CANCEL}), 2, 1.0)


class Watch(NullObserver):
    def __init__(self) -> None:
        self.waits: list[tuple[str, str, float]] = []
        self.anomalies: list[tuple[str, str, str]] = []

    def waited(self, account: str, operation: str, seconds: float) -> None:
        self.waits.append((account, operation, seconds))

    def anomaly(self, account: str, what: str, detail: str) -> None:
        self.anomalies.append((account, what, detail))


class RealClock(ManualClock):
    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def pacer(
    clock: ManualClock,
    limits: Sequence[Limit] = (ORDERS, CANCELS),
    store: SlotStore | None = None,
    observer: Watch | None = None,
    queue_wait: float = 7.0,
    queue_size: int = 16,
    caller: Callable[[], str] = lambda: "",
) -> Pacer:
    return Pacer(
        limits, "venue/key", store or MemorySlotStore(clock), clock, queue_wait,
        WaitingRoom(queue_size), observer or Watch(), "acc", caller=caller,
    )


def once(
    paced: Pacer, clock: ManualClock, operation: Operation = Operation.PLACE,
    priority: Priority = Priority.ENTRY, seconds: float = 10.0,
) -> None:
    with paced.reserve(operation, priority=priority, deadline=Deadline(clock, seconds)):
        pass


def test_calls_wait_for_the_window_and_are_observed() -> None:
    clock, watch = ManualClock(), Watch()
    paced = pacer(clock, observer=watch)
    for _ in range(5):
        once(paced, clock)
    assert clock.monotonic() - 1000.0 == pytest.approx(2.0, abs=1e-3)
    assert [(account, operation) for account, operation, _ in watch.waits] == [("acc", "place")] * 2
    assert all(seconds == pytest.approx(1.0, abs=1e-3) for _, _, seconds in watch.waits)


def test_operations_of_one_limit_share_it_and_others_do_not() -> None:
    clock = ManualClock()
    paced = pacer(clock)
    once(paced, clock, Operation.PLACE)
    once(paced, clock, Operation.MODIFY)
    once(paced, clock, Operation.CANCEL)
    assert clock.slept == []
    assert paced.available_after(Operation.PLACE) == pytest.approx(1.0)
    assert paced.available_after(Operation.HOLDINGS) == 0.0


def test_unmetered_operation_is_free() -> None:
    clock = ManualClock()
    paced = pacer(clock)
    for _ in range(100):
        once(paced, clock, Operation.LOGIN)
    assert clock.slept == []


def test_scopes_do_not_share() -> None:
    clock = ManualClock()
    store = MemorySlotStore(clock)
    for scope in ("a", "b"):
        paced = Pacer([ORDERS], scope, store, clock, 7.0, WaitingRoom(), Watch(), scope)
        once(paced, clock)
        once(paced, clock)
    assert clock.slept == []


def test_pacers_of_one_scope_share() -> None:
    clock = ManualClock()
    store = MemorySlotStore(clock)
    for label in ("a", "b"):
        paced = Pacer([ORDERS], "same key", store, clock, 7.0, WaitingRoom(), Watch(), label)
        once(paced, clock)
        once(paced, clock)
    assert clock.monotonic() - 1000.0 == pytest.approx(1.0, abs=1e-3)


def test_wait_beyond_the_patience_is_refused_at_once() -> None:
    clock = ManualClock()
    paced = pacer(clock, [Limit("slow", frozenset({Operation.HOLDINGS}), 1, 10.0)])
    once(paced, clock, Operation.HOLDINGS)
    with pytest.raises(BrokerBusy, match=r"^Rate limit exceeded") as caught:
        once(paced, clock, Operation.HOLDINGS)
    assert caught.value.retry_after == pytest.approx(10.0)
    assert caught.value.fate is Fate.NOT_SENT
    assert clock.slept == []
    clock.advance(8.0)
    with pytest.raises(BrokerBusy):
        once(paced, clock, Operation.HOLDINGS, seconds=1.0)
    once(paced, clock, Operation.HOLDINGS)


def test_asking_without_waiting_never_waits_nor_overtakes() -> None:
    clock = ManualClock()
    paced = pacer(clock)
    deadline = Deadline(clock, 10.0)
    for _ in range(2):
        with paced.reserve(
            Operation.PLACE, priority=Priority.ENTRY, deadline=deadline, wait=False
        ):
            pass
    with pytest.raises(BrokerBusy) as caught:
        paced.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=deadline, wait=False)
    assert caught.value.retry_after == pytest.approx(1.0)
    assert clock.slept == []


def test_slot_that_is_never_entered_comes_back_by_its_lease() -> None:
    clock = ManualClock()
    paced = pacer(clock, [Limit("one", frozenset({Operation.PLACE}), 1, 1.0)])
    paced.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=Deadline(clock, 3.0))
    clock.advance(3.0 + 1.0 + 1.0)
    once(paced, clock, seconds=0.5)


def test_slot_is_given_back_once() -> None:
    clock = ManualClock()
    paced = pacer(clock)
    slot = paced.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=Deadline(clock, 3.0))
    for _ in range(3):
        with slot:
            pass
    once(paced, clock)
    assert clock.slept == []


class Blocked(SlotStore):
    """A store without a free slot until it is opened; `open_for` may then take that many."""

    def __init__(self) -> None:
        self.free = 0
        self.lock = threading.Lock()
        self.order: list[Priority] = []
        self.announced = dict.fromkeys(Priority, 0)

    def acquire(
        self, wanted: Sequence[WindowKey], priority: Priority, lease: float
    ) -> Grant | Wait:
        with self.lock:
            if not self.free or any(
                count and other < priority for other, count in self.announced.items()
            ):
                return Wait(0.002)
            self.free -= 1
            self.order.append(priority)
            return Grant(())

    def release(self, grant: Grant) -> None:
        pass

    def waiting(self, wanted: Sequence[WindowKey], priority: Priority, change: int) -> None:
        with self.lock:
            self.announced[priority] += change

    def peek(self, wanted: Sequence[WindowKey]) -> float:
        return 0.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


def start(paced: Pacer, clock: ManualClock, priority: Priority, results: list[object],
          operation: Operation = Operation.PLACE) -> threading.Thread:
    def run() -> None:
        try:
            once(paced, clock, operation, priority, 20.0)
            results.append(priority)
        except BrokerBusy as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_exits_go_first_then_entries_then_reads_each_in_order() -> None:
    clock, store = RealClock(), Blocked()
    results: list[object] = []
    paced = pacer(clock, [ALL], store, queue_wait=20.0)
    threads = []
    for number, (priority, operation) in enumerate(
        [
            (Priority.READ, Operation.PLACE),
            (Priority.ENTRY, Operation.PLACE),
            (Priority.EXIT, Operation.PLACE),
            (Priority.ENTRY, Operation.PLACE),
            (Priority.EXIT, Operation.CANCEL),
        ]
    ):
        threads.append(start(paced, clock, priority, results, operation))
        until(lambda wanted=number + 1: sum(store.announced.values()) == wanted)
    store.free = 5
    for thread in threads:
        thread.join(20)
    assert store.order == [
        Priority.EXIT, Priority.EXIT, Priority.ENTRY, Priority.ENTRY, Priority.READ
    ]
    assert sum(store.announced.values()) == 0


def test_newcomer_does_not_overtake_those_who_wait() -> None:
    clock, store = RealClock(), Blocked()
    results: list[object] = []
    paced = pacer(clock, [ALL], store, queue_wait=20.0)
    first = start(paced, clock, Priority.ENTRY, results)
    until(lambda: store.announced[Priority.ENTRY] == 1)
    second = start(paced, clock, Priority.READ, results)
    until(lambda: store.announced[Priority.READ] == 1)
    store.free = 1
    first.join(20)
    assert results == [Priority.ENTRY]
    store.free = 1
    second.join(20)


def test_full_queue_refuses_at_once_but_makes_room_for_an_exit() -> None:
    clock, store = RealClock(), Blocked()
    results: list[object] = []
    paced = pacer(clock, [ALL], store, queue_wait=20.0, queue_size=2)
    entry = start(paced, clock, Priority.ENTRY, results)
    until(lambda: store.announced[Priority.ENTRY] == 1)
    read = start(paced, clock, Priority.READ, results)
    until(lambda: store.announced[Priority.READ] == 1)
    with pytest.raises(BrokerBusy) as caught:
        once(paced, clock, priority=Priority.READ)
    assert caught.value.retry_after is not None
    out = start(paced, clock, Priority.EXIT, results)
    read.join(20)
    assert isinstance(results[0], BrokerBusy)
    store.free = 2
    entry.join(20)
    out.join(20)
    assert results[1:] == [Priority.EXIT, Priority.ENTRY]
    assert sum(store.announced.values()) == 0


def test_line_that_is_too_long_to_be_served_in_time_is_refused_at_once() -> None:
    clock = RealClock()
    results: list[object] = []
    paced = pacer(
        clock, [Limit("one", frozenset({Operation.PLACE}), 1, 0.3)], MemorySlotStore(clock),
        queue_wait=0.5,
    )
    once(paced, clock)
    waiting = start(paced, clock, Priority.ENTRY, results)
    until(lambda: paced.available_after(Operation.PLACE) > 0 and waiting.is_alive())
    started = time.monotonic()
    with pytest.raises(BrokerBusy) as caught:
        for _ in range(2):
            once(paced, clock)
    assert time.monotonic() - started < 0.65
    assert caught.value.retry_after is not None and caught.value.retry_after > 0.25
    waiting.join(20)
    assert results == [Priority.ENTRY]


def test_sixteen_threads_are_all_served_in_time() -> None:
    clock = RealClock()
    results: list[object] = []
    paced = pacer(clock, [Limit("ten", frozenset({Operation.PLACE}), 10, 0.2)])
    started = time.monotonic()
    threads = [start(paced, clock, Priority.ENTRY, results) for _ in range(26)]
    for thread in threads:
        thread.join(20)
    assert results == [Priority.ENTRY] * 26
    assert time.monotonic() - started >= 0.4


class Broken(MemorySlotStore):
    """A store that fails while `down` is set."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.down = False

    def acquire(
        self, wanted: Sequence[WindowKey], priority: Priority, lease: float
    ) -> Grant | Wait:
        if self.down:
            raise SlotsUnavailable("no space left")
        return super().acquire(wanted, priority, lease)

    def release(self, grant: Grant) -> None:
        if self.down:
            raise SlotsUnavailable("no space left")
        super().release(grant)


def test_callers_take_turns_however_many_requests_one_of_them_has() -> None:
    clock, store = RealClock(), Blocked()
    results: list[object] = []
    who = threading.local()
    paced = pacer(clock, [ALL], store, queue_wait=20.0, caller=lambda: who.name)
    served: list[str] = []

    def work(name: str) -> None:
        who.name = name
        once(paced, clock, seconds=20.0)
        served.append(name)

    threads = []
    for number, name in enumerate(["flood"] * 6 + ["quiet"] * 2 + ["third"]):
        threads.append(threading.Thread(target=work, args=(name,)))
        threads[-1].start()
        until(lambda wanted=number + 1: sum(store.announced.values()) == wanted)
    for number in range(len(threads)):
        store.free = 1
        until(lambda wanted=number + 1: len(served) == wanted)
    for thread in threads:
        thread.join(20)
    assert results == []
    assert served == [
        "flood", "quiet", "third", "flood", "quiet", "flood", "flood", "flood", "flood"
    ]


def test_seats_are_those_of_the_process_not_of_one_limit() -> None:
    clock, store = RealClock(), Blocked()
    results: list[object] = []
    room = WaitingRoom(2)
    limits = [
        Limit(name, frozenset({operation}), 1, 1.0)
        for name, operation in (("b", Operation.ORDERS), ("p", Operation.PLACE))
    ]
    paced = Pacer(limits, "venue/key", store, clock, 20.0, room, Watch(), "acc")
    reads = [start(paced, clock, Priority.READ, results, Operation.ORDERS) for _ in range(2)]
    until(lambda: store.announced[Priority.READ] == 2)
    entry = start(paced, clock, Priority.ENTRY, results, Operation.PLACE)
    until(lambda: len(results) == 1)
    assert isinstance(results[0], BrokerBusy)
    store.free = 2
    for thread in (*reads, entry):
        thread.join(20)
    assert results[1:] in ([Priority.ENTRY, Priority.READ], [Priority.READ, Priority.ENTRY])


def test_while_the_shared_count_is_away_exits_and_reads_count_on_this_host(tmp_path: Path) -> None:
    clock, watch = ManualClock(), Watch()
    store, host = Broken(clock), FileSlotStore(tmp_path, clock)
    limits = [
        Limit("four", frozenset({Operation.CANCEL}), 4, 1.0),
        Limit("one", frozenset({Operation.POSITIONS}), 1, 1.0),
    ]
    both = [
        Pacer(limits, "v/k", store, clock, 7.0, WaitingRoom(), watch, "acc", spare=host)
        for _ in range(2)
    ]
    store.down = True
    with pytest.raises(LimitsUnknown) as caught:
        once(both[0], clock, Operation.CANCEL, Priority.ENTRY)
    assert (caught.value.http_status, caught.value.retry_after) == (503, 1.0)
    for paced in both:  # half of four, over the processes of the host
        once(paced, clock, Operation.CANCEL, Priority.EXIT)
    assert clock.slept == []
    once(both[0], clock, Operation.CANCEL, Priority.EXIT)
    assert clock.monotonic() - 1000.0 == pytest.approx(1.0, abs=1e-3)
    for paced in both:  # half of one in a second is one in two
        once(paced, clock, Operation.POSITIONS, Priority.READ)
    assert clock.monotonic() - 1000.0 == pytest.approx(3.0, abs=1e-3)
    store.down = False
    once(both[0], clock, Operation.CANCEL, Priority.ENTRY)


def test_without_storage_only_exits_go_at_half_the_rate() -> None:
    clock, watch = ManualClock(), Watch()
    store = Broken(clock)
    paced = pacer(clock, [Limit("four", frozenset({Operation.PLACE}), 4, 1.0)], store, watch)
    store.down = True
    with pytest.raises(BrokerBusy, match="nothing was sent"):
        once(paced, clock)
    for _ in range(2):
        once(paced, clock, priority=Priority.EXIT)
    assert clock.slept == []
    once(paced, clock, priority=Priority.EXIT)
    assert clock.monotonic() - 1000.0 == pytest.approx(1.0, abs=1e-3)
    assert {what for _, what, _ in watch.anomalies} == {"pacing storage"}


def test_storage_that_fails_after_the_call_does_not_cost_its_answer() -> None:
    clock, watch = ManualClock(), Watch()
    store = Broken(clock)
    paced = pacer(clock, store=store, observer=watch)
    with paced.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=Deadline(clock, 3.0)):
        store.down = True
    assert watch.anomalies == [("acc", "pacing storage", "no space left")]


def test_two_pacers_on_files_let_the_exit_go_first(tmp_path: Path) -> None:
    """Two stores on the same files are two processes, as far as their locks are concerned."""
    clock = RealClock()
    results: list[object] = []
    limit = Limit("one", frozenset({Operation.PLACE, Operation.CANCEL}), 1, 0.25)
    one, two = (
        pacer(clock, [limit], FileSlotStore(tmp_path, clock), queue_wait=20.0) for _ in range(2)
    )
    once(one, clock)
    entry = start(one, clock, Priority.ENTRY, results)
    out = start(two, clock, Priority.EXIT, results)
    entry.join(20)
    out.join(20)
    assert results == [Priority.EXIT, Priority.ENTRY]
