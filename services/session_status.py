"""How an account stands, for people: connected or not, until when, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from services.session_policy import LoginPolicy
from services.session_store import Stored


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """How an account stands. `next_login` is when it logs in by itself, None when it won't.

    `wanted` is False after somebody disconnected it; `blocked` says why a person must act, or is
    empty. `details` are plain facts of the login, such as the user id.
    """

    connected: bool
    opened_at: datetime | None
    expires_at: datetime | None
    next_login: datetime | None
    last_error: str | None
    user_id: str
    wanted: bool
    blocked: str
    logins_today: int
    details: dict[str, str] = field(default_factory=dict)


def status_of(stored: Stored, policy: LoginPolicy, now: datetime) -> SessionStatus:
    """The status that a stored record means at `now`."""
    session, state = stored.session, stored.state
    expires_at = session.expires_at if session is not None else None
    live = session if session is not None and now < session.expires_at else None
    details = dict(live.details) if live is not None else {}
    return SessionStatus(
        connected=live is not None,
        opened_at=live.opened_at if live is not None else None,
        expires_at=live.expires_at if live is not None else None,
        next_login=policy.next_login(state, expires_at, now),
        last_error=state.blocked or state.last_error or None,
        user_id=details.get("user_id", ""),
        wanted=state.wanted,
        blocked=state.blocked,
        logins_today=state.attempts_on(now),
        details=details,
    )
