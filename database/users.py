"""Users, their API keys and their web sessions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, ForeignKey, String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId, RowMapper
from database.errors import AlreadyExists, NoSuchRow
from database.types import UtcDateTime


class User(Base):
    """Someone who may log in. `password_hash` is argon2's."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(64), unique=True)  # the name in lower case
    email: Mapped[str] = mapped_column(String(254), default="")
    password_hash: Mapped[str] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(default=False)
    enabled: Mapped[bool] = mapped_column(default=True)
    second_factor: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_login_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApiKey(Base):
    """A key of a user. Only the keyed hash is stored; `prefix` (8 characters) tells keys apart."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(64), default="")
    scope: Mapped[str] = mapped_column(String(16))
    default_account: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class WebSession(Base):
    """A browser's login. The cookie holds the token, the row only its hash."""

    __tablename__ = "web_sessions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_agent: Mapped[str] = mapped_column(String(255), default="")
    address: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user, without the hashes."""

    id: int
    name: str
    email: str
    is_admin: bool
    enabled: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key, without its hash. `scope` is "read", "trade" or "admin".

    `last_used_at` is written now and then, not with every use.
    """

    id: int
    user_id: int
    prefix: str
    name: str
    scope: str
    default_account: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class WebSessionRow:
    """A browser's login, without the hash of its token."""

    id: int
    user_id: int
    user_agent: str
    address: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


_users = RowMapper(UserRow, User)
_keys = RowMapper(KeyRow, ApiKey)
_sessions = RowMapper(WebSessionRow, WebSession)


# Users ---------------------------------------------------------------------------------------


def create_user(
    conn: Connection, name: str, password_hash: str, *, at: datetime,
    email: str = "", is_admin: bool = False,
) -> UserRow:
    """Add a user. `AlreadyExists` when the name, in any case of letters, is taken."""
    if find_user(conn, name) is not None:
        raise AlreadyExists(f"a user named {name!r} exists already")
    statement = sa.insert(User).values(
        name=name, name_key=name.lower(), email=email, password_hash=password_hash,
        is_admin=is_admin, enabled=True, created_at=at,
    )
    try:
        user_id = conn.execute(statement.returning(User.id)).scalar_one()
    except IntegrityError:
        raise AlreadyExists(f"a user named {name!r} exists already") from None
    return UserRow(user_id, name, email, is_admin, True, at, None)


def get_user(conn: Connection, user_id: int) -> UserRow | None:
    return _users.one(conn, _users.select().where(User.id == user_id))


def find_user(conn: Connection, name: str) -> UserRow | None:
    """The user of this name; upper and lower case are the same."""
    return _users.one(conn, _users.select().where(User.name_key == name.lower()))


def list_users(conn: Connection) -> list[UserRow]:
    return _users.all(conn, _users.select().order_by(User.id))


def has_users(conn: Connection) -> bool:
    return conn.execute(sa.select(User.id).limit(1)).first() is not None


def password_hash_of(conn: Connection, user_id: int) -> str:
    """The stored argon2 hash. `NoSuchRow` for an unknown user."""
    found = conn.execute(sa.select(User.password_hash).where(User.id == user_id)).scalar()
    if found is None:
        raise NoSuchRow(f"there is no user {user_id}")
    return str(found)


def set_password(conn: Connection, user_id: int, password_hash: str) -> None:
    _update_user(conn, user_id, password_hash=password_hash)


def set_enabled(conn: Connection, user_id: int, enabled: bool) -> None:
    _update_user(conn, user_id, enabled=enabled)


def set_admin(conn: Connection, user_id: int, is_admin: bool) -> None:
    _update_user(conn, user_id, is_admin=is_admin)


def set_email(conn: Connection, user_id: int, email: str) -> None:
    _update_user(conn, user_id, email=email)


def set_second_factor(conn: Connection, user_id: int, sealed: str | None) -> None:
    """Store the sealed secret of the second factor, or None to switch it off."""
    _update_user(conn, user_id, second_factor=sealed)


def second_factor_of(conn: Connection, user_id: int) -> str | None:
    """The sealed secret of the second factor, None when it is off."""
    return conn.execute(sa.select(User.second_factor).where(User.id == user_id)).scalar()


def note_login(conn: Connection, user_id: int, *, at: datetime) -> None:
    _update_user(conn, user_id, last_login_at=at)


def _update_user(conn: Connection, user_id: int, **values: object) -> None:
    if not conn.execute(sa.update(User).where(User.id == user_id).values(values)).rowcount:
        raise NoSuchRow(f"there is no user {user_id}")


# API keys ------------------------------------------------------------------------------------


def new_api_key() -> str:
    """A new key: 256 random bits as 64 hexadecimal digits."""
    return secrets.token_hex(32)


