"""Logins of browsers: a random cookie outside, the hash of it and its owner in the database.

Kept on the server, so that one click logs a user out everywhere, and a disabled user is out at
once in all processes.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from broker.base import Clock
from database import users
from database.engine import Database
from services.access import Principal

_TOUCH_EVERY = timedelta(minutes=1)


class WebSessionService:
    """Opens, finds and closes browser sessions. Idle ones end after `lifetime_seconds`."""

    def __init__(
        self, database: Database, clock: Clock, *, lifetime_seconds: int = 12 * 3600
    ) -> None:
        self._database = database
        self._clock = clock
        self.lifetime_seconds = lifetime_seconds

    def open(self, principal: Principal, address: str, user_agent: str = "") -> str:
        """Start a session and return the cookie's value; it is kept nowhere else."""
        token = secrets.token_urlsafe(32)
        now = self._clock.now()
        with self._database.write() as conn:
            users.note_login(conn, principal.user_id, at=now)
            users.create_web_session(
                conn,
                principal.user_id,
                _hash(token),
                at=now,
                expires_at=now + timedelta(seconds=self.lifetime_seconds),
                address=address,
                user_agent=user_agent,
            )
        return token

    def find(self, token: str) -> Principal | None:
        """The user of a live session, with all of a person's rights; None for anything else."""
        now = self._clock.now()
        with self._database.read() as conn:
            session = users.find_web_session(conn, _hash(token), at=now)
            user = users.get_user(conn, session.user_id) if session else None
        if session is None or user is None:
            return None
        if now - session.seen_at >= _TOUCH_EVERY:
            with self._database.write() as conn:
                users.touch_web_session(
                    conn,
                    session.id,
                    at=now,
                    expires_at=now + timedelta(seconds=self.lifetime_seconds),
                )
        return Principal(
            user_id=user.id,
            name=user.name,
            is_admin=user.is_admin,
            scope="admin" if user.is_admin else "trade",
            key_id=None,
            default_account=None,
        )

    def close(self, token: str) -> None:
        """End one session; an unknown one is no error."""
        with self._database.write() as conn:
            users.delete_web_session(conn, _hash(token))

    def close_all(self, user_id: int) -> int:
        """Log a user out of every browser; return how many sessions ended."""
        with self._database.write() as conn:
            return users.delete_web_sessions_of(conn, user_id)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
