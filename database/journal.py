"""The order journal: written before the wire, changed only forward, one event a change.

The hot path of every order: its statements are compiled once per dialect (`database.prepared`) and
prepared once per connection. In the common case an order costs two commits: `new_intent` and
`change(SENDING)` together, then `change(ACCEPTED)`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam
from sqlalchemy.exc import IntegrityError

from database.base import RowMapper, table_of
from database.errors import AlreadyExists, IllegalTransition, NoSuchRow
from database.intents import (
    LEGAL,
    UNSETTLED,
    Intent,
    IntentEvent,
    IntentKind,
    IntentState,
    OrderEvent,
    OrderIntent,
)
from database.prepared import Prepared

__all__ = [
    "LEGAL", "UNSETTLED", "Intent", "IntentEvent", "IntentKind", "IntentState", "absent",
    "bear_out", "by_id", "by_tag", "by_tags", "change", "children", "events", "find",
    "forget_strategy", "get", "in_flight", "list_intents", "new_intent", "note", "open_intents",
    "placed_as", "prune", "send_again", "unseen", "working_quantity",
]

_intents: RowMapper[Intent] = RowMapper(Intent, OrderIntent)
_table = table_of(OrderIntent)
_EVENT_COLUMNS = ("intent_id", "at", "state", "cause", "broker_order_id", "message")

_INSERT = Prepared(
    sa.insert(OrderIntent).returning(OrderIntent.id),
    tuple(name for name in _intents.names if name != "id"),
)
_INSERT_EVENT = Prepared(sa.insert(OrderEvent), _EVENT_COLUMNS)
_events = table_of(OrderEvent)
_INSERT_TWO_EVENTS = Prepared(
    sa.insert(_events).values([
        {name: bindparam(f"{name}{number}", None, _events.c[name].type) for name in _EVENT_COLUMNS}
        for number in (1, 2)
    ])
)


def _change_to(state: IntentState) -> Prepared:
    before = [_table.c.state == sa.literal_column(f"'{earlier}'")
              for earlier, later in LEGAL.items() if state in later]
    at: sa.BindParameter[Any] = bindparam("at", None, _table.c.updated_at.type)
    values: dict[str, Any] = {
        "state": sa.literal_column(f"'{state}'"),
        "updated_at": at,
        "broker_order_id": sa.func.coalesce(
            bindparam("new_order_id", None, sa.String()), _table.c.broker_order_id
        ),
        "message": sa.func.coalesce(bindparam("new_message", None, sa.Text()), _table.c.message),
    }
    if state is IntentState.SENDING:
        values["sent_at"] = at
    return Prepared(
        sa.update(_table)
        .where(_table.c.id == bindparam("intent_id", None), sa.or_(sa.false(), *before))
        .values(values)
    )


_CHANGE = {state: _change_to(state) for state in IntentState}


def _seen() -> Prepared:
    shown: sa.BindParameter[str] = bindparam("shown", None, sa.String())
    at: sa.BindParameter[Any] = bindparam("at", None, _table.c.seen_at.type)
    return Prepared(
        sa.update(_table)
        .where(
            _table.c.id == bindparam("intent_id", None),
            sa.or_(_table.c.seen_at.is_(None), _table.c.book_state != shown),
        )
        .values(seen_at=sa.func.coalesce(_table.c.seen_at, at), book_state=shown)
        .returning(_table.c.state)
    )


_SEEN = _seen()


def new_intent(
    conn: Connection,
    intent: Intent,
    *,
    cause: str = "request",
    sending: tuple[datetime, str] | None = None,
) -> int:
    """Commit-to-be of a wish: the row and its first event; returns the intent's id.

    `sending` (time and cause): the same as a `change` to SENDING after it, in fewer statements.
    `AlreadyExists` when reference or tag were used before.
    """
    values = dict(_intents.values(intent))
    values["updated_at"] = intent.updated_at or intent.created_at
    if sending is not None:
        values["state"] = IntentState.SENDING
        values["updated_at"] = values["sent_at"] = sending[0]
    try:
        intent_id = int(_INSERT.execute(conn, values).scalar_one())
    except IntegrityError as exc:
        if _is_unique_violation(exc):
            raise AlreadyExists(f"the reference {intent.reference} or its tag is taken") from None
        raise
    first = (intent_id, intent.created_at, intent.state.value, cause, None, intent.message)
    if sending is None:
        _INSERT_EVENT.execute(conn, dict(zip(_EVENT_COLUMNS, first, strict=True)))
    else:
        second = (intent_id, sending[0], IntentState.SENDING.value, sending[1], None, "")
        _INSERT_TWO_EVENTS.execute(conn, {
            f"{name}{number}": value
            for number, event in ((1, first), (2, second))
            for name, value in zip(_EVENT_COLUMNS, event, strict=True)
        })
    return intent_id


def change(
    conn: Connection,
    intent_id: int,
    state: IntentState,
    cause: str,
    *,
    at: datetime,
    broker_order_id: str | None = None,
    message: str | None = None,
) -> None:
    """Move an intent to `state` and append the event, in the caller's transaction.

    The guard is part of the UPDATE, so of two processes only one can make a change.
    `IllegalTransition` when the present state does not lead there, `NoSuchRow` when unknown.
    """
    changed = _CHANGE[state].execute(conn, {
        "intent_id": intent_id, "at": at, "new_order_id": broker_order_id, "new_message": message,
    })
    if changed.rowcount != 1:
        current = conn.execute(sa.select(_table.c.state).where(_table.c.id == intent_id)).scalar()
        if current is None:
            raise NoSuchRow(f"there is no order intent {intent_id}")
        raise IllegalTransition(intent_id, current, state)
    _event(conn, intent_id, at, state, cause, broker_order_id, message or "")


def note(
    conn: Connection, intent_id: int, cause: str, *, at: datetime, message: str = "",
    broker_order_id: str | None = None,
) -> None:
    """Append an event that changes no state: a later rejection by RMS, a retry, a look-up."""
    current = conn.execute(sa.select(_table.c.state).where(_table.c.id == intent_id)).scalar()
    if current is None:
        raise NoSuchRow(f"there is no order intent {intent_id}")
    _event(conn, intent_id, at, IntentState(current), cause, broker_order_id, message)


def send_again(conn: Connection, intent_id: int, *, at: datetime, message: str) -> None:
    """Note a second request for an intent. `IllegalTransition` unless it is still SENDING."""
    current = conn.execute(sa.select(_table.c.state).where(_table.c.id == intent_id)).scalar()
    if current != IntentState.SENDING:
        raise IllegalTransition(intent_id, str(current), IntentState.SENDING)
    _event(conn, intent_id, at, IntentState.SENDING, "sending again", None, message)


def bear_out(
    conn: Connection,
    intent_id: int,
    book_state: str,
    cause: str,
    *,
    at: datetime,
    message: str = "",
) -> bool:
    """Record what the broker's book says of an order, with its event; False when it is no news."""
    seen = _SEEN.execute(conn, {"intent_id": intent_id, "at": at, "shown": book_state})
    if not seen.rows:
        return False
    _event(conn, intent_id, at, IntentState(seen.scalar_one()), cause, None, message)
    return True


