"""Which reads are repeated, how often, after what pause, and never past the deadline."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.base import Deadline
from broker.errors import (
    ALL_ERRORS,
    BrokerError,
    ConnectFailed,
    OutcomeUnknown,
    RateLimited,
    RateLimitedUnknown,
)
from broker.retry import retry_reads
from broker.testing.clocks import ManualClock

HEALED = {ConnectFailed, OutcomeUnknown, RateLimited, RateLimitedUnknown}


class Failing:
    def __init__(self, *errors: BrokerError) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "read"


def run(
    fn: Callable[[], str], clock: ManualClock, *, attempts: int = 4, seconds: float = 60.0
) -> str:
    return retry_reads(
        fn, attempts=attempts, clock=clock, rand=lambda: 0.5, deadline=Deadline(clock, seconds)
    )


def test_pauses_double_and_stop_growing() -> None:
    clock, fn = ManualClock(), Failing(*[OutcomeUnknown("x")] * 6)
    assert run(fn, clock, attempts=7) == "read"
    assert clock.slept == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


def test_jitter_is_handed_in() -> None:
    for chance, pause in ((0.0, 0.1), (0.999, 0.2998)):
        clock = ManualClock()
        retry_reads(
            Failing(ConnectFailed("x")), attempts=2, clock=clock,
            rand=lambda value=chance: value, deadline=Deadline(clock, 9),
        )
        assert clock.slept == pytest.approx([pause])


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_which_errors_are_repeated(error: type[BrokerError]) -> None:
    clock, fn = ManualClock(), Failing(error("x"))
    if error in HEALED:
        assert run(fn, clock) == "read"
        assert fn.calls == 2
    else:
        with pytest.raises(error):
            run(fn, clock)
        assert fn.calls == 1


@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_attempts_are_counted_and_the_last_error_is_raised(attempts: int) -> None:
    errors = [OutcomeUnknown(str(number)) for number in range(9)]
    clock, fn = ManualClock(), Failing(*errors)
    with pytest.raises(OutcomeUnknown) as caught:
        run(fn, clock, attempts=attempts)
    assert fn.calls == max(1, attempts)
    assert caught.value is errors[fn.calls - 1]


def test_no_pause_outlasts_the_deadline() -> None:
    clock, fn = ManualClock(), Failing(*[OutcomeUnknown("x")] * 9)
    with pytest.raises(OutcomeUnknown):
        run(fn, clock, attempts=9, seconds=1.0)
    assert clock.slept == pytest.approx([0.2, 0.4])


def test_rate_limit_waits_for_the_venues_time_or_one_interval() -> None:
    clock = ManualClock()
    fn = Failing(RateLimited("x", retry_after=3.0), RateLimited("x"), RateLimitedUnknown("x"))
    assert run(fn, clock) == "read"
    assert clock.slept == pytest.approx([3.2, 1.4, 1.8])
