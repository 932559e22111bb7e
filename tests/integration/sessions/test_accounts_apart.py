"""Card C10 at the level of the services: clusters B and C, and another broker, at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from broker.base import Deadline, Operation, Priority
from broker.models import Exchange, InstrumentRef, OrderRequest, OrderType, Product, Side
from services.accounts import Account, NewAccount
from services.errors import Forbidden
from simulator.testing import ThreadSimulator
from tests.support.simulated import credentials
from tests.support.stacks import Stack
from utils.ids import new_tag

RELIANCE = InstrumentRef(Exchange.NSE, "2885")


@dataclass(frozen=True)
class Trader:
    """One account, and the venue of the simulator that it must reach."""

    account: Account
    profile: str


@pytest.fixture
def traders(make_stack: object, sim: ThreadSimulator) -> tuple[Stack, list[Trader]]:
    assert callable(make_stack)
    stack: Stack = make_stack(WISDOM_BASE_URL=sim.url)
    root = stack.user("root", is_admin=True)
    added = [
        stack.accounts.add(root, NewAccount(
            label, broker, credentials(profile, name), cluster=cluster, shared=True,
        ))
        for label, broker, profile, name, cluster in (
            ("prop-b2", "jainam_prop", "jainam-b", "pro2", "B"),
            ("prop-c", "jainam_prop", "jainam-c", None, "C"),
            ("wisdom-1", "wisdom", "generic-json", None, ""),
        )
    ]
    profiles = ["jainam-b", "jainam-b", "jainam-c", "generic-json"]
    accounts = [stack.account, *added]
    return stack, [Trader(a, p) for a, p in zip(accounts, profiles, strict=True)]


def place(stack: Stack, trader: Trader, quantity: int) -> tuple[str, str]:
    """A resting order of this account; the broker's id and our tag."""
    broker = stack.sessions.connection(trader.account)
    deadline = Deadline(stack.clock, 10)
    order = OrderRequest(
        RELIANCE, Side.BUY, OrderType.MARKET, Product.MIS, quantity
    )
    tag = new_tag()
    with broker.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=deadline) as slot:
        return broker.place(order, tag, slot=slot, deadline=deadline), tag


def test_four_accounts_trade_at_once_and_see_only_their_own(
    traders: tuple[Stack, list[Trader]], sim: ThreadSimulator
) -> None:
    """Field defect 19: dealer books return every client's rows."""
    stack, everybody = traders
    jobs = [(trader, quantity) for quantity in (1, 2, 3) for trader in everybody]
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda job: place(stack, *job), jobs))
    mine: dict[str, dict[str, str]] = {}
    for (trader, _), (order_id, tag) in zip(jobs, placed, strict=True):
        mine.setdefault(trader.account.label, {})[tag] = order_id
    for trader in everybody:
        book = stack.sessions.read(
            trader.account, lambda broker, by: broker.orders(deadline=by)
        )
        label = trader.account.label
        assert {order.tag: order.order_id for order in book} == mine[label], label
        received = {row["tag"] for row in sim.orders(trader.profile)}
        assert set(mine[label]) <= received
        others = {tag for name, tags in mine.items() if name != label for tag in tags}
        same_venue = {
            tag for other in everybody if other.profile == trader.profile
            for tag in mine[other.account.label]
        }
        assert received & others <= same_venue


def test_each_account_has_its_own_session(
    traders: tuple[Stack, list[Trader]], sim: ThreadSimulator
) -> None:
    stack, everybody = traders
    assert stack.sessions.connect_all() == {}
    sessions = [stack.sessions.connection(trader.account).session for trader in everybody]
    tokens = [s.tokens["interactive"].reveal() for s in sessions if s is not None]
    assert len(set(tokens)) == len(everybody)
    users = [stack.sessions.status(trader.account).user_id for trader in everybody]
    assert users[:3] == ["SIMBPRO1A01", "SIMBPRO2A01", "SIMCPRO1A01"]
    stack.sessions.logout(everybody[0].account)
    sim.control("sessions/kill", {"profile": "jainam-c", "api": "interactive"})
    for trader in everybody[1:]:
        stack.sessions.read(trader.account, lambda broker, by: broker.orders(deadline=by))
    counts = [stack.sessions.status(trader.account).logins_today for trader in everybody]
    assert counts == [1, 1, 2, 1]
    assert not stack.sessions.status(everybody[0].account).connected


def test_somebody_elses_account_is_refused(traders: tuple[Stack, list[Trader]]) -> None:
    stack, _ = traders
    asha, ben = stack.user("asha"), stack.user("ben")
    stack.accounts.add(asha, NewAccount(
        "ashas", "jainam_prop", credentials("jainam-a"), cluster="A"
    ))
    assert stack.accounts.resolve(asha, "ashas").cluster == "A"
    with pytest.raises(Forbidden):
        stack.accounts.resolve(ben, "ashas")
