"""Several orders in one request: baskets and splits, and the way to the closing ones.

A basket's buys are accepted before its sells are sent, so that hedges stand first. A split goes out
one part after the other. Each child is an order of its own, with its own tag and journal entry; the
results stand in the order of the request. What exceeds the exchange's freeze quantity goes out in
parts where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from broker.base import Clock
from broker.models import Side
from services.access import Principal
from services.accounts import Account
from services.children import MOST_CHILDREN, Child, Family, side_by_side, split_quantity
from services.closing import Closer
from services.errors import InvalidRequest, UnknownSymbol
from services.order_models import (
    NOWHERE,
    CancelAllResult,
    ChildResult,
    OrderDraft,
    Origin,
    Placed,
    Provenance,
)
from services.orders import OrderService
from services.recording import Recorder
from utils.ids import new_reference


class BasketService:
    """Composites over `OrderService`."""

    def __init__(
        self,
        orders: OrderService,
        closer: Closer,
        recorder: Recorder,
        clock: Clock,
        *,
        reference: Callable[[], str] = new_reference,
    ) -> None:
        self._orders = orders
        self._closer = closer
        self._recorder = recorder
        self._clock = clock
        self._reference = reference

    def basket(
        self,
        principal: Principal,
        account: Account,
        drafts: Sequence[OrderDraft],
        *,
        provenance: Provenance = NOWHERE,
    ) -> list[ChildResult]:
        """Place these orders, buys before sells; a row each, in their order. At most 100."""
        principal.demand("trade")
        if len(drafts) > MOST_CHILDREN:
            raise InvalidRequest(
                f"A basket has at most {MOST_CHILDREN} orders.", field="orders"
            )
        family = self._family(provenance, Origin.BASKET)
        results: dict[int, ChildResult] = {}
        for side in (Side.BUY, Side.SELL):
            group = [(i, draft) for i, draft in enumerate(drafts) if draft.side is side]
            work = [self._task(principal, account, family, i, draft) for i, draft in group]
            results.update((row.index, row) for row in side_by_side(work))
        return [results[index] for index in range(len(drafts))]

    def split(
        self,
        principal: Principal,
        account: Account,
        draft: OrderDraft,
        size: int,
        *,
        provenance: Provenance = NOWHERE,
    ) -> list[ChildResult]:
        """Place `draft` in parts of `size` and one remainder, one after the other."""
        principal.demand("trade")
        parts = split_quantity(draft.quantity, size)
        family = self._family(provenance, Origin.SPLIT)
        return [
            self._task(principal, account, family, index, replace(draft, quantity=part))()
            for index, part in enumerate(parts)
        ]

    def sliced(self, account: Account, draft: OrderDraft) -> list[OrderDraft]:
        """The draft in parts that the exchange's freeze quantity allows; mostly one.

        One that cannot be placed anyway stays whole, and says so as a child of its basket.
        """
        try:
            most = self._orders.largest(account, draft)
        except UnknownSymbol:
            return [draft]
        if most is None or draft.quantity <= most:
            return [draft]
        return [replace(draft, quantity=part) for part in split_quantity(draft.quantity, most)]

    def cancel_all(
        self,
        principal: Principal,
        account: Account,
        *,
        strategy: str = "",
        provenance: Provenance = NOWHERE,
    ) -> CancelAllResult:
        """Cancel every open order of the account; see `Closer.cancel_all`."""
        principal.demand("trade")
        family = self._family(provenance, Origin.EXIT)
        return self._closer.cancel_all(principal, account, strategy, family)

    def close_positions(
        self,
        principal: Principal,
        account: Account,
        *,
        strategy: str = "",
        provenance: Provenance = NOWHERE,
    ) -> list[ChildResult]:
        """Close every open position at the market; see `Closer.close_positions`."""
        principal.demand("trade")
        family = self._family(provenance, Origin.EXIT)
        return self._closer.close_positions(principal, account, strategy, family)

    def _family(self, provenance: Provenance, origin: Origin) -> Family:
        parent = provenance.reference or self._reference()
        return Family(self._recorder, self._clock, provenance, origin, parent)

    def _task(
        self,
        principal: Principal,
        account: Account,
        family: Family,
        index: int,
        draft: OrderDraft,
    ) -> Callable[[], ChildResult]:
        child = Child(index, draft.symbol, draft.exchange, draft.product.value, draft.quantity)

        def submit(provenance: Provenance) -> Placed:
            return self._orders.place(principal, account, draft, provenance=provenance)

        return lambda: family.run(child, submit)
