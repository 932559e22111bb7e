"""Smart orders: bring a net position to a target (REST reference §8.2, the whole table).

The position is read inside a lock over account, exchange, symbol and product that holds across
processes; orders on their way count. A position that cannot be read, or that is not certain, is a
refusal: it is never taken as 0.

A smart order that rests in the market (a limit that is not filled) is an earlier attempt at the
same target: repeating the call does not add to it. What such orders have still to fill, on the side
on which this one would trade, is taken off. A MARKET smart order takes nothing off: it means now,
and an exit must not be held up by a limit that may never fill (docs/decisions/0061).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass, replace

from broker.base import BrokerInfo, Clock, Deadline, Priority
from broker.models import Order, OrderType, Side
from broker.waiting import urgent
from database import journal
from services.access import Principal
from services.accounts import Account, AccountService
from services.children import Child, Family, split_quantity
from services.errors import Conflict, InvalidRequest
from services.exposure import (
    Exposure,
    ExposureReader,
    Key,
    is_flying,
    key_of,
    lock_name,
    why_behind,
    why_not,
)
from services.locks import NamedLocks
from services.order_models import (
    NOWHERE,
    ChildResult,
    OrderDraft,
    Origin,
    Placed,
    Provenance,
    SmartResult,
)
from services.order_validation import MAX_QUANTITY, check_terms, quantity_step
from services.orders import OrderService
from services.recording import Recorder, storage_needed
from services.symbols import SymbolRecord, SymbolService
from utils.ids import new_reference

MATCHED = "Positions Already Matched. No Action needed."
NOTHING_TO_EXIT = "No OpenPosition Found. Not placing Exit order."

LOCK_SHARE = 0.5
"""What waiting for the position's lock may take of the request's time."""


@dataclass(frozen=True, slots=True)
class Trade:
    """What has to be traded to reach the target."""

    side: Side
    quantity: int


def decide(target: int, current: int, side: Side, quantity: int) -> Trade | str:
    """The trade that the decision table asks for, or the message that says why there is none.

    `target` and `current` are signed net quantities; `side` and `quantity` are the request's, which
    count only when nothing is open and nothing is wanted.
    """
    if target == current:
        if quantity == 0:
            return NOTHING_TO_EXIT
        return Trade(side, quantity) if target == 0 else MATCHED
    difference = target - current
    return Trade(Side.BUY if difference > 0 else Side.SELL, abs(difference))


class SmartOrderService:
    """Places what is missing to a target position."""

    def __init__(
        self,
        orders: OrderService,
        accounts: AccountService,
        symbols: SymbolService,
        exposure: ExposureReader,
        recorder: Recorder,
        locks: NamedLocks,
        clock: Clock,
        *,
        reference: Callable[[], str] = new_reference,
    ) -> None:
        self._orders = orders
        self._accounts = accounts
        self._symbols = symbols
        self._exposure = exposure
        self._recorder = recorder
        self._locks = locks
        self._clock = clock
        self._reference = reference

    def place(
        self,
        principal: Principal,
        account: Account,
        draft: OrderDraft,
        position_size: int,
        *,
        auto_slice: bool = False,
        provenance: Provenance = NOWHERE,
        deadline: Deadline | None = None,
    ) -> SmartResult:
        """Bring the net position to `position_size` (signed units) with at most one order.

        With `auto_slice` what exceeds the exchange's freeze quantity goes out in parts, told as
        `children`. `draft.quantity` may be 0. Errors as for `OrderService.place`; `Unavailable`
        when the position cannot be read, `Conflict` when it is not certain or is worked on.
        """
        principal.demand("trade")
        due = deadline or self._orders.due()
        provenance = replace(provenance, origin=Origin.SMART)
        told = self._orders.told(account, provenance, due)
        if told is not None:
            return SmartResult(told)
        record = self._checked(account, draft, position_size)
        key = (record.ref, draft.product)
        way_out = urgent() if position_size == 0 else nullcontext()
        with way_out, self._locks.lock(lock_name(account, key), due.remaining() * LOCK_SHARE):
            exposure = self._exposure.read(account, lambda other: other == key, due)
            current = self._certain(exposure, key, draft.symbol)
            wanted = decide(position_size, current, draft.side, draft.quantity)
            if isinstance(wanted, str):
                return SmartResult(None, wanted)
            resting = self._resting(exposure, key, wanted.side, draft.order_type)
            left = wanted.quantity - sum(row.pending_quantity for row in resting)
            if left <= 0:
                return SmartResult(None, _already_working(resting))
            priority = _priority(exposure.net(key), current, wanted.side, left)
            order = replace(draft, side=wanted.side, quantity=left)
            most = self._orders.largest(account, order) if auto_slice else None
            if most is not None and left > most:
                return SmartResult(None, children=self._sliced(
                    principal, account, order, most, provenance, priority
                ))
            return SmartResult(self._orders.place(
                principal, account, order, provenance=provenance, priority=priority, deadline=due,
            ))

    def _sliced(
        self,
        principal: Principal,
        account: Account,
        order: OrderDraft,
        most: int,
        provenance: Provenance,
        priority: Priority,
    ) -> list[ChildResult]:
        """The order in parts, one after the other, under the position's lock all the while.

        Repeated under the same key it is made anew of the position by then, as exits are.
        """
        parent = provenance.reference or self._reference()
        family = Family(self._recorder, self._clock, provenance, Origin.SMART, parent)
        rows = []
        for index, part in enumerate(split_quantity(order.quantity, most)):
            child = Child(index, order.symbol, order.exchange, order.product.value, part)
            piece = replace(order, quantity=part)

            def submit(whence: Provenance, piece: OrderDraft = piece) -> Placed:
                return self._orders.place(
                    principal, account, piece, provenance=whence, priority=priority
                )

            rows.append(family.run(child, submit))
        return rows

    def _checked(self, account: Account, draft: OrderDraft, target: int) -> SymbolRecord:
        """What can be known to be wrong before the venue is asked for anything."""
        with storage_needed():
            record = self._symbols.require(account.broker, draft.exchange, draft.symbol)
            info: BrokerInfo = self._accounts.broker_info(account.broker)
        step = quantity_step(record, info)
        if abs(target) > MAX_QUANTITY:
            raise InvalidRequest(
                f"The position size must be from -{MAX_QUANTITY} to {MAX_QUANTITY}.",
                field="position_size",
            )
        for name, quantity in (("position_size", target), ("quantity", draft.quantity)):
            if quantity % step:
                raise InvalidRequest(
                    f"The {name.replace('_', ' ')} must be in multiples of lot size {step} for "
                    f"'{draft.symbol}'.",
                    field=name,
                )
        if draft.quantity < 0:
            raise InvalidRequest("Quantity must be 0 or more.", field="quantity")
        check_terms(replace(draft, quantity=draft.quantity or step, side=_fitting_side(draft)))
        return record

    def _certain(self, exposure: Exposure, key: Key, symbol: str) -> int:
        """The net position with what is on its way; `Conflict` when nobody can say."""
        if key in exposure.unsettled:
            raise Conflict(why_not(exposure.unsettled[key], symbol), retry_after=1.0)
        if key in exposure.behind:
            raise Conflict(why_behind(symbol), retry_after=1.0)
        if key in exposure.moving:
            raise Conflict(
                f"The position of '{symbol}' was changing while it was read. Nothing was sent; "
                "try again.",
                retry_after=1.0,
            )
        return exposure.net(key) + exposure.in_flight.get(key, 0)

    def _resting(
        self, exposure: Exposure, key: Key, side: Side, order_type: OrderType
    ) -> list[Order]:
        """Open smart orders of ours on this side that an impatient order would double."""
        if order_type is OrderType.MARKET:
            return []
        rows = [
            row for row in exposure.orders
            if row.tag and row.state.is_open and row.side is side and key_of(row) == key
            and not is_flying(row)  # what is on its way counts as position already
        ]
        smart = self._smart_tags([row.tag for row in rows])
        return [row for row in rows if row.tag in smart]

    def _smart_tags(self, tags: Collection[str]) -> set[str]:
        if not tags:
            return set()
        with self._recorder.reading() as conn:
            found = journal.by_tags(conn, tags)
        return {tag for tag, intent in found.items() if intent.origin == Origin.SMART}


def _fitting_side(draft: OrderDraft) -> Side:
    """The side that a stop's two prices are for; which one is traded shows only later."""
    return Side.BUY if draft.trigger_price <= draft.price else Side.SELL


def _priority(held: int, expected: int, side: Side, quantity: int) -> Priority:
    """An order that only reduces the position is an exit; one that turns it round is an entry.

    `held` is what the venue shows, `expected` that with what is on its way: it must reduce both.
    """
    sign = 1 if side is Side.SELL else -1
    return Priority.EXIT if quantity <= min(sign * held, sign * expected) else Priority.ENTRY


def _already_working(resting: list[Order]) -> str:
    ids = ", ".join(row.order_id for row in resting)
    return f"No action needed. An order for the difference is working already: {ids}."
