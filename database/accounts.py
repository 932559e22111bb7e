"""Accounts: named connections to brokers, with sealed credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, ForeignKey, String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from broker.models import Secret
from database.base import Base, BigId, RowMapper
from database.crypto import Vault
from database.errors import AlreadyExists, NoSuchRow
from database.types import UtcDateTime

ENVIRONMENT = "environment"
USER = "user"


class Account(Base):
    """A named connection. Labels are unique among the accounts that were not removed."""

    __tablename__ = "accounts"
    __table_args__ = (
        sa.Index(
            "uq_accounts_label", "label", unique=True,
            sqlite_where=sa.text("removed_at IS NULL"),
            postgresql_where=sa.text("removed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    label: Mapped[str] = mapped_column(String(64))
    broker: Mapped[str] = mapped_column(String(64), index=True)
    cluster: Mapped[str] = mapped_column(String(32), default="")
    account_type: Mapped[str] = mapped_column(String(32), default="")
    client_id: Mapped[str] = mapped_column(String(64), default="")
    base_url: Mapped[str] = mapped_column(String(255), default="")
    options: Mapped[dict[str, str]] = mapped_column(sa.JSON, default=dict)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    source: Mapped[str] = mapped_column(String(16))
    host_lookup: Mapped[bool] = mapped_column(default=True)
    enabled: Mapped[bool] = mapped_column(default=True)
    credentials: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account, without its credentials.

    `owner_id` None: shared by all users of the instance (the ones from the environment). `source`
    is "environment" or "user". `options` override single rules of the broker's declaration.
    """

    id: int
    label: str
    broker: str
    cluster: str
    account_type: str
    client_id: str
    base_url: str
    options: dict[str, str]
    owner_id: int | None
    source: str
    host_lookup: bool
    enabled: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an account is made of, or changed to."""

    label: str
    broker: str
    credentials: Mapping[str, Secret]
    cluster: str = ""
    account_type: str = ""
    client_id: str = ""
    base_url: str = ""
    options: Mapping[str, str] | None = None
    owner_id: int | None = None
    source: str = USER
    host_lookup: bool = True
    enabled: bool = True


_accounts = RowMapper(AccountRow, Account)
_present = Account.removed_at.is_(None)


def create_account(
    conn: Connection, new: NewAccount, vault: Vault, *, at: datetime
) -> AccountRow:
    """Add an account. `AlreadyExists` when the label is taken."""
    statement = sa.insert(Account).values(**_values(new, vault), created_at=at, updated_at=at)
    try:
        account_id = conn.execute(statement.returning(Account.id)).scalar_one()
    except IntegrityError:
        raise AlreadyExists(f"an account named {new.label!r} exists already") from None
    return _must_get(conn, account_id)


def update_account(
    conn: Connection, account_id: int, new: NewAccount, vault: Vault, *, at: datetime
) -> AccountRow:
    """Replace what an account is made of, credentials included."""
    statement = sa.update(Account).where(Account.id == account_id, _present)
    try:
        changed = conn.execute(statement.values(**_values(new, vault), updated_at=at)).rowcount
    except IntegrityError:
        raise AlreadyExists(f"an account named {new.label!r} exists already") from None
    if not changed:
        raise NoSuchRow(f"there is no account {account_id}")
    return _must_get(conn, account_id)


def get_account(conn: Connection, account_id: int) -> AccountRow | None:
    """The account, unless it was removed."""
    return _accounts.one(conn, _accounts.select().where(Account.id == account_id, _present))


def find_account(conn: Connection, label: str) -> AccountRow | None:
    return _accounts.one(conn, _accounts.select().where(Account.label == label, _present))


def list_accounts(conn: Connection, broker: str | None = None) -> list[AccountRow]:
    """All accounts, or one broker's, in the order they were added."""
    statement = _accounts.select().where(_present).order_by(Account.id)
    return _accounts.all(
        conn, statement if broker is None else statement.where(Account.broker == broker)
    )


def list_for_user(conn: Connection, user_id: int) -> list[AccountRow]:
    """The accounts that a user may use: their own and the shared ones."""
    return _accounts.all(conn, _accounts.select().where(
        _present, sa.or_(Account.owner_id == user_id, Account.owner_id.is_(None))
    ).order_by(Account.id))


def set_enabled(conn: Connection, account_id: int, enabled: bool, *, at: datetime) -> None:
    statement = sa.update(Account).where(Account.id == account_id, _present)
    if not conn.execute(statement.values(enabled=enabled, updated_at=at)).rowcount:
        raise NoSuchRow(f"there is no account {account_id}")


def remove_account(conn: Connection, account_id: int, *, at: datetime) -> bool:
    """Take an account away: its credentials are wiped, its orders stay in the journal."""
    statement = sa.update(Account).where(Account.id == account_id, _present)
    return bool(conn.execute(
        statement.values(credentials="", enabled=False, removed_at=at, updated_at=at)
    ).rowcount)


def credentials_of(conn: Connection, account_id: int, vault: Vault) -> dict[str, Secret]:
    """The account's credentials. `NoSuchRow`, or `CannotOpen` when SECRET_KEY has changed."""
    sealed = conn.execute(
        sa.select(Account.credentials).where(Account.id == account_id, _present)
    ).scalar()
    if sealed is None:
        raise NoSuchRow(f"there is no account {account_id}")
    return open_secrets(vault, sealed)


def reseal(conn: Connection, vault: Vault) -> int:
    """Seal all credentials again with the vault's newest key; how many."""
    rows = conn.execute(sa.select(Account.id, Account.credentials).where(_present)).all()
    for account_id, sealed in rows:
        conn.execute(sa.update(Account).where(Account.id == account_id).values(
            credentials=vault.rotate(sealed)
        ))
    return len(rows)


def seal_secrets(vault: Vault, values: Mapping[str, Secret]) -> str:
    """A mapping of secrets as one sealed text."""
    return vault.seal(json.dumps({name: value.reveal() for name, value in values.items()}))


def open_secrets(vault: Vault, sealed: str) -> dict[str, Secret]:
    """What `seal_secrets` sealed."""
    return {name: Secret(value) for name, value in json.loads(vault.open(sealed)).items()}


def _values(new: NewAccount, vault: Vault) -> dict[str, object]:
    return {
        "label": new.label, "broker": new.broker, "cluster": new.cluster,
        "account_type": new.account_type, "client_id": new.client_id, "base_url": new.base_url,
        "options": dict(new.options or {}), "owner_id": new.owner_id, "source": new.source,
        "host_lookup": new.host_lookup, "enabled": new.enabled,
        "credentials": seal_secrets(vault, new.credentials),
    }


def _must_get(conn: Connection, account_id: int) -> AccountRow:
    row = get_account(conn, account_id)
    if row is None:
        raise NoSuchRow(f"there is no account {account_id}")
    return row