def create_api_key(
    conn: Connection, user_id: int, plain: str, key_hash: str, *, at: datetime,
    name: str = "", scope: str = "trade", default_account: str | None = None,
) -> KeyRow:
    """Store the hash of a new key. The plain key is used for its prefix only, and is not kept."""
    prefix = plain[:8]
    key_id = conn.execute(
        sa.insert(ApiKey).values(
            user_id=user_id, key_hash=key_hash, prefix=prefix, name=name, scope=scope,
            default_account=default_account, created_at=at,
        ).returning(ApiKey.id)
    ).scalar_one()
    return KeyRow(key_id, user_id, prefix, name, scope, default_account, at, None, None)


def rehash_key(conn: Connection, key_id: int, key_hash: str) -> None:
    """Store a key's hash under another pepper."""
    conn.execute(sa.update(ApiKey).where(ApiKey.id == key_id).values(key_hash=key_hash))


def find_key(conn: Connection, key_hash: str) -> KeyRow | None:
    """The key with this hash, unless it was revoked or its user is disabled."""
    statement = _keys.select().join(User, User.id == ApiKey.user_id).where(
        ApiKey.key_hash == key_hash, ApiKey.revoked_at.is_(None), User.enabled.is_(True)
    )
    return _keys.one(conn, statement)


def get_key(conn: Connection, key_id: int) -> KeyRow | None:
    """The key of this id, revoked or not."""
    return _keys.one(conn, _keys.select().where(ApiKey.id == key_id))


def list_keys(conn: Connection, user_id: int | None = None) -> list[KeyRow]:
    """The keys of a user (None: of everybody), the newest first, revoked ones included."""
    statement = _keys.select().order_by(ApiKey.id.desc())
    return _keys.all(conn, statement if user_id is None else statement.where(
        ApiKey.user_id == user_id
    ))


def revoke_key(conn: Connection, key_id: int, *, at: datetime) -> bool:
    """Revoke a key for good; False when it was unknown or revoked before."""
    statement = sa.update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
    return bool(conn.execute(statement.values(revoked_at=at)).rowcount)


def note_keys_used(conn: Connection, used: Mapping[int, datetime]) -> None:
    """Write down when keys (by id) were last used; an earlier time never replaces a later one."""
    for key_id, at in used.items():
        conn.execute(
            sa.update(ApiKey)
            .where(
                ApiKey.id == key_id,
                sa.or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < at),
            )
            .values(last_used_at=at)
        )


# Web sessions --------------------------------------------------------------------------------


def create_web_session(
    conn: Connection, user_id: int, token_hash: str, *, at: datetime, expires_at: datetime,
    user_agent: str = "", address: str = "",
) -> WebSessionRow:
    """Store a login, and clear away the ones that are over."""
    conn.execute(sa.delete(WebSession).where(WebSession.expires_at <= at))
    user_agent, address = user_agent[:255], address[:64]
    session_id = conn.execute(
        sa.insert(WebSession).values(
            user_id=user_id, token_hash=token_hash, user_agent=user_agent, address=address,
            created_at=at, seen_at=at, expires_at=expires_at,
        ).returning(WebSession.id)
    ).scalar_one()
    return WebSessionRow(session_id, user_id, user_agent, address, at, at, expires_at)


def find_web_session(conn: Connection, token_hash: str, *, at: datetime) -> WebSessionRow | None:
    """The live session with this token hash, unless its user is disabled."""
    statement = _sessions.select().join(User, User.id == WebSession.user_id).where(
        WebSession.token_hash == token_hash, WebSession.expires_at > at, User.enabled.is_(True)
    )
    return _sessions.one(conn, statement)


def list_web_sessions(conn: Connection, user_id: int, *, at: datetime) -> list[WebSessionRow]:
    return _sessions.all(conn, _sessions.select().where(
        WebSession.user_id == user_id, WebSession.expires_at > at
    ).order_by(WebSession.seen_at.desc()))


def touch_web_session(
    conn: Connection, session_id: int, *, at: datetime, expires_at: datetime | None = None
) -> None:
    """Note that the session was used; with `expires_at` it lives on until then."""
    values: dict[str, datetime] = {"seen_at": at}
    if expires_at is not None:
        values["expires_at"] = expires_at
    conn.execute(sa.update(WebSession).where(WebSession.id == session_id).values(values))


def delete_web_session(conn: Connection, token_hash: str) -> None:
    conn.execute(sa.delete(WebSession).where(WebSession.token_hash == token_hash))


def delete_web_sessions_of(conn: Connection, user_id: int) -> int:
    """Log a user out everywhere; how many sessions ended."""
    return conn.execute(sa.delete(WebSession).where(WebSession.user_id == user_id)).rowcount
