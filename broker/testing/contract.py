"""The contract of a broker package: all cards in one class, to be inherited (design §7).

An author overrides the fixture `harness` (see `broker.testing`). Everything else follows; a card
that a capability or the double lets a broker skip is shown as skipped, with the reason.
"""

from __future__ import annotations

from broker.testing.cards.c1_identity import IdentityCards
from broker.testing.cards.c2_session import SessionCards
from broker.testing.cards.c3_instruments import InstrumentCards
from broker.testing.cards.c4_submit import SubmitCards
from broker.testing.cards.c5_change import ChangeCards
from broker.testing.cards.c6_books import BookCards
from broker.testing.cards.c7_find import FindCards
from broker.testing.cards.c8_pacing import PacingCards
from broker.testing.cards.c9_data import DataCards
from broker.testing.cards.c10_isolation import IsolationCards


class BrokerContract(
    IdentityCards,
    SessionCards,
    InstrumentCards,
    SubmitCards,
    ChangeCards,
    BookCards,
    FindCards,
    PacingCards,
    DataCards,
    IsolationCards,
):
    """C1 to C10."""
