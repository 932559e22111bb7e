"""What the order journal records: intents, their states, and which state may follow which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId
from database.types import Money, UtcDateTime

ZERO = Decimal(0)


class IntentKind(StrEnum):
    """What was wanted of the broker."""

    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"


class IntentState(StrEnum):
    """How far an intent has come. ACCEPTED is the broker's acceptance, not a fill."""

    RECEIVED = "received"
    NOT_SENT = "not_sent"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    ABSENT = "absent"

    @property
    def is_settled(self) -> bool:
        """Whether the journal knows the outcome."""
        return self not in UNSETTLED


UNSETTLED = frozenset({IntentState.RECEIVED, IntentState.SENDING, IntentState.UNKNOWN})

# Design §4, and two changes that evidence may force (docs/decisions/0012): a connection that was
# never made after `sending` was committed, and an order that shows up after it was held absent.
LEGAL: dict[IntentState, frozenset[IntentState]] = {
    IntentState.RECEIVED: frozenset({IntentState.NOT_SENT, IntentState.SENDING}),
    IntentState.SENDING: frozenset(
        {IntentState.ACCEPTED, IntentState.REJECTED, IntentState.UNKNOWN, IntentState.NOT_SENT}
    ),
    IntentState.UNKNOWN: frozenset(
        {IntentState.ACCEPTED, IntentState.REJECTED, IntentState.ABSENT}
    ),
    IntentState.ABSENT: frozenset({IntentState.ACCEPTED, IntentState.REJECTED}),
    IntentState.NOT_SENT: frozenset(),
    IntentState.ACCEPTED: frozenset(),
    IntentState.REJECTED: frozenset(),
}


class OrderIntent(Base):
    """One wish of a client, from before the wire to its outcome."""

    __tablename__ = "order_intents"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    reference: Mapped[str] = mapped_column(String(40), unique=True)
    tag: Mapped[str] = mapped_column(String(20), default="")
    kind: Mapped[str] = mapped_column(String(8))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="RESTRICT"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    key_id: Mapped[int | None] = mapped_column(BigId)
    strategy: Mapped[str] = mapped_column(String(255), default="")
    origin: Mapped[str] = mapped_column(String(10), default="order")
    request_id: Mapped[str] = mapped_column(String(64), default="")
    client_order_id: Mapped[str | None] = mapped_column(String(160))
    parent_reference: Mapped[str | None] = mapped_column(String(40))
    child_index: Mapped[int | None]
    target_order_id: Mapped[str] = mapped_column(String(64), default="")
    symbol: Mapped[str] = mapped_column(String(64), default="")
    exchange: Mapped[str] = mapped_column(String(16), default="")
    token: Mapped[str] = mapped_column(String(32), default="")
    side: Mapped[str] = mapped_column(String(4), default="")
    order_type: Mapped[str] = mapped_column(String(16), default="")
    product: Mapped[str] = mapped_column(String(8), default="")
    validity: Mapped[str] = mapped_column(String(8), default="")
    quantity: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    price: Mapped[Decimal] = mapped_column(Money, default=ZERO)
    trigger_price: Mapped[Decimal] = mapped_column(Money, default=ZERO)
    disclosed_quantity: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    state: Mapped[str] = mapped_column(String(10))
    broker_order_id: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(sa.Text, default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deadline_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    book_state: Mapped[str] = mapped_column(String(20), default="")

    __table_args__ = (
        sa.Index(
            "uq_order_intents_tag", "tag", unique=True,
            sqlite_where=sa.text("tag <> ''"), postgresql_where=sa.text("tag <> ''"),
        ),
        sa.Index("ix_order_intents_account_created", "account_id", "created_at"),
        sa.Index(
            "ix_order_intents_broker_order_id", "broker_order_id",
            sqlite_where=sa.text("broker_order_id IS NOT NULL"),
            postgresql_where=sa.text("broker_order_id IS NOT NULL"),
        ),
        sa.Index(
            "ix_order_intents_client_order_id", "client_order_id",
            sqlite_where=sa.text("client_order_id IS NOT NULL"),
            postgresql_where=sa.text("client_order_id IS NOT NULL"),
        ),
        sa.Index(
            "ix_order_intents_parent_reference", "parent_reference",
            sqlite_where=sa.text("parent_reference IS NOT NULL"),
            postgresql_where=sa.text("parent_reference IS NOT NULL"),
        ),
        sa.Index(
            "ix_order_intents_unsettled", "state",
            sqlite_where=sa.text("state IN ('received', 'sending', 'unknown')"),
            postgresql_where=sa.text("state IN ('received', 'sending', 'unknown')"),
        ),
    )


class OrderEvent(Base):
    """One thing that happened to an intent."""

    __tablename__ = "order_events"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    intent_id: Mapped[int] = mapped_column(
        ForeignKey("order_intents.id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(10))
    cause: Mapped[str] = mapped_column(String(64))
    broker_order_id: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(sa.Text, default="")


@dataclass(frozen=True, slots=True)
class Intent:
    """One intent as the journal holds it. Prices in rupees, quantities in units.

    `tag` is what the broker echoes (at most 20 characters, unique, "" for modify and cancel);
    `target_order_id` the broker's id that a modify or cancel is about. `origin` is the kind of
    request that it came from (order, smart, basket, split, exit). `seen_at` says when an accepted
    order was first seen in the broker's book, `book_state` what it was there last.
    """

    reference: str
    tag: str
    kind: IntentKind
    account_id: int
    user_id: int | None
    request_id: str
    created_at: datetime
    key_id: int | None = None
    strategy: str = ""
    origin: str = "order"
    client_order_id: str | None = None
    parent_reference: str | None = None
    child_index: int | None = None
    target_order_id: str = ""
    symbol: str = ""
    exchange: str = ""
    token: str = ""
    side: str = ""
    order_type: str = ""
    product: str = ""
    validity: str = "DAY"
    quantity: int = 0
    price: Decimal = ZERO
    trigger_price: Decimal = ZERO
    disclosed_quantity: int = 0
    state: IntentState = IntentState.RECEIVED
    broker_order_id: str | None = None
    message: str = ""
    updated_at: datetime | None = None
    sent_at: datetime | None = None
    deadline_at: datetime | None = None
    seen_at: datetime | None = None
    book_state: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class IntentEvent:
    """One event: the state after it, why, and what else was learnt."""

    at: datetime
    state: IntentState
    cause: str
    broker_order_id: str | None
    message: str
