"""Repeating reads. A submit is never repeated here: its one repetition is decided in one place,
above the adapters, by the error's `fate` (design §4.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.stop import stop_base

from broker.base import Clock, Deadline
from broker.errors import (
    ConnectFailed,
    OutcomeUnknown,
    RateLimited,
    RateLimitedUnknown,
)

T = TypeVar("T")

FIRST_DELAY = 0.2
LONGEST_DELAY = 2.0
FULL_INTERVAL = 1.0
"""Seconds; after a rate limit wait at least one interval of the venue's (XTS reference §15.3)."""


def retry_reads(
    fn: Callable[[], T],
    *,
    attempts: int,
    clock: Clock,
    rand: Callable[[], float],
    deadline: Deadline,
) -> T:
    """Call a read up to `attempts` times in all and return what it returns.

    Repeated are failures that time can heal: no connection, no usable answer, a rate limit (after
    the venue's own `retry_after`, else one interval). The pause doubles from 0.2 to 2 s and is
    multiplied by a chance between 0.5 and 1.5. When the next pause would outlast the deadline, or
    for any other error, the error itself is raised.
    """

    def pause(state: RetryCallState) -> float:
        grown: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (state.attempt_number - 1))
        delay = grown * (0.5 + rand())
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RateLimited | RateLimitedUnknown):
            delay += error.retry_after if error.retry_after is not None else FULL_INTERVAL
        return delay

    retrying = Retrying(
        retry=retry_if_exception(_may_heal),
        stop=stop_after_attempt(max(1, attempts)) | _StopBefore(deadline),
        wait=pause,
        sleep=clock.sleep,
        reraise=True,
    )
    return retrying(fn)


def _may_heal(error: BaseException) -> bool:
    return isinstance(error, ConnectFailed | OutcomeUnknown | RateLimited)


class _StopBefore(stop_base):
    """Give up when the pause would end after the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: RetryCallState) -> bool:
        return retry_state.upcoming_sleep >= self._deadline.remaining()
