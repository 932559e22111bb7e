"""C8 Pacing: by the venue's own clock no published limit is exceeded; the way out goes first."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from broker.base import Operation, Priority
from broker.errors import BrokerBusy, Fate
from broker.testing.cards.base import Cards, MakeDesk
from broker.testing.desk import Desk, new_tag
from broker.testing.harness import BrokerHarness
from broker.waiting import WaitingRoom

THREADS = 8


def together(work: Callable[[int], object], threads: int = THREADS) -> None:
    """Run in so many threads; the first exception of any of them is raised here."""
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    if failed:
        raise failed[0]


def metered(make: MakeDesk, venue: BrokerHarness, **fields: object) -> Desk:
    """A desk that keeps the published limits, at a venue that enforces them."""
    desk = make(published_limits=True, **fields)
    venue.meter()
    return desk


class PacingCards(Cards):
    """C8."""

    def test_c8_010_burst_is_spread_and_nothing_is_refused(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        desk = metered(make, venue, orders_per_second=20)
        together(lambda number: [desk.place(seconds=20) for _ in range(6)])
        assert venue.breaches() == 0
        times = sorted(each.at for each in venue.received())
        assert len(times) == THREADS * 6
        for index in range(len(times) - 20):
            assert times[index + 20] - times[index] >= 1.0

    def test_c8_020_own_rate_is_never_above_the_published_one(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        desk = metered(make, venue, orders_per_second=1_000_000)
        together(lambda number: [desk.place(seconds=20) for _ in range(5)])
        assert venue.breaches() == 0
        assert len(venue.received()) == THREADS * 5

    def test_c8_030_cancel_does_not_wait_behind_orders(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        desk = metered(make, venue, orders_per_second=3)
        ids = [desk.place() for _ in range(3)]
        client = desk.order(ids[0]).client
        waiting = threading.Thread(target=lambda: desk.place(seconds=20))
        waiting.start()
        desk.cancel(ids[0], client=client, seconds=0.5)
        waiting.join(30)
        assert venue.breaches() == 0
        assert len(venue.received()) == 4

    def test_c8_040_exit_goes_before_entries_that_wait(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        desk = metered(make, venue, orders_per_second=2)
        for _ in range(2):
            desk.place()
        threads = []
        for _ in range(3):
            threads.append(threading.Thread(target=lambda: desk.place(seconds=20)))
            threads[-1].start()
        tag = new_tag()
        desk.place(tag=tag, priority=Priority.EXIT, seconds=20)
        for thread in threads:
            thread.join(30)
        order = [each.tag for each in venue.received()]
        # The entry that came first may have asked before the exit came; no other one may pass.
        assert order.index(tag) <= 3
        assert venue.breaches() == 0

    def test_c8_050_reads_keep_their_limits(self, make: MakeDesk, venue: BrokerHarness) -> None:
        desk = metered(make, venue)
        for _ in range(2):
            desk.broker.positions(deadline=desk.deadline(20))
        for _ in range(8):
            desk.orders()
            desk.broker.funds(deadline=desk.deadline(20))
        assert venue.breaches() == 0
        assert venue.requests(Operation.POSITIONS) == 2
        assert venue.requests(Operation.ORDERS) == 8

    def test_c8_060_too_long_a_wait_is_refused_at_once(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        desk = metered(make, venue, orders_per_second=1)
        desk.place()
        with pytest.raises(BrokerBusy, match=r"^Rate limit exceeded") as caught:
            desk.place(seconds=0.3)
        assert caught.value.fate is Fate.NOT_SENT
        assert caught.value.retry_after is not None
        assert 0.3 < caught.value.retry_after <= 1.0
        assert len(venue.received()) == 1

    def test_c8_070_full_queue_is_refused_at_once(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        desk = make(orders_per_second=4, runtime={"room": WaitingRoom(3), "queue_wait": 5.0})
        refused: list[BrokerBusy] = []

        def work(number: int) -> None:
            try:
                desk.place(seconds=20)
            except BrokerBusy as error:
                refused.append(error)

        together(work, threads=12)
        assert len(venue.received()) + len(refused) == 12
        assert len(venue.received()) >= 4 + 3
        assert refused and all(error.fate is Fate.NOT_SENT for error in refused)

    def test_c8_080_accounts_of_one_key_share_their_limits(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        desk = metered(make, venue, orders_per_second=10)
        twin = make(login=False, published_limits=True, orders_per_second=10)
        twin.runtime = desk.runtime
        twin.broker = venue.broker(twin.account, desk.runtime)
        twin.broker.attach(desk.broker.session)
        desks = [desk, twin]
        together(lambda number: [desks[number % 2].place(seconds=20) for _ in range(3)])
        times = sorted(each.at for each in venue.received())
        for index in range(len(times) - 10):
            assert times[index + 10] - times[index] >= 1.0
        twin.broker.close()
