"""What watching costs an order: `python -m benchmarks.watching` prints microseconds a call.

Each line is one piece that the order path passes once. Times are the best of several rounds, of
one thread on whatever else the machine does.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from services import counting
from utils.logging import bound
from utils.tally import DAY
from utils.trace import begin, outgoing, trace_of

CALLS, ROUNDS = 500, 200
PARENT = {"HTTP_TRACEPARENT": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


def microseconds(work: Callable[[], object]) -> float:
    """The best time of one call."""
    return min(timeit.repeat(work, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def main() -> None:
    """Print every piece, and their sum."""
    trace = begin(PARENT)

    def call() -> None:
        with bound(**trace.fields()):
            outgoing()

    pieces: dict[str, Callable[[], object]] = {
        "ids of a request (traceparent given)": lambda: trace_of(dict(PARENT)),
        "headers of the answer": trace.headers,
        "ids bound to the log, headers for the broker": call,
        "API call counted": lambda: counting.api_call("/placeorder", 200, 0.01, 0.005),
        "broker call counted": lambda: counting.broker_call("prop-b", "place", "ok", 0.005),
        "time to acceptance counted": lambda: counting.order_accepted(0.01),
    }
    total = 0.0
    for name, work in pieces.items():
        spent = microseconds(work)
        total += spent
        print(f"{spent:6.2f} µs  {name}")
    print(f"{total:6.2f} µs  together, an order")
    DAY.drain()


if __name__ == "__main__":
    main()
