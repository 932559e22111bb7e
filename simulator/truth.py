"""What really happened: every order request ever received, request counts, limit breaches, faults.

A test compares a client's belief with this. Nothing is forgotten until `reset`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.oms.orders import Order

_LAST = 20_000


@dataclass(slots=True)
class OrderRecord:
    """One `POST /orders` as received.

    accepted: the venue took it (it answered, or would have answered, success).
    dropped: taken, but never in any book (cluster C's dealer id, fault accept_then_drop).
    """

    serial: int
    received_at: int
    tag: str
    client: str
    user: str
    body: dict[str, Any] | None
    accepted: bool = False
    dropped: bool = False
    refusal: str = ""
    fault: str = ""
    app_order_id: int | None = None
    order: Order | None = None

    def public(self) -> dict[str, Any]:
        order = self.order
        return {
            "serial": self.serial,
            "received_at": self.received_at,
            "tag": self.tag,
            "client": self.client,
            "user": self.user,
            "accepted": self.accepted,
            "dropped": self.dropped,
            "refusal": self.refusal,
            "fault": self.fault,
            "app_order_id": self.app_order_id,
            "status": order.status if order else None,
            "reason": order.reason if order else None,
            "segment": order.segment if order else None,
            "token": order.token if order else None,
            "side": order.side if order else None,
            "order_type": order.order_type if order else None,
            "product": order.product if order else None,
            "quantity": order.quantity if order else None,
            "filled": order.filled if order else 0,
            "price": order.price if order else None,
            "stop_price": order.stop_price if order else None,
            "average_price": order.average if order else None,
            "body": self.body if order is None else None,
        }


@dataclass(slots=True)
class Truth:
    """The record of one venue."""

    orders: list[OrderRecord] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    requests: dict[str, deque[tuple[int, int, str]]] = field(default_factory=dict)
    breaches: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    since: int = 0
    """When this record was begun; a request that was received before belongs to the one before."""

    def request(self, route: str, received_at: int, status: int, user: str) -> None:
        """Count one request; status 0 means that no answer was sent."""
        if received_at < self.since:
            return
        counts = self.counts
        counts[route] = counts.get(route, 0) + 1
        log = self.requests.get(route)
        if log is None:
            log = self.requests[route] = deque(maxlen=_LAST)
        log.append((received_at, status, user))

    def breach(self, kind: str, received_at: int, user: str, wait: float) -> None:
        """Record a request refused by a rate limit."""
        self.breaches.setdefault(kind, []).append(
            {"at": received_at, "user": user, "wait": round(wait, 6)}
        )

    def clear(self, now: int) -> None:
        """Begin anew at `now` (nanoseconds of the clock that `received_at` is of)."""
        self.since = now
        self.orders.clear()
        self.counts.clear()
        self.requests.clear()
        self.breaches.clear()
        self.faults.clear()
