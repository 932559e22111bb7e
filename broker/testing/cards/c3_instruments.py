"""C3 Instruments: every kind of row, bad rows, spreads, strikes, freeze quantities, memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal

import pytest

from broker.base import Operation
from broker.errors import BrokerError, SessionExpired
from broker.models import BadRow, Instrument, InstrumentKind
from broker.testing.cards.base import Cards, MakeDesk, suffer
from broker.testing.desk import Desk
from broker.testing.harness import BrokerHarness, Trouble

MEMORY = 24 * 1024 * 1024
"""Bytes that reading a contract of any size may need at a time."""

CUTTING = [Trouble.HALF_BODY_AFTER, Trouble.MALFORMED_AFTER, Trouble.HTML_PAGE, Trouble.EMPTY_BODY]


def rows_of(desk: Desk) -> tuple[list[Instrument], list[BadRow]]:
    """The whole contract, parted into good and bad rows."""
    good: list[Instrument] = []
    bad: list[BadRow] = []
    for row in desk.broker.instruments():
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            good.append(row)
    return good, bad


class InstrumentCards(Cards):
    """C3."""

    def test_c3_010_needs_a_session_or_none_but_never_answers_with_nothing(
        self, make: MakeDesk
    ) -> None:
        desk = make(login=False)
        with suppress(SessionExpired):
            assert next(iter(desk.broker.instruments()))

    def test_c3_020_every_row_is_whole(self, desk: Desk) -> None:
        good, bad = rows_of(desk)
        assert bad == []
        tradable = desk.harness.broker.capabilities.exchanges
        for row in good:
            assert isinstance(row.token, str) and row.token.strip() == row.token != ""
            assert row.exchange in tradable
            assert row.tick_size > 0 and row.multiplier > 0, row
            assert row.lot_size >= 1 and row.root and row.broker_symbol, row
            assert row.freeze_quantity is None or row.freeze_quantity > 0, row
            for money in (row.tick_size, row.multiplier, row.price_low, row.price_high):
                assert money is None or (isinstance(money, Decimal) and money.is_finite()), row

    def test_c3_030_every_kind_is_there_and_has_what_it_needs(self, desk: Desk) -> None:
        good, _ = rows_of(desk)
        assert {row.kind for row in good} >= desk.harness.facts.kinds
        for row in good:
            if row.kind is InstrumentKind.OPTION:
                assert row.expiry and row.strike is not None and row.option_type, row
            elif row.kind in (InstrumentKind.FUTURE, InstrumentKind.SPREAD):
                assert row.expiry and row.strike is None and row.option_type is None, row
            elif row.kind in (InstrumentKind.EQUITY, InstrumentKind.INDEX):
                assert row.expiry is None and row.strike is None, row
            assert row.exchange.is_index == (row.kind is InstrumentKind.INDEX), row

    def test_c3_040_no_two_rows_have_one_token(self, desk: Desk) -> None:
        good, _ = rows_of(desk)
        counted = Counter(row.ref for row in good)
        assert [ref for ref, count in counted.items() if count > 1] == []

    def test_c3_050_landmarks_are_read_to_the_letter(self, desk: Desk) -> None:
        good, _ = rows_of(desk)
        by_ref = {row.ref: row for row in good}
        assert desk.harness.facts.landmarks
        for landmark in desk.harness.facts.landmarks:
            row = by_ref[landmark.ref]
            found = {name: getattr(row, name) for name in landmark.expected}
            assert found == landmark.expected

    def test_c3_060_spread_is_never_taken_for_its_near_future(self, desk: Desk) -> None:
        good, _ = rows_of(desk)
        spreads = {row.ref for row in good if row.kind is InstrumentKind.SPREAD}
        if not spreads:
            pytest.skip(f"the double of {desk.harness.name} lists no spreads")
        futures = {row.ref for row in good if row.kind is InstrumentKind.FUTURE}
        assert not spreads & futures
        seen = Counter(
            (row.exchange, row.root, row.expiry, row.series)
            for row in good
            if row.kind is InstrumentKind.FUTURE
        )
        assert [key for key, count in seen.items() if count > 1] == []

    def test_c3_070_only_the_exchanges_asked_for(self, desk: Desk) -> None:
        exchange = desk.equity.ref.exchange
        rows = list(desk.broker.instruments([exchange]))
        assert rows
        assert {row.exchange for row in rows if isinstance(row, Instrument)} == {exchange}
        assert desk.equity.ref in {row.ref for row in rows if isinstance(row, Instrument)}

    def test_c3_080_bad_rows_are_told_and_cost_nothing_else(self, desk: Desk) -> None:
        wanted, _ = rows_of(desk)
        desk.harness.malformed_master(6)
        good, bad = rows_of(desk)
        assert good == wanted
        assert len(bad) >= 6
        assert all(row.reason and row.segment and row.line > 0 for row in bad)

    @pytest.mark.parametrize("trouble", CUTTING, ids=lambda each: each.name.lower())
    def test_c3_090_damaged_download_is_no_short_contract(
        self, desk: Desk, trouble: Trouble
    ) -> None:
        """It raises, or it names the row that was damaged; it never just holds fewer."""
        wanted, _ = rows_of(desk)
        suffer(desk, trouble, Operation.MASTER)
        try:
            good, bad = rows_of(desk)
        except BrokerError as error:
            assert error.message.strip()
        else:
            assert bad
            assert len(wanted) - len(good) <= len(bad)

    def test_c3_100_is_read_as_a_stream(self, desk: Desk) -> None:
        stream = desk.broker.instruments()
        assert isinstance(stream, Iterator)
        next(stream)
        tracemalloc.start()
        try:
            for _ in stream:
                pass
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MEMORY

    def test_c3_110_every_listed_instrument_is_in_the_contract(
        self, desk: Desk, venue: BrokerHarness
    ) -> None:
        good, _ = rows_of(desk)
        by_ref = {row.ref: row for row in good}
        for listed in venue.listed():
            row = by_ref[listed.ref]
            assert (row.kind, row.lot_size, row.tick_size) == (
                listed.kind, listed.lot, listed.tick
            )
