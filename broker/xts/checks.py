"""The self-check after a login: reads what a login should be able to read, changes nothing.

The client-id rules of a cluster are the one thing that no document settles (XTS reference §6.2);
what they get wrong shows here, before the first order, in sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.base import Deadline
from broker.errors import BrokerError
from broker.models import InstrumentRef
from broker.xts.dealers import IS_INVESTOR
from broker.xts.login import MARKET_ERROR
from broker.xts.profile import INVESTOR

if TYPE_CHECKING:
    from broker.xts.broker import XtsBroker

NIFTY_50 = "26000"  # §8.3: the NSE index that every server lists


def run(broker: XtsBroker, deadline: Deadline) -> list[str]:
    """What is wrong with this login, in sentences; [] when everything could be read."""
    reads: tuple[tuple[str, Callable[[], object]], ...] = (
        ("balance", lambda: broker.funds(deadline=deadline)),
        ("order book", lambda: broker.orders(deadline=deadline)),
        ("trade book", lambda: broker.trades(deadline=deadline)),
        ("positions", lambda: broker.positions(deadline=deadline)),
    )
    faults = _role_faults(broker)
    for name, read in reads:
        try:
            read()
        except BrokerError as exc:
            faults.append(f"The {name} can't be read: {exc.message}")
    faults.extend(_foreign_faults(broker, deadline))
    faults.extend(_market_faults(broker, deadline))
    return faults


def _role_faults(broker: XtsBroker) -> list[str]:
    session = broker.session
    said = session.details.get(IS_INVESTOR, "") if session else ""
    kind = broker.account.account_type or broker.profile.account_types[0]
    if said and (said == "true") != (kind == INVESTOR):
        role = "an investor" if said == "true" else "a dealer"
        return [f"The broker says that this login is {role}'s, but the account is set to {kind}."]
    return []


def _foreign_faults(broker: XtsBroker, deadline: Deadline) -> list[str]:
    """Dealer books mix clients, so rows of others say nothing, unless there are no other rows."""
    try:
        ours, others = broker.clients_in_book(deadline=deadline)
    except BrokerError:
        return []  # the order book's own sentence is there already
    if ours or not others:
        return []
    named = ", ".join(f"{client or '(none)'} ({count})" for client, count in others.items())
    fault = (
        f"Every row of the order book belongs to other clients and is left out: {named}. "
        "If one of them is yours, set the account option accepted_row_clients."
    )
    return [fault]


def _market_faults(broker: XtsBroker, deadline: Deadline) -> list[str]:
    session = broker.session
    if session and MARKET_ERROR in session.details:
        return [f"Market data is not available: {session.details[MARKET_ERROR]}"]
    index = next(iter(broker.profile.index_segments), None)
    if index is None:
        return []
    ref = InstrumentRef(index.exchange, NIFTY_50)
    try:
        if ref in broker.quotes([ref], deadline=deadline):
            return []
        return ["Market data answers, but has no quote of the NIFTY 50 index."]
    except BrokerError as exc:
        return [f"A quote can't be read: {exc.message}"]