# Questions -----------------------------------------------------------------------------------


def get(conn: Connection, reference: str) -> Intent | None:
    """The intent of this reference."""
    return _one(conn, _intents.select().where(_table.c.reference == reference))


def by_id(conn: Connection, intent_id: int) -> Intent | None:
    return _one(conn, _intents.select().where(_table.c.id == intent_id))


def by_tag(conn: Connection, tag: str) -> Intent | None:
    """The intent whose tag the broker echoed; None for orders that are not ours."""
    if not tag:
        return None
    return _one(conn, _intents.select().where(_table.c.tag == tag, _table.c.tag != ""))


def by_tags(conn: Connection, tags: Collection[str]) -> dict[str, Intent]:
    """The intents of many tags at once (a whole book), by tag."""
    found: dict[str, Intent] = {}
    wanted = sorted({tag for tag in tags if tag})
    for start in range(0, len(wanted), 500):
        chunk = wanted[start:start + 500]
        statement = _intents.select().where(_table.c.tag.in_(chunk), _table.c.tag != "")
        found.update((intent.tag, intent) for intent in _all(conn, statement))
    return found


def find(
    conn: Connection, account_ids: Collection[int], key: str, *, user_id: int | None = None
) -> Intent | None:
    """An intent of these accounts by reference, broker's order id or client_order_id.

    Among several the placing of an order comes before its changes, and the newest first. With
    `user_id` a client_order_id counts only where that user gave it: users of a shared account
    number their orders alike.
    """
    is_place = sa.case((_table.c.kind == IntentKind.PLACE.value, 0), else_=1)
    for column in (_table.c.reference, _table.c.broker_order_id, _table.c.client_order_id):
        statement = _intents.select().where(
            column == key, column.is_not(None), _is_of(account_ids)
        ).order_by(is_place, _table.c.id.desc()).limit(1)
        if user_id is not None and column is _table.c.client_order_id:
            statement = statement.where(_table.c.user_id == user_id)
        found = _one(conn, statement)
        if found is not None:
            return found
    return None


