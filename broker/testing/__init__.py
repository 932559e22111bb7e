"""What an author of a broker package needs for tests: clocks, the contract's cards, golden triples.

    from broker.testing.contract import BrokerContract

    class TestMyBroker(BrokerContract):
        @pytest.fixture(scope="class")
        @classmethod
        def harness(cls):
            with MyVenue() as venue:      # a `BrokerHarness`: the double of your venue
                yield venue

Needs pytest. Nothing here knows any particular broker.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("broker.testing.cards", "broker.testing.golden")
