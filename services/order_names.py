"""The names one order goes by: reference, tag, request, broker's id, the client's own."""

from __future__ import annotations

from database import journal, journal_counts
from database.engine import Database
from database.journal import Intent


def names_of(database: Database, word: str) -> set[str]:
    """Every name of the orders that `word` is a name of, with `word` itself."""
    with database.read() as conn:
        found = journal_counts.intents_named(conn, word)
        for parent in [intent.reference for intent in found]:
            found += journal.children(conn, parent)
    names = {word}
    for intent in found:
        names.update(_names(intent))
    return names - {""}


def _names(intent: Intent) -> set[str]:
    return {
        intent.reference, intent.tag, intent.request_id, intent.broker_order_id or "",
        intent.client_order_id or "",
    }  # fmt: skip
