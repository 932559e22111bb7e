"""Where a request's time went."""

from __future__ import annotations

import contextvars
import threading

from utils import timing


def test_nothing_is_collected_outside_a_request() -> None:
    timing.waited(1.0)
    timing.at_broker(1.0)


def test_the_header_splits_the_time_in_milliseconds() -> None:
    with timing.collect() as spent:
        timing.waited(0.001)
        timing.at_broker(0.002)
        timing.at_broker(0.003)
    assert spent.header(0.010) == "queue;dur=1.00, broker;dur=5.00, ours;dur=4.00, total;dur=10.00"


def test_calls_side_by_side_never_make_ours_negative() -> None:
    with timing.collect() as spent:
        timing.at_broker(5.0)
    assert "ours;dur=0.00" in spent.header(1.0)


def test_threads_in_a_copy_of_the_context_add_to_it() -> None:
    with timing.collect() as spent:
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(timing.at_broker, 0.5))
        thread.start()
        thread.join()
    assert spent.broker == 0.5
