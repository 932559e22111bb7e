"""The circuit breaker: when it opens, who still passes, how it closes, and what it costs."""

from __future__ import annotations

import threading

import pytest

from broker.breaker import BREAKERS, Breaker, BreakerState, is_failure
from broker.errors import (
    ALL_ERRORS,
    BrokerError,
    CircuitOpen,
    ConnectFailed,
    Fate,
    InvalidOrder,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    SessionExpired,
)
from broker.testing.clocks import ManualClock

FAILURES = {ConnectFailed, OutcomeUnknown, ProtocolError}


def opened(clock: ManualClock, **options: float) -> Breaker:
    breaker = Breaker(clock, threshold=3, first_pause=2.0, longest_pause=5.0)
    for _ in range(3):
        breaker.before()
        breaker.failure()
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_opens_only_after_failures_in_a_row() -> None:
    breaker = Breaker(ManualClock(), threshold=3)
    for _ in range(5):
        breaker.failure()
        breaker.failure()
        breaker.success()
    assert breaker.state is BreakerState.CLOSED
    for _ in range(3):
        breaker.before()
        breaker.failure()
    assert breaker.state is BreakerState.OPEN


def test_open_refuses_with_the_time_to_come_back() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(0.5)
    with pytest.raises(CircuitOpen, match="nothing was sent") as caught:
        breaker.before()
    assert caught.value.retry_after == pytest.approx(1.5)
    assert caught.value.fate is Fate.NOT_SENT


def test_cancels_and_exits_always_pass_and_their_success_closes() -> None:
    breaker = opened(ManualClock())
    breaker.before(exempt=True)
    breaker.failure()
    assert breaker.state is BreakerState.OPEN
    with breaker.watch(exempt=True):
        pass
    assert breaker.state is BreakerState.CLOSED
    breaker.before()


def test_one_probe_after_the_pause_decides() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2.0)
    breaker.before()
    assert breaker.state is BreakerState.HALF_OPEN
    with pytest.raises(CircuitOpen):
        breaker.before()
    breaker.success()
    assert breaker.state is BreakerState.CLOSED


def test_failed_probes_double_the_pause_up_to_its_bound() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    pauses = []
    for _ in range(3):
        clock.advance(5.0)
        breaker.before()
        breaker.failure()
        with pytest.raises(CircuitOpen) as caught:
            breaker.before()
        pauses.append(caught.value.retry_after)
    assert pauses == pytest.approx([4.0, 5.0, 5.0])
    clock.advance(5.0)
    with breaker.watch():
        pass
    for _ in range(3):
        breaker.failure()
    with pytest.raises(CircuitOpen) as caught:
        breaker.before()
    assert caught.value.retry_after == pytest.approx(2.0)


def test_probe_that_never_reports_does_not_bar_the_way_for_ever() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2.0)
    breaker.before()
    clock.advance(2.0)
    breaker.before()


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_what_counts_as_failure(error: type[BrokerError]) -> None:
    assert is_failure(error("x")) == (error in FAILURES)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (OutcomeUnknown("x"), BreakerState.OPEN),
        (Refused("no margin"), BreakerState.CLOSED),
        (SessionExpired("dead"), BreakerState.CLOSED),
        (InvalidOrder("never asked"), BreakerState.HALF_OPEN),
    ],
)
def test_watch_tells_by_the_error(error: BrokerError, state: BreakerState) -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2.0)
    with pytest.raises(type(error)):
        with breaker.watch():
            raise error
    assert breaker.state is state


def test_changes_are_told() -> None:
    seen: list[BreakerState] = []
    clock = ManualClock()
    breaker = Breaker(clock, threshold=1, first_pause=1.0, on_change=seen.append)
    breaker.failure()
    breaker.failure()
    clock.advance(1.0)
    breaker.before()
    breaker.success()
    breaker.success()
    assert seen == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_many_threads_get_one_probe() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2.0)
    passed: list[int] = []
    barrier = threading.Barrier(16)

    def ask(number: int) -> None:
        barrier.wait()
        try:
            breaker.before()
        except CircuitOpen:
            return
        passed.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 1


def test_refuses_without_waiting_while_open() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    began = clock.monotonic()
    for _ in range(20):
        with pytest.raises(CircuitOpen):
            breaker.before()
    assert clock.monotonic() == began


def test_breakers_are_shared_by_name_and_clock() -> None:
    one, two = ManualClock(), ManualClock()
    assert BREAKERS.get(one, "venue/orders", "V") is BREAKERS.get(one, "venue/orders", "V")
    assert BREAKERS.get(one, "venue/orders", "V") is not BREAKERS.get(one, "venue/data", "V")
    assert BREAKERS.get(one, "venue/orders", "V") is not BREAKERS.get(two, "venue/orders", "V")
