"""A model of orders, cancels, modifications, fills and faults, against the real services.

hypothesis deals the steps. After each of them nothing may be there twice and nothing that was told
may be untrue; at the end of an example, when the faults are over and everything is settled, the
journal, the venue and the gateway's own order book must say the same of every order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from broker.base import Deadline
from broker.errors import BrokerError, Fate
from broker.models import OrderState, OrderType, Product, Side
from database.journal import IntentState
from services.contract_loader import ContractLoader
from services.contract_order import ContractOrder
from services.errors import ServiceError
from services.order_models import ModifyDraft, OrderDraft
from services.symbols import SymbolService
from simulator.testing import ThreadSimulator, threaded
from tests.faults.wishes import SEGMENT, SYMBOL, TOKEN
from tests.support.databases import sqlite_database
from tests.support.processes import Process
from tests.support.simulated import simulated_stack, variables

PROFILE = "jainam-b"

_PLACE_FAULTS = (
    None, None, None, "accept_then_close", "close_before_accept", "error_500",
    "error_500_after_accept", "half_body", "malformed_json", "success_without_id", "refuse",
    "rate_limit_400", "accept_then_drop", "html_200",
)
_CHANGE_FAULTS = (
    None, None, "accept_then_close", "close_before_accept", "error_500_after_accept", "half_body",
    "refuse",
)
_BOOK_FAULTS = (None, None, "error_500", "malformed_json", "close_before_accept")

_OPEN_AT_VENUE = {"New", "Replaced", "PartiallyFilled"}
_STATES = {
    "New": OrderState.OPEN, "Replaced": OrderState.OPEN, "Filled": OrderState.FILLED,
    "PartiallyFilled": OrderState.OPEN, "Cancelled": OrderState.CANCELLED,
    "Rejected": OrderState.REJECTED,
}
_ROUNDS = 15
_STEP = 3.0


class SteeredClock:
    """The real time and what was slept: waiting costs nothing, and both clocks see it pass."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._forgotten = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._ahead - self._forgotten)

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._ahead += max(seconds, 0.0)

    def forget(self) -> None:
        """Back to the real wall time: many examples must not end in another trading day."""
        self._forgotten = self._ahead


