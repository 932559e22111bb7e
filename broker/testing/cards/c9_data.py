"""C9 Data and streams: identity of quotes, history without gaps or overlaps, streams."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from broker.base import Operation
from broker.errors import BrokerError, NotSupported
from broker.models import Candle
from broker.testing.cards.base import Cards, suffer
from broker.testing.desk import Desk
from broker.testing.harness import BrokerHarness, Trouble

DATA_TROUBLES = [Trouble.SERVER_ERROR, Trouble.HTML_PAGE, Trouble.HALF_BODY_AFTER,
                 Trouble.CLOSED_BEFORE, Trouble.EMPTY_BODY]


class DataCards(Cards):
    """C9."""

    def test_c9_010_each_quote_is_its_instruments_own(self, desk: Desk) -> None:
        _needs(desk.harness.broker.capabilities.quotes, desk, "quotes")
        listed = {each.ref: each for each in desk.harness.listed()}
        for wanted in (list(listed), list(reversed(listed))):
            quotes = desk.broker.quotes(wanted, deadline=desk.deadline())
            assert set(quotes) == set(listed)
            for ref, quote in quotes.items():
                assert quote.instrument == ref
                assert quote.last_price == listed[ref].last
                assert isinstance(quote.bid, Decimal) and quote.bid <= quote.ask
                assert quote.low <= quote.last_price <= quote.high

    def test_c9_020_instrument_without_data_is_missing(self, desk: Desk) -> None:
        _needs(desk.harness.broker.capabilities.quotes, desk, "quotes")
        nothing = desk.harness.without_data()
        ref = desk.equity.ref
        assert set(desk.broker.quotes([nothing, ref], deadline=desk.deadline())) == {ref}
        assert desk.broker.quotes([], deadline=desk.deadline()) == {}

    @pytest.mark.parametrize("trouble", DATA_TROUBLES, ids=lambda each: each.name.lower())
    def test_c9_030_no_data_is_never_made_up(self, desk: Desk, trouble: Trouble) -> None:
        _needs(desk.harness.broker.capabilities.quotes, desk, "quotes")
        suffer(desk, trouble, Operation.QUOTES)
        with pytest.raises(BrokerError):
            desk.broker.quotes([desk.equity.ref], deadline=desk.deadline())

    def test_c9_040_depth_is_ordered_and_not_crossed(self, desk: Desk) -> None:
        _needs(desk.harness.broker.capabilities.depth, desk, "depth")
        depth = desk.broker.depth(desk.equity.ref, deadline=desk.deadline())
        bids, asks = [each.price for each in depth.bids], [each.price for each in depth.asks]
        assert bids and asks
        assert bids == sorted(bids, reverse=True) and asks == sorted(asks)
        assert bids[0] <= asks[0]
        assert depth.quote.instrument == desk.equity.ref

    def test_c9_050_history_has_no_gaps_or_overlaps_over_its_chunks(self, desk: Desk) -> None:
        intervals = desk.harness.broker.capabilities.history_intervals
        _needs(bool(intervals), desk, "history")
        end = desk.clock.now().date()
        start = end - timedelta(days=16)
        whole = _history(desk, intervals[0], start, end)
        opened = [candle.opened_at for candle in whole]
        assert opened == sorted(set(opened))
        days = sorted({moment.date() for moment in opened})
        parts: list[Candle] = []
        for number in range(17):
            day = start + timedelta(days=number)
            parts += _history(desk, intervals[0], day, day)
        assert [candle.opened_at for candle in parts] == opened
        weekdays = [
            start + timedelta(days=number)
            for number in range(16)
            if (start + timedelta(days=number)).weekday() < 5
        ]
        assert len([day for day in weekdays if day in days]) >= len(weekdays) - 2
        for candle in whole:
            assert candle.low <= min(candle.open, candle.close)
            assert candle.high >= max(candle.open, candle.close)
            assert candle.opened_at.tzinfo is not None

    def test_c9_060_every_interval_is_served(self, desk: Desk) -> None:
        intervals = desk.harness.broker.capabilities.history_intervals
        _needs(bool(intervals), desk, "history")
        end = desk.clock.now().date()
        for interval in intervals:
            candles = _history(desk, interval, end - timedelta(days=5), end)
            assert candles, interval
            steps = {
                later.opened_at - earlier.opened_at
                for earlier, later in pairwise(candles)
            }
            assert min(steps, default=timedelta(days=1)) >= timedelta(minutes=1)

    def test_c9_070_unknown_interval_is_refused(self, desk: Desk) -> None:
        day = desk.clock.now().date()
        with pytest.raises((BrokerError, ValueError)):
            _history(desk, "7 fortnights", day, day)

    def test_c9_080_what_is_not_offered_says_so(self, desk: Desk) -> None:
        capabilities = desk.harness.broker.capabilities
        if not capabilities.quotes:
            with pytest.raises(NotSupported):
                desk.broker.quotes([desk.equity.ref], deadline=desk.deadline())
        if not capabilities.depth:
            with pytest.raises(NotSupported):
                desk.broker.depth(desk.equity.ref, deadline=desk.deadline())
        if not capabilities.history_intervals:
            with pytest.raises(NotSupported):
                _history(desk, "1m", desk.clock.now().date(), desk.clock.now().date())

    @pytest.mark.parametrize(
        "what",
        ["reconnects", "drops_duplicates", "one_unsubscribe_leaves_the_rest"],
    )
    def test_c9_500_streams(self, harness: BrokerHarness, what: str) -> None:
        """The interface has no streams yet; no broker may claim what nothing could call."""
        assert not harness.broker.capabilities.stream
        pytest.skip(f"{harness.name} streams nothing")


def _needs(offered: bool, desk: Desk, what: str) -> None:
    if not offered:
        pytest.skip(f"{desk.harness.name} offers no {what}")


def _history(desk: Desk, interval: str, start: date, end: date) -> list[Candle]:
    return desk.broker.history(
        desk.equity.ref, interval, start, end, deadline=desk.deadline(60)
    )
