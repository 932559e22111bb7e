"""The way out of everything at once: cancel all open orders, close all positions.

Both read the venue's books first, go on past a failure, and say for each child what became of it.
Exits go before entries and pass the switches that stop entries. Cancelling is verified by reading
the book again; positions are closed under the locks that smart orders take.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from broker.base import Clock, Deadline, Priority
from broker.errors import BrokerError
from broker.models import Order, OrderState, OrderType, Side
from broker.waiting import urgent
from database.errors import StorageError
from services.access import Principal
from services.accounts import Account, AccountService
from services.books import COPY_AGE, Books, needed
from services.children import Child, Family, side_by_side
from services.errors import ServiceError
from services.exposure import (
    Exposure,
    ExposureReader,
    Key,
    key_of,
    lock_name,
    why_behind,
    why_not,
)
from services.locating import Located
from services.locks import LockBusy, NamedLocks
from services.order_models import (
    CancelAllResult,
    ChildResult,
    ChildStatus,
    OrderDraft,
    Placed,
    Provenance,
)
from services.order_validation import largest_order
from services.orders import OrderService
from services.recording import storage_needed
from services.symbols import SymbolRecord, SymbolService

log = logging.getLogger(__name__)

_LOCK_SECONDS = 3.0
_VERIFY_SECONDS = 3.0
_VERIFY_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class _Exit:
    """One order that closes a position or a part of it, or the reason why there is none."""

    child: Child
    draft: OrderDraft | None
    problem: str = ""


class Closer:
    """Cancels and closes; used by `services.baskets`."""

    def __init__(
        self,
        orders: OrderService,
        accounts: AccountService,
        symbols: SymbolService,
        books: Books,
        exposure: ExposureReader,
        locks: NamedLocks,
        clock: Clock,
    ) -> None:
        self._orders = orders
        self._accounts = accounts
        self._symbols = symbols
        self._books = books
        self._exposure = exposure
        self._locks = locks
        self._clock = clock

    # Cancelling --------------------------------------------------------------------------------

    @urgent()
    def cancel_all(
        self, principal: Principal, account: Account, strategy: str, family: Family
    ) -> CancelAllResult:
        """Cancel every order that is open in whatever state, whoever placed it; then verify.

        A child is a success only when the book no longer shows its order as open. Raises when the
        book cannot be read to begin with.
        """
        due = self._orders.due()
        with needed("The order book"):
            rows = self._books.orders(account, due).value
        rows = [row for row in rows if row.state.is_open]
        names = self._names(account, rows)
        work = [
            self._cancel_task(principal, account, strategy, family, index, row, names)
            for index, row in enumerate(rows)
        ]
        results = side_by_side(work)
        return CancelAllResult(self._verified(account, results))

    def _cancel_task(
        self,
        principal: Principal,
        account: Account,
        strategy: str,
        family: Family,
        index: int,
        row: Order,
        names: dict[str, str],
    ) -> Callable[[], ChildResult]:
        child = Child(
            index, names.get(row.order_id, row.broker_symbol), row.instrument.exchange.value,
            row.product.value, row.pending_quantity, row.order_id,
        )
        located = Located(account, row.order_id, None, row)

        def submit(provenance: Provenance) -> Placed:
            return self._orders.cancel_located(
                principal, located, strategy=strategy, provenance=provenance
            )

        return lambda: family.run(child, submit)

    def _verified(self, account: Account, results: list[ChildResult]) -> list[ChildResult]:
        """Hold accepted cancellations against the book until it shows them, or the time is up."""
        due = Deadline(self._clock, _VERIFY_SECONDS)
        states: dict[str, Order] = {}
        while any(_is_pending(row, states) for row in results):
            try:
                orders = self._books.orders(account, self._orders.due().within(_VERIFY_SECONDS))
            except (BrokerError, ServiceError) as error:
                log.warning("cancellations cannot be verified", extra={"error": error.kind})
            else:
                states = {row.order_id: row for row in orders.value}
            if due.remaining() < _VERIFY_PAUSE:
                break
            if any(_is_pending(row, states) for row in results):
                self._clock.sleep(_VERIFY_PAUSE)
        return [_judged(row, states) for row in results]

    def _names(self, account: Account, rows: list[Order]) -> dict[str, str]:
        """Symbols by order id, as far as the master contract has them; they only name the rows."""
        try:
            found = self._symbols.many_by_token(account.broker, {row.instrument for row in rows})
        except StorageError as error:
            log.warning("orders are cancelled without their symbols", extra={"error": str(error)})
            return {}
        return {
            row.order_id: record.symbol for row in rows if (record := found.get(row.instrument))
        }

    # Closing -----------------------------------------------------------------------------------

    @urgent()
    def close_positions(
        self, principal: Principal, account: Account, strategy: str, family: Family
    ) -> list[ChildResult]:
        """A MARKET order against every net position, product kept, cut by the freeze quantity.

        A position that is not certain, or that cannot be traded here, is a row that says so. Raises
        when the positions cannot be read, or are being worked on by somebody else.
        """
        due = self._orders.due()
        with needed("The positions"):
            seen = self._books.positions(account, due, max_age=COPY_AGE).value
        patience = due.within(_LOCK_SECONDS)
        with ExitStack() as held:
            known = {key_of(row) for row in seen if row.quantity}
            mine = self._hold(account, known, held, patience)
            exposure = self._exposure.read(account, lambda _: True, due)
            late = {key for key in _open_keys(exposure) if key not in mine}
            mine |= self._hold(account, late, held, due.within(0.0))
            exits = self._exits(account, strategy, exposure, mine)
            return side_by_side([
                self._close_task(principal, account, family, item) for item in exits
            ])

    def _hold(
        self, account: Account, keys: set[Key], held: ExitStack, patience: Deadline
    ) -> set[Key]:
        """Lock these positions, in one sequence everywhere; the ones that could be had in time."""
        mine: set[Key] = set()
        for name, key in sorted((lock_name(account, key), key) for key in keys):
            try:
                held.enter_context(self._locks.lock(name, patience.remaining()))
            except LockBusy:
                log.info("a position is being worked on", extra={"lock": name})
            else:
                mine.add(key)
        return mine

    def _close_task(
        self, principal: Principal, account: Account, family: Family, item: _Exit
    ) -> Callable[[], ChildResult]:
        draft = item.draft
        if draft is None:
            return lambda: item.child.result(
                ChildStatus.ERROR, message=item.problem, code="not_closed"
            )

        def submit(provenance: Provenance) -> Placed:
            return self._orders.place(
                principal, account, draft, provenance=provenance, priority=Priority.EXIT
            )

        return lambda: family.run(item.child, submit)

    def _exits(
        self, account: Account, strategy: str, exposure: Exposure, held: set[Key]
    ) -> list[_Exit]:
        """The orders that close everything, in the sequence of the position book."""
        keys = _open_keys(exposure)
        with storage_needed():
            records = self._symbols.many_by_token(account.broker, {ref for ref, _ in keys})
        exits: list[_Exit] = []
        for key in keys:
            exits.extend(self._exits_of(
                account, strategy, exposure, key, records.get(key[0]), len(exits), key in held
            ))
        return exits

    def _exits_of(
        self,
        account: Account,
        strategy: str,
        exposure: Exposure,
        key: Key,
        record: SymbolRecord | None,
        index: int,
        held: bool,
    ) -> list[_Exit]:
        net = exposure.net(key)
        side = Side.SELL if net > 0 else Side.BUY
        symbol = record.symbol if record else _broker_name(exposure, key)
        exchange, product = key[0].exchange.value, key[1]
        left = still_to_close(net, exposure.in_flight.get(key, 0))
        child = Child(index, symbol, exchange, product.value, left or abs(net))
        problem = (
            self._problem(exposure, key, symbol, side, left, record) if held
            else f"Another request is working on the position of '{symbol}'. Try again."
        )
        if problem or record is None:
            return [_Exit(child, None, problem)]
        most = largest_order(record, self._accounts.broker_info(account.broker)) or left
        draft = OrderDraft(
            symbol, exchange, side, OrderType.MARKET, product, left, strategy=strategy
        )
        parts = [min(most, left - done) for done in range(0, left, most)]
        return [
            _Exit(replace(child, index=index + i, quantity=part), replace(draft, quantity=part))
            for i, part in enumerate(parts)
        ]

    def _problem(
        self,
        exposure: Exposure,
        key: Key,
        symbol: str,
        side: Side,
        left: int,
        record: SymbolRecord | None,
    ) -> str:
        """Why a position cannot be closed with certainty now; "" when it can."""
        if record is None:
            return (
                f"'{symbol}' on {key[0].exchange} is not in the master contract: close it at the "
                "broker, or download the master contract."
            )
        same_way = [
            intent for intent in exposure.unsettled.get(key, []) if intent.side == side.value
        ]
        if same_way:
            return why_not(same_way, symbol)
        if key in exposure.behind:
            return why_behind(symbol)
        if key in exposure.moving:
            return f"The position of '{symbol}' was changing while it was read. Try again."
        if not left:
            return f"Orders on their way close the position of '{symbol}' already."
        return ""


def still_to_close(net: int, in_flight: int) -> int:
    """Units to trade against a net position when `in_flight` (signed) is on its way already.

    Never more than the position: what would enlarge it is left alone, because it may not fill.
    """
    expected = net + in_flight
    if (expected > 0) != (net > 0):
        return 0
    return min(abs(net), abs(expected))


def _open_keys(exposure: Exposure) -> list[Key]:
    """The positions that are not flat, in the sequence of the book."""
    keys = dict.fromkeys(key_of(row) for row in exposure.positions)
    return [key for key in keys if exposure.net(key)]


def _broker_name(exposure: Exposure, key: Key) -> str:
    rows = (row for row in exposure.positions if key_of(row) == key)
    return next((row.broker_symbol for row in rows if row.broker_symbol), key[0].token)


def _is_pending(result: ChildResult, book: dict[str, Order]) -> bool:
    """Whether an accepted cancellation has not shown up yet."""
    row = book.get(result.order_id)
    return result.status is ChildStatus.SUCCESS and (row is None or row.state.is_open)


def _judged(result: ChildResult, book: dict[str, Order]) -> ChildResult:
    """A cancellation's row with what the book says of its order in the end."""
    row = book.get(result.order_id)
    if row is not None and row.state is OrderState.CANCELLED:
        return replace(result, status=ChildStatus.SUCCESS, message="", code="")
    if row is not None and not row.state.is_open:
        return replace(
            result, status=ChildStatus.ERROR, code="too_late",
            message=f"The order was {row.state.value.lower()} before it could be cancelled.",
        )
    if result.status is not ChildStatus.SUCCESS:
        return result
    return replace(
        result, status=ChildStatus.UNKNOWN, code="not_verified",
        message="The broker accepted the cancellation, but its book has not shown it yet: ask for "
        "the order again.",
    )