@dataclass
class World:
    """A venue and one process of a gateway, for all examples of a run."""

    simulator: ThreadSimulator
    process: Process
    clock: SteeredClock
    tick: Decimal
    lowest: Decimal


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Everything that the examples share."""
    clock = SteeredClock()
    with threaded() as simulator, sqlite_database(folder) as database:
        simulator.control("limits", {"mode": "off"})
        stack = simulated_stack(
            database, folder, clock, variables(simulator.url) | {"JAINAM_API_TIMEOUT": "6"}
        )
        broker = stack.sessions.connection(stack.account)
        ContractLoader(
            ContractOrder.for_broker(broker, symbols_url=str(database.symbols_url))
        ).run()
        facts = simulator.control("price", None, segment=SEGMENT, token=TOKEN)
        tick = Decimal(str(facts["tick"]))
        lowest = (Decimal(str(facts["low"])) / tick).to_integral_value() * tick + tick
        process = Process(stack, SymbolService(database), timeout=6.0)
        try:
            yield World(simulator, process, clock, tick, lowest)
        finally:
            stack.sessions.close()


@dataclass
class Wanted:
    """An order of the model: what was told of it, and every set of terms it may have got."""

    reference: str
    told: str
    order_id: str = ""
    terms: list[tuple[int, Decimal]] = field(default_factory=list)
    last_told: tuple[int, Decimal] | None = None


class Orders(RuleBasedStateMachine):
    """The steps. `world` is set before a run."""

    world: ClassVar[World]
    orders: Bundle[Wanted] = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Wanted] = []

    @initialize()
    def begin(self) -> None:
        """A venue without orders."""
        self.world.clock.forget()
        self.world.simulator.reset(PROFILE)
        self.world.simulator.faults()

    # Steps -------------------------------------------------------------------------------------

    @rule(
        target=orders, quantity=st.integers(1, 20), step=st.integers(0, 40), market=st.booleans(),
        fault=st.sampled_from(_PLACE_FAULTS), book=st.sampled_from(_BOOK_FAULTS),
    )
    def place(
        self, quantity: int, step: int, market: bool, fault: str | None, book: str | None
    ) -> Wanted:
        """A new order, which may meet a fault."""
        price = Decimal(0) if market else self.world.lowest + step * self.world.tick
        self._faults(("POST /orders", fault), ("GET /orders", book))
        process = self.world.process
        kind = OrderType.MARKET if market else OrderType.LIMIT
        draft = OrderDraft(SYMBOL, "NSE", Side.BUY, kind, Product.MIS, quantity, price)
        try:
            placed = process.desk.orders.place(process.principal, process.account, draft)
            made = Wanted(placed.reference, "accepted", placed.order_id)
        except (BrokerError, ServiceError) as error:
            made = Wanted(error.reference, _told(error))
        made.terms.append((quantity, price))
        self.all.append(made)
        return made

    @rule(wanted=orders, fault=st.sampled_from(_CHANGE_FAULTS))
    def cancel(self, wanted: Wanted, fault: str | None) -> None:
        """Cancel an order whose id is known."""
        if not wanted.order_id:
            return
        self._faults(("DELETE /orders", fault))
        process = self.world.process
        try:
            process.desk.orders.cancel(process.principal, process.account, wanted.order_id)
        except (BrokerError, ServiceError) as error:
            assert error.fate is Fate.UNKNOWN or fault is not None or not self._is_open(wanted)
        else:
            assert not self._is_open(wanted), "told as cancelled, and still open"

    @rule(
        wanted=orders, quantity=st.integers(1, 20), step=st.integers(0, 40),
        fault=st.sampled_from(_CHANGE_FAULTS),
    )
    def modify(self, wanted: Wanted, quantity: int, step: int, fault: str | None) -> None:
        """Give a limit order new terms."""
        if not wanted.order_id or not wanted.terms[0][1]:
            return
        price = self.world.lowest + step * self.world.tick
        self._faults(("PUT /orders", fault))
        process = self.world.process
        draft = ModifyDraft(
            SYMBOL, "NSE", Side.BUY, OrderType.LIMIT, Product.MIS, quantity, price
        )
        try:
            process.desk.orders.modify(
                process.principal, process.account, wanted.order_id, draft
            )
        except (BrokerError, ServiceError) as error:
            if error.fate is Fate.UNKNOWN:
                wanted.terms.append((quantity, price))
                wanted.last_told = None
            return
        wanted.terms.append((quantity, price))
        wanted.last_told = (quantity, price)

    @rule(wanted=orders, share=st.integers(1, 4))
    def fill(self, wanted: Wanted, share: int) -> None:
        """The exchange fills a part of an open order, or all of it."""
        record = self._accepted().get(self._tag(wanted))
        if record is None or record["status"] not in _OPEN_AT_VENUE:
            return
        left = record["quantity"] - record["filled"]
        self.world.simulator.control(
            f"orders/{record['app_order_id']}/fill", {"quantity": max(1, left * share // 4)}
        )

    @rule(book=st.sampled_from(_BOOK_FAULTS))
    def time_passes(self, book: str | None) -> None:
        """The reconciler has a look."""
        self._faults(("GET /orders", book))
        self.world.clock.sleep(_STEP)
        self.world.process.desk.reconciler.run_once()

    # Truths ------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_there_twice_and_nothing_told_is_untrue(self) -> None:
        """After every step."""
        taken = self._accepted()  # fails for a tag that was accepted twice
        for wanted in self.all:
            record = taken.get(self._tag(wanted))
            if wanted.told == "accepted":
                assert record is not None, "told as accepted, and the venue has no such order"
                assert str(record["app_order_id"]) == wanted.order_id
            elif wanted.told == "refused":
                assert record is None or record["status"] == "Rejected", record

    def teardown(self) -> None:
        """When the faults are over all is settled, and the three books agree."""
        self.world.simulator.faults()
        process = self.world.process
        for _ in range(_ROUNDS):
            process.desk.reconciler.run_once()
            self.world.clock.sleep(_STEP)
        taken = self._accepted()
        lost = {alarm.subject.rpartition("/")[2] for alarm in process.stack.alarms.list()
                if alarm.rule == "order_lost"}
        for wanted in self.all:
            record = taken.get(self._tag(wanted))
            self._agree(wanted, record)
            if record is not None and record["dropped"]:
                assert wanted.reference in lost, "dropped by the venue without an alarm"
        self._same_book(taken)

    def _agree(self, wanted: Wanted, record: dict[str, Any] | None) -> None:
        """One order: the journal, the venue, and every change that was made of it."""
        process = self.world.process
        intent = process.intent(wanted.reference)
        assert intent.state.is_settled, intent
        if intent.state is IntentState.ACCEPTED:
            assert record is not None, intent
            assert str(record["app_order_id"]) == intent.broker_order_id
        else:
            assert record is None or record["status"] == "Rejected", (intent, record)
        if record is None or record["dropped"]:
            return
        has = (record["quantity"], Decimal(str(record["price"])) if record["price"] else Decimal(0))
        assert has in wanted.terms, (has, wanted)
        if wanted.last_told is not None:
            assert has == wanted.last_told

    def _same_book(self, taken: dict[str, dict[str, Any]]) -> None:
        """The gateway's order book against the venue's."""
        process = self.world.process
        deadline = Deadline(self.world.clock, 6.0)
        ours = {
            row.order_id: (row.state, row.quantity, row.filled_quantity)
            for row in process.desk.books.orders(process.account, deadline).value
        }
        theirs = {
            str(record["app_order_id"]): (
                _STATES[record["status"]], record["quantity"], record["filled"]
            )
            for record in taken.values() if not record["dropped"]
        }
        assert ours == theirs

    # Inside ------------------------------------------------------------------------------------

    def _faults(self, *planned: tuple[str, str | None]) -> None:
        self.world.simulator.faults(*(
            {"route": route, "fault": fault, "count": 1, "profile": PROFILE}
            for route, fault in planned if fault is not None
        ))

    def _tag(self, wanted: Wanted) -> str:
        return self.world.process.intent(wanted.reference).tag

    def _is_open(self, wanted: Wanted) -> bool:
        record = self._accepted().get(self._tag(wanted))
        return record is not None and record["status"] in _OPEN_AT_VENUE

    def _accepted(self) -> dict[str, dict[str, Any]]:
        """What the venue took, by tag."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.world.simulator.orders(PROFILE):
            if record["accepted"]:
                assert record["tag"] not in found, "an order was executed twice"
                found[record["tag"]] = record
        return found


def _told(error: BrokerError | ServiceError) -> str:
    return "unknown" if error.fate is Fate.UNKNOWN else "refused"


def explore(folder: Path, examples: int, steps: int = 12) -> None:
    """Run so many examples; raises with the shortest sequence that breaks something."""
    with world(folder) as made:
        Orders.world = made
        run_state_machine_as_test(Orders, settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None,
            derandomize=True, suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ))