def placed_as(conn: Connection, account_ids: Collection[int], order_id: str) -> Intent | None:
    """The intent that placed the broker's order `order_id`, the newest (ids repeat over days)."""
    return _one(conn, _intents.select().where(
        _table.c.broker_order_id == order_id, _table.c.broker_order_id.is_not(None),
        _table.c.kind == IntentKind.PLACE.value, _is_of(account_ids),
    ).order_by(_table.c.id.desc()).limit(1))


def open_intents(
    conn: Connection,
    states: Collection[IntentState] = UNSETTLED,
    account_id: int | None = None,
) -> list[Intent]:
    """The intents in these states, the oldest first; by default the ones without an outcome."""
    statement = _intents.select().where(_table.c.state.in_([state.value for state in states]))
    if set(states) <= UNSETTLED:  # spelt as the partial index is, so that it is used
        statement = statement.where(_unsettled())
    if account_id is not None:
        statement = statement.where(_table.c.account_id == account_id)
    return _all(conn, statement.order_by(_table.c.id))


def unseen(
    conn: Connection,
    account_id: int,
    since: datetime,
    *,
    kinds: Collection[IntentKind] = (IntentKind.PLACE,),
) -> list[Intent]:
    """Intents accepted since then that no read of the broker's book has borne out yet."""
    return _all(conn, _intents.select().where(
        _table.c.account_id == account_id, _table.c.created_at >= since,
        _table.c.kind.in_([kind.value for kind in kinds]),
        _table.c.state == IntentState.ACCEPTED.value, _table.c.seen_at.is_(None),
    ).order_by(_table.c.id))


def absent(conn: Connection, account_id: int, since: datetime) -> list[Intent]:
    """Intents since then that were held absent: a book that shows one after all is news."""
    return _all(conn, _intents.select().where(
        _table.c.account_id == account_id, _table.c.created_at >= since,
        _table.c.state == IntentState.ABSENT.value,
    ).order_by(_table.c.id))


def events(conn: Connection, intent_id: int) -> list[IntentEvent]:
    """All events of an intent, the oldest first."""
    rows = conn.execute(
        sa.select(
            OrderEvent.at, OrderEvent.state, OrderEvent.cause, OrderEvent.broker_order_id,
            OrderEvent.message,
        ).where(OrderEvent.intent_id == intent_id).order_by(OrderEvent.id)
    )
    return [
        IntentEvent(at, IntentState(state), cause, order_id, message)
        for at, state, cause, order_id, message in rows
    ]


