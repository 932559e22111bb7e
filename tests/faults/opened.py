"""Five hundred intents that a crash left open: what the book shows, and what never arrived."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from benchmarks.servers import PROFILE
from database import journal
from database.accounts import Account
from database.engine import Database
from database.journal import Intent, IntentKind, IntentState
from tests.faults.fire import Range
from tests.faults.wishes import SEGMENT, SYMBOL, TOKEN
from utils.ids import new_reference, new_tag

_LATEST = 60.0
_OPEN = ("sending", "unknown")


@dataclass(frozen=True, slots=True)
class Opened:
    """After how many seconds of the gateway's life the last one of each kind was settled, and how
    many ended as they should.
    """

    there: float
    missing: float
    right: int
    of: int


def left_open(range_: Range, count: int = 500) -> Opened:
    """Write the journal of a crash, half of it in the venue's book, and start the gateway."""
    served = range_.served
    served.gateway.stop()
    intents = _journal(range_, count)
    for intent in intents[::2]:
        served.simulator.control("order", {
            "profile": PROFILE, "segment": SEGMENT, "token": TOKEN, "tag": intent.tag,
            "quantity": intent.quantity, "side": "BUY", **_account(range_),
        })
    served.restart()
    began = time.monotonic()
    there = _until_settled(range_, [intent.reference for intent in intents[::2]], began)
    missing = _until_settled(range_, [intent.reference for intent in intents[1::2]], began)
    states = {entry.reference: entry.state for entry in range_.books.journal()}
    right = sum(
        states[intent.reference] == ("accepted", "absent")[number % 2]
        for number, intent in enumerate(intents)
    )
    return Opened(there, missing, right, count)


def _journal(range_: Range, count: int) -> list[Intent]:
    """Intents whose request was over a minute ago, sent and never answered."""
    at = datetime.now(UTC) - timedelta(seconds=60)
    made = []
    with _database(range_) as database, database.write() as conn:
        account = conn.execute(
            sa.select(Account.id).where(Account.label == "jainam_prop")
        ).scalar_one()
        for number in range(count):
            intent = Intent(
                reference=new_reference(), tag=new_tag(), kind=IntentKind.PLACE,
                account_id=account, user_id=None, request_id="", created_at=at,
                deadline_at=at + timedelta(seconds=10), symbol=SYMBOL, exchange="NSE",
                token=str(TOKEN), side="BUY", order_type="LIMIT", product="MIS",
                quantity=1 + number,
            )
            number_there = journal.new_intent(conn, intent)
            journal.change(conn, number_there, IntentState.SENDING, "slot granted", at=at)
            if number % 4 < 2:
                journal.change(conn, number_there, IntentState.UNKNOWN, "timeout", at=at)
            made.append(intent)
    return made


@contextmanager
def _database(range_: Range) -> Iterator[Database]:
    database = Database(range_.served.environ["DATABASE_URL"])
    try:
        yield database
    finally:
        database.dispose()


def _account(range_: Range) -> dict[str, str]:
    """The venue's account that the gateway trades for."""
    accounts = range_.served.simulator.truth(PROFILE)["accounts"]
    return {"client": str(accounts[0]["client"])}


def _until_settled(range_: Range, references: list[str], began: float) -> float:
    wanted = set(references)
    while time.monotonic() - began < _LATEST:
        states = {entry.reference: entry.state for entry in range_.books.journal()}
        if not any(states[reference] in _OPEN for reference in wanted):
            break
        time.sleep(0.1)
    return time.monotonic() - began
