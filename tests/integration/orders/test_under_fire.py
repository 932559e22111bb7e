"""What clients are told, what the journal says and what the venue did: three books that agree."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from broker.errors import BrokerError, Fate, OutcomeUnknown
from broker.models import OrderType, Product, Side
from database.journal import IntentState
from services.accounts import NewAccount
from services.errors import DuplicateInFlight, ServiceError
from services.order_models import ChildStatus, OrderDraft, Provenance
from simulator.testing import ThreadSimulator
from tests.support.processes import Process
from tests.support.simulated import credentials
from tests.support.trading import draft
from utils.clock import SystemClock

PLACE = "POST /orders"
PROFILE = "jainam-b"
MakeProcess = Callable[..., Process]

ACCEPTED = [
    "accept_then_close", "error_500_after_accept", "malformed_json", "half_body",
    "success_without_id",
]
NOT_ACCEPTED = ["close_before_accept", "error_500", "error_502_html", "html_200", "empty_body"]
REFUSED = ["refuse", "error_envelope_200"]


def order(quantity: int = 1, side: Side = Side.BUY) -> OrderDraft:
    return draft(side, quantity, symbol="RELIANCE")


def rows(sim: ThreadSimulator) -> list[dict[str, Any]]:
    """What the venue took: every order request that it accepted."""
    return [row for row in sim.orders(PROFILE) if row["accepted"]]


def place(process: Process, quantity: int = 1, **values: Any) -> str:
    return process.desk.orders.place(
        process.principal, process.account, order(quantity), **values
    ).reference


def agree(process: Process, sim: ThreadSimulator, told: dict[str, str]) -> None:
    """Hold what was told (by reference) against the journal and the venue's truth."""
    taken: dict[str, int] = {}
    for row in rows(sim):
        taken[row["tag"]] = taken.get(row["tag"], 0) + 1
    assert all(count == 1 for count in taken.values()), "an order was executed twice"
    for reference, outcome in told.items():
        intent = process.intent(reference)
        exists = intent.tag in taken
        if outcome == "accepted":
            assert exists, "told as accepted, and the venue has no such order"
            assert intent.state is IntentState.ACCEPTED
        elif outcome == "refused":
            assert not exists, "told as refused, and the venue has it"
        else:
            assert intent.state in (IntentState.UNKNOWN, IntentState.ABSENT)


def attempt(process: Process, quantity: int) -> tuple[str, str]:
    """Place an order; its reference and what was told of it."""
    try:
        return place(process, quantity), "accepted"
    except (BrokerError, ServiceError) as error:
        return error.reference, "unknown" if error.fate is Fate.UNKNOWN else "refused"


@pytest.mark.parametrize("fault", ACCEPTED)
def test_an_accepted_order_becomes_an_ordinary_success(
    process: Process, sim: ThreadSimulator, fault: str
) -> None:
    sim.faults({"route": PLACE, "fault": fault, "count": 1})
    reference = place(process)
    assert process.intent(reference).broker_order_id == str(rows(sim)[0]["app_order_id"])
    assert sim.counts(PROFILE)[PLACE] == 1
    agree(process, sim, {reference: "accepted"})


@pytest.mark.parametrize("fault", NOT_ACCEPTED)
def test_what_never_arrived_is_told_as_unknown(
    process: Process, sim: ThreadSimulator, fault: str
) -> None:
    sim.faults({"route": PLACE, "fault": fault, "count": 1})
    with pytest.raises(OutcomeUnknown) as caught:
        place(process)
    assert sim.counts(PROFILE)[PLACE] == 1
    agree(process, sim, {caught.value.reference: "unknown"})


def test_an_answer_that_hangs_leaves_time_to_look(process: Process, sim: ThreadSimulator) -> None:
    sim.faults({"route": PLACE, "fault": "accept_then_hang", "seconds": 20, "count": 1})
    began = SystemClock().monotonic()
    reference = place(process)
    assert SystemClock().monotonic() - began < 3.0
    agree(process, sim, {reference: "accepted"})


@pytest.mark.parametrize("fault", ["dead_token", "displaced_session", "rate_limit_400"])
def test_a_documented_refusal_costs_one_more_request(
    process: Process, sim: ThreadSimulator, fault: str
) -> None:
    sim.faults({"route": PLACE, "fault": fault, "count": 1})
    reference = place(process)
    assert sim.counts(PROFILE)[PLACE] == 2
    agree(process, sim, {reference: "accepted"})


@pytest.mark.parametrize("fault", REFUSED)
def test_defect_03_success_needs_more_than_a_status(
    process: Process, sim: ThreadSimulator, fault: str
) -> None:
    sim.faults({"route": PLACE, "fault": fault, "count": 1})
    reference, told = attempt(process, 1)
    assert told == "refused"
    assert sim.counts(PROFILE)[PLACE] == 1
    agree(process, sim, {reference: told})


def test_defect_01_three_books_agree_under_mixed_faults(
    process: Process, sim: ThreadSimulator
) -> None:
    faults = [*ACCEPTED, *REFUSED, "close_before_accept", "dead_token", "rate_limit_400"]
    sim.faults(
        *({"route": PLACE, "fault": fault, "probability": 0.03} for fault in faults), seed=7
    )
    with ThreadPoolExecutor(8) as pool:
        told = dict(pool.map(lambda n: attempt(process, n), range(1, 61)))
    agree(process, sim, told)
    assert len(told) == 60
    assert len(rows(sim)) >= 40


