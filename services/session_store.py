"""The stored half of a session: what all processes know of an account's login.

A session and the record of its logins change in one transaction, so that a process that dies
between two steps of a login never leaves the others with a session that does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from broker.base import Clock
from broker.errors import BrokerError
from broker.models import Session
from database import broker_sessions as rows
from database.crypto import CannotOpen, Vault
from database.engine import Database
from services.session_policy import LoginState


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of one account: `version` counts the changes of its session."""

    version: int
    session: Session | None
    state: LoginState


class SessionStore:
    """Reads and writes `Stored` records; tokens are sealed by `vault`."""

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    def load(self, account_id: int) -> Stored:
        """The account's record; a fresh one where there is none.

        Tokens that were sealed with another SECRET_KEY count as no session.
        """
        with self._database.read() as conn:
            version = rows.session_version(conn, account_id)
            state = LoginState.from_json(rows.login_state(conn, account_id))
            try:
                found = rows.load_session(conn, account_id, self._vault)
            except CannotOpen:
                found = None
        return Stored(version, found.session if found is not None else None, state)

    def save(self, account_id: int, session: Session | None, state: LoginState) -> int:
        """Store both; the new version of the session."""
        with self._database.write() as conn:
            if session is None:
                version = rows.clear_session(conn, account_id)
            else:
                version = rows.save_session(conn, account_id, session, self._vault)
            rows.save_login_state(conn, account_id, state.to_json())
        return version

    def note(self, account_id: int, error: BrokerError | None, *, automatic: bool) -> None:
        """Add one attempt to the account's history of logins."""
        with self._database.write() as conn:
            rows.note_login(
                conn,
                account_id,
                error.kind if error is not None else "ok",
                at=self._clock.now(),
                message=error.message if error is not None else "",
                automatic=automatic,
            )

    def history(self, account_id: int, since_days: int = 7) -> list[rows.LoginRow]:
        """The attempts of the last days, the newest first."""
        with self._database.read() as conn:
            return rows.logins_since(
                conn, account_id, self._clock.now() - timedelta(days=since_days)
            )
