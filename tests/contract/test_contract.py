"""Every registered broker passes the contract, against the simulator's profile of it."""

from __future__ import annotations

import pytest

from broker.registry import discover
from broker.testing.cards.c5_change import ChangeCards
from broker.testing.cards.c10_isolation import IsolationCards
from broker.testing.contract import BrokerContract
from broker.testing.harness import BrokerHarness
from simulator.testing import Simulator
from tests.contract.xts_venue import Login, XtsVenue

PRO_B = Login("jainam-b", "pro1", "B", "PRO")
PRO_C = Login("jainam-c", "pro1", "C", "PRO")

# The venues at which each broker is tried; the first login is the one under test, the others are
# its neighbours: on another cluster, and on the same one.
VENUES: dict[str, dict[str, tuple[Login, ...]]] = {
    "jainam_prop": {
        "b": (PRO_B, PRO_C, Login("jainam-b", "pro2", "B", "PRO")),
        "c": (PRO_C, PRO_B, Login("jainam-c", "pro2", "C", "PRO")),
    },
    "wisdom": {
        "json": (Login("generic-json", "investor1"), Login("generic-json", "investor2")),
    },
}
# Other kinds of dealers: what depends on whose order it is.
DEALERS: dict[str, tuple[Login, ...]] = {
    "a": (Login("jainam-a", "pro1", "A", "PRO"), PRO_B, Login("jainam-a", "pro2", "A", "PRO")),
    "a-normal": (Login("jainam-a", "normal1", "A", "NORMAL", "SIMACLI1"), PRO_B),
    "b-normal": (Login("jainam-b", "normal1", "B", "NORMAL", "SIMBCLI1"), PRO_B),
    "c-normal": (Login("jainam-c", "normal1", "C", "NORMAL", "SIMCCLI2"), PRO_C),
}
CASES = [(broker, venue) for broker, venues in VENUES.items() for venue in venues]


def test_every_registered_broker_is_tried() -> None:
    registry = discover()
    assert registry.broken == {}
    assert set(registry.names()) == set(VENUES)


class TestContract(BrokerContract):
    @pytest.fixture(scope="class", params=CASES, ids=lambda case: "-".join(case))
    @classmethod
    def harness(cls, request: pytest.FixtureRequest, simulator: Simulator) -> BrokerHarness:
        broker, venue = request.param
        return XtsVenue(
            f"{broker}-{venue}", discover().get(broker), simulator, VENUES[broker][venue]
        )


class TestDealers(ChangeCards, IsolationCards):
    @pytest.fixture(scope="class", params=DEALERS)
    @classmethod
    def harness(cls, request: pytest.FixtureRequest, simulator: Simulator) -> BrokerHarness:
        return XtsVenue(
            f"jainam_prop-{request.param}",
            discover().get("jainam_prop"),
            simulator,
            DEALERS[request.param],
        )