def test_fifty_threads_with_one_key_send_one_order(
    make_process: MakeProcess, sim: ThreadSimulator
) -> None:
    processes = [make_process(), make_process()]
    for process in processes:
        process.stack.sessions.connection(process.account)
    barrier = threading.Barrier(50)
    answers: list[dict[str, Any]] = []
    conflicts: list[DuplicateInFlight] = []

    def run(process: Process) -> None:
        def produce(reference: str) -> tuple[int, dict[str, Any]]:
            placed = process.desk.orders.place(
                process.principal, process.account, order(),
                provenance=Provenance(client_order_id="K", reference=reference),
            )
            return 200, {"orderid": placed.order_id}

        barrier.wait(20)
        try:
            answers.append(process.desk.idempotency.run(
                process.principal, process.account, "K", "same", produce, lambda e: (500, {})
            ).body)
        except DuplicateInFlight as error:
            conflicts.append(error)

    threads = [threading.Thread(target=run, args=(processes[i % 2],)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) + len(conflicts) == 50
    assert len({answer["orderid"] for answer in answers}) == 1
    intents = processes[0].intents()
    story = [processes[0].events(intent.reference) for intent in intents]
    assert sim.counts(PROFILE)[PLACE] == 1, story


def test_defect_11_a_basket_of_sixty_is_paced_and_none_is_refused(
    process: Process, sim: ThreadSimulator
) -> None:
    drafts = [order(n, Side.BUY if n % 2 else Side.SELL) for n in range(1, 61)]
    results = process.desk.baskets.basket(process.principal, process.account, drafts)
    assert [row.status for row in results] == [ChildStatus.SUCCESS] * 60
    assert [row.quantity for row in results] == list(range(1, 61))
    assert len(rows(sim)) == 60
    assert sim.control("limits", None, profile=PROFILE) == {}


def test_smart_orders_reverse_a_position_and_never_double_it(
    make_process: MakeProcess, sim: ThreadSimulator
) -> None:
    processes = [make_process(), make_process()]
    first = processes[0]

    def smart(process: Process, target: int) -> None:
        process.desk.smart_orders.place(process.principal, process.account, order(1), target)

    smart(first, 20)
    assert net(first) == 20
    smart(first, -15)
    assert net(first) == -15
    with ThreadPoolExecutor(4) as pool:
        errors = list(pool.map(
            lambda n: _caught(lambda: smart(processes[n % 2], 30)), range(4)
        ))
    assert net(first) == 30, errors
    assert len(rows(sim)) == 3


def _caught(work: Callable[[], None]) -> Exception | None:
    try:
        work()
    except (BrokerError, ServiceError) as error:
        return error
    return None


def net(process: Process) -> int:
    return process.desk.portfolio.open_position(
        process.account, "RELIANCE", "NSE", Product.MIS, fresh=True
    )


def test_everything_is_cancelled_and_closed(process: Process, sim: ThreadSimulator) -> None:
    low = draft(
        quantity=3, symbol="RELIANCE", order_type=OrderType.LIMIT, price="1150"
    )
    for _ in range(3):
        process.desk.orders.place(process.principal, process.account, low)
    place(process, 7)
    cancelled = process.desk.baskets.cancel_all(process.principal, process.account)
    assert [row.status for row in cancelled.children] == [ChildStatus.SUCCESS] * 3
    closed = process.desk.baskets.close_positions(process.principal, process.account)
    assert [(row.symbol, row.quantity, row.status) for row in closed] == [
        ("RELIANCE", 7, ChildStatus.SUCCESS)
    ]
    assert net(process) == 0


def test_defect_20_an_order_that_the_venue_drops_is_an_alarm(
    process: Process, sim: ThreadSimulator
) -> None:
    sim.faults({"route": PLACE, "fault": "accept_then_drop", "count": 1})
    reference = place(process)
    assert process.desk.reconciler.run_once().confirmed == 0
    assert process.intent(reference).seen_at is None
    assert sim.counts(PROFILE)[PLACE] == 1
    place(process)
    process.desk.reconciler.run_once()
    assert [intent.seen_at is None for intent in process.intents()] == [True, False]


def test_defect_19_two_clusters_trade_at_once_and_orders_find_their_account(
    make_process: MakeProcess, sim: ThreadSimulator
) -> None:
    process = make_process()
    root = process.stack.user("root", is_admin=True)
    other = process.stack.accounts.add(root, NewAccount(
        "prop-c", "jainam_prop", credentials("jainam-c"), cluster="C", shared=True,
    ))
    low = draft(quantity=3, symbol="RELIANCE", order_type=OrderType.LIMIT, price="1150")
    orders = process.desk.orders
    placed = {
        account.label: orders.place(process.principal, account, low)
        for account in (process.account, other)
    }
    for label, found in placed.items():
        assert orders.account_of(process.principal, None, found.order_id).label == label
        book = process.desk.portfolio.orders(
            process.account if label == "jainam_prop" else other, fresh=True
        )
        assert [view.order_id for view in book] == [found.order_id]
    for found in placed.values():
        assert orders.cancel(process.principal, None, found.order_id).order_id == found.order_id
