"""Fixtures that every group of cards shares, and the tables of what a trouble must become."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from broker.base import Operation
from broker.errors import BrokerError, Fate, RateLimited, Refused, SessionExpired
from broker.testing.desk import Desk
from broker.testing.harness import BrokerHarness, Trouble

MakeDesk = Callable[..., Desk]

# What a submit must raise under each trouble; None: it succeeds. What is not documented to precede
# acceptance is unknown, whatever really happened (design §4.4).
SUBMIT_OUTCOMES: dict[Trouble, tuple[type[BrokerError], Fate] | None] = {
    Trouble.REFUSED: (Refused, Fate.REFUSED),
    Trouble.ERROR_IN_SUCCESS: (Refused, Fate.REFUSED),
    Trouble.RATE_LIMITED: (RateLimited, Fate.REFUSED),
    Trouble.RATE_LIMITED_UNDOCUMENTED: (BrokerError, Fate.UNKNOWN),
    Trouble.DEAD_TOKEN: (SessionExpired, Fate.REFUSED),
    Trouble.DISPLACED: (SessionExpired, Fate.REFUSED),
    Trouble.SERVER_ERROR: (BrokerError, Fate.UNKNOWN),
    Trouble.SERVER_ERROR_AFTER: (BrokerError, Fate.UNKNOWN),
    Trouble.GATEWAY_ERROR: (BrokerError, Fate.UNKNOWN),
    Trouble.HTML_PAGE: (BrokerError, Fate.UNKNOWN),
    Trouble.MALFORMED_AFTER: (BrokerError, Fate.UNKNOWN),
    Trouble.HALF_BODY_AFTER: (BrokerError, Fate.UNKNOWN),
    Trouble.EMPTY_BODY: (BrokerError, Fate.UNKNOWN),
    Trouble.NO_ID_AFTER: (BrokerError, Fate.UNKNOWN),
    Trouble.CLOSED_BEFORE: (BrokerError, Fate.UNKNOWN),
    Trouble.CLOSED_AFTER: (BrokerError, Fate.UNKNOWN),
    Trouble.HANGS_BEFORE: (BrokerError, Fate.UNKNOWN),
    Trouble.HANGS_AFTER: (BrokerError, Fate.UNKNOWN),
    Trouble.DROPPED_AFTER: None,
    Trouble.SLOW: None,
}

# Troubles that say nothing about a read, with which a read succeeds, or whose difference from
# another one a read cannot see.
NOT_FOR_READS = frozenset(
    {
        Trouble.NO_ID_AFTER,
        Trouble.DROPPED_AFTER,
        Trouble.SLOW,
        Trouble.HANGS_AFTER,
        Trouble.CLOSED_AFTER,
        Trouble.SERVER_ERROR_AFTER,
        Trouble.DISPLACED,
    }
)
HANGING = frozenset({Trouble.HANGS_BEFORE, Trouble.HANGS_AFTER})

HANGING_PATIENCE = 0.5
"""Seconds that a call gets when its answer will not come."""

READ_TROUBLES = [each for each in Trouble if each not in NOT_FOR_READS]


class Cards:
    """Base of every group. A test class overrides `harness`."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> BrokerHarness | Iterator[BrokerHarness]:
        """The double of the venue."""
        raise NotImplementedError("override the fixture `harness` in your test class")

    @pytest.fixture
    def venue(self, harness: BrokerHarness) -> Iterator[BrokerHarness]:
        """The double, as new."""
        harness.reset()
        yield harness
        harness.calm()

    @pytest.fixture
    def make(self, venue: BrokerHarness) -> Iterator[MakeDesk]:
        """Makes desks: `make(number, login=True, runtime={}, **fields of the AccountConfig)`."""
        desks: list[Desk] = []

        def make(
            number: int = 0, *, login: bool = True, runtime: dict[str, object] | None = None,
            **fields: object,
        ) -> Desk:
            if number >= venue.facts.accounts:
                pytest.skip(f"the double of {venue.name} has no account number {number}")
            changes: dict[str, object] = {
                "published_limits": False, "orders_per_second": 100_000, "retry_count": 0,
            }
            changes.update(fields)
            account = replace(venue.account(number), **changes)  # type: ignore[arg-type]
            desk = Desk(venue, account, **(runtime or {}))
            desks.append(desk)
            if login:
                desk.open()
            return desk

        yield make
        for desk in desks:
            desk.broker.close()

    @pytest.fixture
    def desk(self, make: MakeDesk) -> Desk:
        """The first account, logged in, unmetered, without retries."""
        return make()


def suffer(desk: Desk, trouble: Trouble, operation: Operation, times: int | None = None) -> float:
    """Cause a trouble, or skip; returns how many seconds a call should be given under it."""
    if trouble not in desk.harness.facts.troubles:
        pytest.skip(f"the double of {desk.harness.name} cannot: {trouble.value}")
    desk.harness.trouble(trouble, operation, times=times)
    return HANGING_PATIENCE if trouble in HANGING else 8.0


def settle(desk: Desk, trouble: Trouble, operation: Operation) -> None:
    """Wait for the end of a request that hangs, lest it be counted in the next card."""
    if trouble in HANGING:
        counted(desk, operation)


def counted(desk: Desk, operation: Operation) -> int:
    """How many requests the venue has seen; one that hangs may be counted when it ends."""
    return desk.eventually(
        lambda: desk.harness.requests(operation) or None, f"a request to {operation}"
    )
