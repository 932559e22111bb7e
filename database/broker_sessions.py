"""Sessions at brokers (tokens sealed, one a account) and the record of log-in attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from broker.models import Session
from database.accounts import open_secrets, seal_secrets
from database.base import Base, BigId
from database.crypto import Vault
from database.dialect import upsert
from database.types import UtcDateTime


class BrokerSession(Base):
    """The one session of an account, as all processes use it. `version` counts changes for ever.

    A row without tokens says that there is no session; the row stays, so that `version` goes on.
    `login_state` is the record by which the application decides when it may log in by itself.
    """

    __tablename__ = "broker_sessions"

    account_id: Mapped[int] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    version: Mapped[int] = mapped_column(BigId)
    tokens: Mapped[str | None] = mapped_column(sa.Text)
    details: Mapped[dict[str, str]] = mapped_column(sa.JSON)
    opened_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    login_state: Mapped[str | None] = mapped_column(sa.Text)


class LoginAttempt(Base):
    """One attempt to log in at a broker: counted for the daily cap and the back-off."""

    __tablename__ = "broker_logins"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(32))
    message: Mapped[str] = mapped_column(sa.Text, default="")
    automatic: Mapped[bool] = mapped_column(default=True)

    __table_args__ = (sa.Index("ix_broker_logins_account_id_at", "account_id", "at"),)


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session with its version: who renews says which version was found dead."""

    account_id: int
    version: int
    session: Session


@dataclass(frozen=True, slots=True)
class LoginRow:
    """One attempt. `outcome` is "ok" or the kind of the error."""

    at: datetime
    outcome: str
    message: str
    automatic: bool


def load_session(conn: Connection, account_id: int, vault: Vault) -> StoredSession | None:
    """The account's session, None when there is none. Expired ones are given too."""
    row = conn.execute(
        sa.select(BrokerSession.__table__).where(BrokerSession.account_id == account_id)
    ).first()
    if row is None or row.tokens is None:
        return None
    session = Session(open_secrets(vault, row.tokens), row.details, row.opened_at, row.expires_at)
    return StoredSession(account_id, row.version, session)


def session_version(conn: Connection, account_id: int) -> int:
    """How often the account's session has changed; 0 when it never had one. Cheap to ask."""
    return int(conn.execute(
        sa.select(BrokerSession.version).where(BrokerSession.account_id == account_id)
    ).scalar() or 0)


def save_session(conn: Connection, account_id: int, session: Session, vault: Vault) -> int:
    """Make this the account's session; its version."""
    return _put(
        conn, account_id, tokens=seal_secrets(vault, session.tokens), details=session.details,
        opened_at=session.opened_at, expires_at=session.expires_at,
    )


def clear_session(conn: Connection, account_id: int) -> int:
    """Forget the account's session; the version that says so."""
    return _put(conn, account_id, tokens=None, details={}, opened_at=None, expires_at=None)


def login_state(conn: Connection, account_id: int) -> str | None:
    """The account's record of logins, as `save_login_state` stored it."""
    return conn.execute(
        sa.select(BrokerSession.login_state).where(BrokerSession.account_id == account_id)
    ).scalar()


def save_login_state(conn: Connection, account_id: int, state: str) -> None:
    """Store the record of logins; the session and its version stay as they are."""
    upsert(
        conn, BrokerSession,
        {"account_id": account_id, "version": 0, "details": {}, "login_state": state},
        key=["account_id"], change={"login_state": state},
    )


def reseal(conn: Connection, vault: Vault) -> int:
    """Seal all tokens again with the vault's newest key; how many."""
    rows = conn.execute(sa.select(BrokerSession.account_id, BrokerSession.tokens)).all()
    sealed_rows = [(account_id, sealed) for account_id, sealed in rows if sealed is not None]
    for account_id, sealed in sealed_rows:
        conn.execute(sa.update(BrokerSession).where(
            BrokerSession.account_id == account_id
        ).values(tokens=vault.rotate(sealed)))
    return len(sealed_rows)


def _put(conn: Connection, account_id: int, **values: object) -> int:
    upsert(
        conn, BrokerSession, {"account_id": account_id, "version": 1, **values},
        key=["account_id"], change={"version": BrokerSession.version + 1, **values},
    )
    return session_version(conn, account_id)


def note_login(
    conn: Connection, account_id: int, outcome: str, *, at: datetime, message: str = "",
    automatic: bool = True,
) -> None:
    """Record an attempt before its result is acted upon."""
    conn.execute(sa.insert(LoginAttempt).values(
        account_id=account_id, at=at, outcome=outcome, message=message, automatic=automatic
    ))


def logins_since(conn: Connection, account_id: int, since: datetime) -> list[LoginRow]:
    """The account's attempts since then, the newest first."""
    rows = conn.execute(
        sa.select(
            LoginAttempt.at, LoginAttempt.outcome, LoginAttempt.message, LoginAttempt.automatic
        ).where(LoginAttempt.account_id == account_id, LoginAttempt.at >= since)
        .order_by(LoginAttempt.at.desc(), LoginAttempt.id.desc())
    )
    return [LoginRow(*row) for row in rows]


def prune_logins(conn: Connection, before: datetime) -> int:
    """Delete old attempts; how many."""
    return conn.execute(sa.delete(LoginAttempt).where(LoginAttempt.at < before)).rowcount