def children(conn: Connection, parent_reference: str) -> list[Intent]:
    """The intents that a basket or split was made into, in request order."""
    return _all(conn, _intents.select().where(
        _table.c.parent_reference == parent_reference, _table.c.parent_reference.is_not(None)
    ).order_by(_table.c.child_index, _table.c.id))


def list_intents(
    conn: Connection,
    account_ids: Collection[int],
    since: datetime,
    *,
    kinds: Sequence[IntentKind] = tuple(IntentKind),
    limit: int = 1_000,
) -> list[Intent]:
    """The intents of these accounts since then, the newest first."""
    return _all(conn, _intents.select().where(
        _table.c.account_id.in_(list(account_ids)), _table.c.created_at >= since,
        _table.c.kind.in_([kind.value for kind in kinds]),
    ).order_by(_table.c.id.desc()).limit(limit))


def in_flight(
    conn: Connection, account_id: int, exchange: str, token: str, product: str
) -> list[Intent]:
    """Orders for one instrument whose outcome is open: received, sending or unknown."""
    return _all(conn, _intents.select().where(
        _unsettled(), _table.c.kind == IntentKind.PLACE.value,
        _table.c.account_id == account_id, _table.c.exchange == exchange,
        _table.c.token == token, _table.c.product == product,
    ).order_by(_table.c.id))


def working_quantity(
    conn: Connection, account_id: int, exchange: str, token: str, product: str
) -> int:
    """Net units (buys less sells) of the orders in flight: what the books may not show yet."""
    flying = in_flight(conn, account_id, exchange, token, product)
    return sum(item.quantity if item.side == "BUY" else -item.quantity for item in flying)


def prune(conn: Connection, before: datetime) -> int:
    """Delete settled intents that were created before then, with their events; how many."""
    statement = sa.delete(_table).where(
        _table.c.created_at < before,
        _table.c.state.not_in([state.value for state in UNSETTLED]),
    )
    return conn.execute(statement).rowcount


def forget_strategy(conn: Connection, account_id: int, strategy: str) -> int:
    """Delete an account's settled intents of a strategy, with their events (sample data alone)."""
    statement = sa.delete(_table).where(
        _table.c.account_id == account_id, _table.c.strategy == strategy,
        _table.c.state.not_in([state.value for state in UNSETTLED]),
    )
    return conn.execute(statement).rowcount


def _event(
    conn: Connection, intent_id: int, at: datetime, state: IntentState, cause: str,
    broker_order_id: str | None, message: str,
) -> None:
    values = (intent_id, at, state.value, cause, broker_order_id, message)
    _INSERT_EVENT.execute(conn, dict(zip(_EVENT_COLUMNS, values, strict=True)))


def _is_of(account_ids: Collection[int]) -> sa.ColumnElement[bool]:
    """Belongs to one of these accounts; a sum, so that SQLite looks by name and not by account."""
    return (_table.c.account_id + 0).in_(list(account_ids))


def _unsettled() -> sa.TextClause:
    """The condition of the partial index, word for word."""
    return sa.text("state IN ('received', 'sending', 'unknown')")


def _is_unique_violation(exc: IntegrityError) -> bool:
    text = str(exc.orig).lower()
    return "unique" in text or "duplicate key" in text


def _one(conn: Connection, statement: sa.Select[Any]) -> Intent | None:
    row = conn.execute(statement).first()
    return None if row is None else _make(row)


def _all(conn: Connection, statement: sa.Select[Any]) -> list[Intent]:
    return [_make(row) for row in conn.execute(statement)]


def _make(row: sa.Row[Any]) -> Intent:
    values = dict(row._mapping)
    values["kind"] = IntentKind(values["kind"])
    values["state"] = IntentState(values["state"])
    return Intent(**values)
