"""Runs the orders that one request is made of, and turns each outcome into a row.

A child that finds the broker's queue full was not sent, and comes again until the composite's time
is over: a basket of sixty is paced, not refused. What fails does not stop the others. After a crash
a composite is run again under the same reference; children that the journal knows are told from
there, and none is sent twice. Exits and smart orders are not: they are made anew of the books by
then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import TypeVar

from broker.base import Clock, Deadline
from broker.errors import BrokerBusy, BrokerError, CircuitOpen, Fate, LimitsUnknown
from database import journal
from database.journal import Intent, IntentKind, IntentState
from services.errors import InvalidRequest, ServiceError
from services.order_models import ChildResult, ChildStatus, Origin, Placed, Provenance
from services.recording import Recorder

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_CHILDREN = 100
"""REST reference §8.8; a request must end before proxies give it up."""

PARALLEL = 4
"""Children under way at once: enough to use a limit of ten a second at a round trip of 0.4 s,
few enough to leave the process's queue of sixteen to others."""

PATIENCE = 30.0
"""Seconds for which a composite keeps coming back to a full queue."""

_SHORTEST_PAUSE = 0.05

_BLIND_PAUSE = 1.0
"""Seconds to wait where nobody can say when there is room: every try is an entry in the journal."""


@dataclass(frozen=True, slots=True)
class Child:
    """What a row of the answer says before anything is known of its outcome."""

    index: int
    symbol: str
    exchange: str
    product: str
    quantity: int
    order_id: str = ""

    def result(self, status: ChildStatus, **found: str) -> ChildResult:
        """The row with its outcome."""
        given = {"order_id": self.order_id} | found
        return ChildResult(
            self.index, self.symbol, self.exchange, self.product, self.quantity, status, **given
        )


class Family:
    """The children of one composite request."""

    def __init__(
        self, recorder: Recorder, clock: Clock, provenance: Provenance, origin: Origin, parent: str
    ) -> None:
        self._clock = clock
        self._provenance = replace(provenance, origin=origin, reference=None, parent=parent)
        self._due = Deadline(clock, PATIENCE)
        # What an exit or a smart order is made into follows from the books of the moment, so an
        # earlier run's first child says nothing of this one's; what it sent is in those books.
        again = origin not in (Origin.EXIT, Origin.SMART)
        self._known = _known_children(recorder, provenance.reference) if again else {}

    def provenance(self, index: int) -> Provenance:
        """The provenance of a child: the parent's key plus its place, counted from 1."""
        key = self._provenance.client_order_id
        known = self._known.get(index)
        return replace(
            self._provenance,
            client_order_id=f"{key}-{index + 1}" if key else None,
            child_index=index,
            reference=known.reference if known else None,
        )

    def run(self, child: Child, submit: Callable[[Provenance], Placed]) -> ChildResult:
        """Submit one child and say how it ended. Never raises."""
        provenance = self.provenance(child.index)
        try:
            while True:
                try:
                    placed = submit(provenance)
                except BrokerBusy as busy:
                    self._wait_or_raise(busy)
                    provenance = replace(provenance, reference=None)
                    continue
                return child.result(
                    ChildStatus.SUCCESS, order_id=placed.order_id, reference=placed.reference
                )
        except (BrokerError, ServiceError) as error:
            return failed(child, error)
        except Exception:
            log.exception("a child of a composite order failed", extra={"index": child.index})
            return child.result(
                ChildStatus.UNKNOWN,
                message="The gateway failed while it worked on this order: look into the order "
                "book before sending it again.",
                code="internal_error",
            )

    def _wait_or_raise(self, busy: BrokerBusy) -> None:
        asked = _BLIND_PAUSE if busy.retry_after is None else busy.retry_after
        pause = max(asked, _SHORTEST_PAUSE)
        if isinstance(busy, CircuitOpen | LimitsUnknown) or self._due.remaining() < pause:
            raise busy
        self._clock.sleep(pause)


def failed(child: Child, error: BrokerError | ServiceError) -> ChildResult:
    """The row of a child that raised."""
    status = ChildStatus.UNKNOWN if error.fate is Fate.UNKNOWN else ChildStatus.ERROR
    return child.result(
        status, reference=error.reference, message=error.message, code=error.kind
    )


def split_quantity(quantity: int, size: int) -> list[int]:
    """The parts of a split. `InvalidRequest` above 100 of them (REST reference §8.8)."""
    if size < 1:
        raise InvalidRequest("Split size must be a positive integer.", field="split_size")
    if quantity < 1:
        raise InvalidRequest("Total quantity must be a positive number.", field="quantity")
    if -(-quantity // size) > MOST_CHILDREN:
        raise InvalidRequest(
            f"Total number of orders would exceed maximum limit of {MOST_CHILDREN}",
            field="split_size",
        )
    whole, rest = divmod(quantity, size)
    return [size] * whole + ([rest] if rest else [])


def side_by_side(work: Sequence[Callable[[], T]], parallel: int = PARALLEL) -> list[T]:
    """Run these at the same time, a few at once; their results in the order given."""
    if len(work) < 2:
        return [task() for task in work]
    with ThreadPoolExecutor(min(parallel, len(work)), thread_name_prefix="child") as pool:
        return list(pool.map(lambda task: task(), [_in_context(task) for task in work]))


def _in_context(task: Callable[[], T]) -> Callable[[], T]:
    context = copy_context()
    return lambda: context.run(task)


def _known_children(recorder: Recorder, reference: str | None) -> dict[int, Intent]:
    """The latest order of each place that an earlier run made, but for those never sent."""
    if reference is None:
        return {}
    with recorder.reading() as conn:
        found = journal.children(conn, reference)
    return {
        intent.child_index: intent
        for intent in found
        if intent.child_index is not None
        and intent.kind is IntentKind.PLACE
        and intent.state is not IntentState.NOT_SENT
    }
