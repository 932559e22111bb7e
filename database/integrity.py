"""Is the data of a store as it should be? What the database itself checks, and what we know."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from database.backup import MAIN, SYMBOLS, Source, opened

_RULES: tuple[tuple[str, str], ...] = (
    (
        "orders whose last event says another state than the order itself",
        ("SELECT count(*) FROM order_intents i JOIN order_events e ON e.id = "
         "(SELECT max(id) FROM order_events WHERE intent_id = i.id) WHERE e.state <> i.state"),
    ),
    (
        "orders without any event",
        ("SELECT count(*) FROM order_intents i WHERE NOT EXISTS "
         "(SELECT 1 FROM order_events e WHERE e.intent_id = i.id)"),
    ),
    (
        "orders of accounts that are not there",
        ("SELECT count(*) FROM order_intents i WHERE NOT EXISTS "
         "(SELECT 1 FROM accounts a WHERE a.id = i.account_id)"),
    ),
    (
        "accepted orders without the broker's id",
        ("SELECT count(*) FROM order_intents WHERE kind = 'place' AND state = 'accepted' "
         "AND coalesce(broker_order_id, '') = ''"),
    ),
)
_SYMBOLS = (
    "brokers whose symbols are not as many as their import wrote",
    ("SELECT count(*) FROM symbol_generation g WHERE g.row_count <> "
     "(SELECT count(*) FROM symbol_token t WHERE t.broker = g.broker)"),
)


def problems(source: Source) -> list[str]:
    """What is wrong, one sentence each; nothing when all is well. `BackupFailed` if unreadable."""
    found = []
    with opened(source, MAIN) as conn:
        found += _by_the_database(conn)
        found += [text for text, sql in _RULES if conn.exec_driver_sql(sql).scalar()]
        if not source.is_sqlite:
            found += _symbols(conn)
    if source.is_sqlite and source.path(SYMBOLS).is_file():
        with opened(source, SYMBOLS) as conn:
            found += _by_the_database(conn) + _symbols(conn)
    return found


def _symbols(conn: Connection) -> list[str]:
    text, sql = _SYMBOLS
    return [text] if conn.exec_driver_sql(sql).scalar() else []


def _by_the_database(conn: Connection) -> list[str]:
    """What SQLite finds in its pages and keys; PostgreSQL enforces its own, and reads every row."""
    if conn.dialect.name != "sqlite":
        names = sa.inspect(conn).get_table_names()
        for name in names:
            table = sa.table(name)
            conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        return []
    verdicts = [row[0] for row in conn.exec_driver_sql("PRAGMA integrity_check")]
    found = [f"SQLite: {text}" for text in verdicts if text != "ok"]
    broken = conn.exec_driver_sql("PRAGMA foreign_key_check").all()
    return found + ([f"{len(broken)} rows that refer to rows that are not there"] if broken else [])
