"""What safety costs: the answer to a repeat, and what journal and pacing add to an order."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

from benchmarks.load import Call, Sample, back_to_back
from benchmarks.measure import Effort, gateway_order
from benchmarks.report import Figure, at_most
from benchmarks.servers import Gunicorn, Stack, free_port, post

_PROBE = "/health/live"


def replay(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """One order under a key, then the same request again and again: the first answer each time."""
    order = gateway_order(stack, client_order_id=f"bench-{secrets.token_hex(8)}")
    first = post(f"{stack.gateway.url}{order.path}", json.loads(order.body))
    again = Call(order.method, order.path, order.body, str(first["orderid"]).encode())
    back_to_back(stack.gateway.url, [again] * 20)
    sample = Sample()
    for _ in range(effort.rounds):
        sample.add(back_to_back(stack.gateway.url, [again] * effort.orders))
    yield at_most(
        "Replay of an order under its idempotency key, median", sample.median, 5.0, "ms",
        note=f"p99 {sample.percentile(0.99):.2f} ms",
    )  # fmt: skip


def journal_and_pacing(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """The gateway, and the same gateway without the two, in turn (`benchmarks/unsafe.py`)."""
    port = free_port()
    without = Gunicorn(stack.environ, port, _PROBE, "benchmarks.unsafe:create()")
    try:
        without.pin(stack.cpus.server)
        order = gateway_order(stack)
        samples = Sample(), Sample()
        for number in range(effort.rounds + 1):
            for sample, url in zip(samples, (without.url, stack.gateway.url), strict=True):
                done = back_to_back(url, [order] * effort.orders)
                if number:
                    sample.add(done)
    finally:
        without.stop()
    bare, safe = samples
    yield at_most(
        "Journal and pacing add to an order, median", safe.median - bare.median, 1.5, "ms",
        note=f"{safe.median:.2f} ms with, {bare.median:.2f} ms without",
    )  # fmt: skip
