"""Accounts: which named connections to brokers exist, whose they are, and what they are made of.

The credentials in the environment define one shared account per broker, labelled with the
broker's name; they are never stored. More accounts are added by people, with their secrets sealed.
Any number of accounts, of any brokers, can be connected at the same time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from broker.base import AccountConfig, Broker, BrokerInfo, Clock
from broker.models import Secret
from database import accounts as rows
from database.crypto import CannotOpen, Vault
from database.engine import Database
from database.errors import AlreadyExists
from services.access import Principal
from services.account_models import Account, Accounts, Brokers, NewAccount
from services.account_rules import checked_credentials, checked_url, is_label, one_of, short
from services.errors import (
    BrokerDisabled,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFoundHere,
    Unavailable,
)
from services.flags import FlagService
from utils.config import BrokerSettings, Settings
from utils.redaction import register_secret

__all__ = ["Account", "AccountService", "Accounts", "Brokers", "NewAccount"]

log = logging.getLogger(__name__)

_VERSION = "version.accounts"


@dataclass(frozen=True, slots=True)
class _Snapshot:
    stamp: str
    by_label: dict[str, Account]


class AccountService:
    """The accounts of the instance, from a copy that is renewed when any process changes one."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        registry: Brokers,
        flags: FlagService,
        vault: Vault,
        clock: Clock,
    ) -> None:
        self._database = database
        self._settings = settings
        self._registry = registry
        self._flags = flags
        self._vault = vault
        self._clock = clock
        self._lock = threading.Lock()
        self._copy: _Snapshot | None = None
        self._synced = False
        self._sections: dict[str, BrokerSettings] = {}

    # Finding -----------------------------------------------------------------------------------

    def stamp(self) -> str:
        """A text that changes whenever any account does, in any process."""
        return self._flags.get(_VERSION)

    def all(self) -> Accounts:
        """Every account that is in use, in the order they were added."""
        return [*self._snapshot().by_label.values()]

    def list(self, principal: Principal) -> Accounts:
        """The accounts that the principal may use."""
        return [account for account in self.all() if account.usable_by(principal)]

    def get(self, account_id: int) -> Account | None:
        """The account of this id, None when it is no longer in use."""
        return next((account for account in self.all() if account.id == account_id), None)

    def find(self, label: str) -> Account | None:
        """The account of this label, whoever owns it; one that was added a moment ago, too."""
        found = self._snapshot().by_label.get(label)
        if found is None:
            self._flags.look()
            found = self._snapshot().by_label.get(label)
        return found

    def default_label(self, principal: Principal) -> str | None:
        """The label that is meant when none is named: the key's own, a shared one, the only one."""
        if principal.default_account:
            return principal.default_account
        mine = self.list(principal)
        shared = [account.label for account in mine if account.from_environment]
        if shared:
            return shared[0]
        return mine[0].label if len(mine) == 1 else None

    def resolve(self, principal: Principal, label: str | None = None) -> Account:
        """The account that a request means.

        `NotFoundHere` when there is none of that label, `Forbidden` when it is somebody else's.
        """
        wanted = label or self.default_label(principal)
        if not wanted:
            if self.list(principal):
                raise InvalidRequest(
                    "You have several accounts: name one in the field 'account'.", field="account"
                )
            raise NotFoundHere("You have no broker account. Add one, or set its credentials.")
        account = self.find(wanted)
        if account is None:
            raise NotFoundHere(f"There is no account '{wanted[:40]}'.")
        if not account.usable_by(principal):
            raise Forbidden(f"The account '{account.label}' is not yours.")
        return account

    def broker_class(self, name: str) -> type[Broker]:
        """The class of a broker. `NotFoundHere` for a name that no plug-in has."""
        if name not in self._registry.names():
            raise NotFoundHere(f"There is no broker '{name[:40]}'.")
        return self._registry.get(name)

    def broker_info(self, name: str) -> BrokerInfo:
        """Who a broker is and which credentials it needs."""
        return self.broker_class(name).info

    # What an adapter needs ---------------------------------------------------------------------

    def config(self, account: Account) -> AccountConfig:
        """The account as its adapter wants it, with open credentials and the settings' figures."""
        section = self._section(account.broker)
        return AccountConfig(
            label=account.label,
            credentials=self._credentials(account),
            cluster=account.cluster,
            account_type=account.account_type,
            client_id=account.client_id,
            base_url=self._base_url(account, section),
            host_lookup=account.host_lookup,
            options=dict(account.options),
            api_timeout=section.api_timeout,
            orders_per_second=section.rate_limit,
            retry_count=section.retry_count,
            published_limits=self._settings.broker_limits == "published",
        )

    def mark(self, config: AccountConfig) -> str:
        """A short text that is equal for equal credentials and tells nothing of them."""
        values = {name: secret.reveal() for name, secret in sorted(config.credentials.items())}
        message = json.dumps([values, config.base_url, config.cluster]).encode()
        key = self._settings.secret_key.get_secret_value().encode()
        return hmac.new(key, message, hashlib.sha256).hexdigest()[:32]

    # Changing ----------------------------------------------------------------------------------

    def sync_environment(self) -> None:
        """Give each broker whose credentials stand in the environment its shared account.

        Only the account's existence is stored. What it is made of is read from the settings by
        every process for itself, so that a command that runs without them changes nothing for the
        processes that serve.
        """
        created = [name for name in self._registry.names() if self._create_shared(name)]
        self._synced = True
        if created:
            self._changed("environment")

    def add(
        self, principal: Principal, new: NewAccount, *, owner: Principal | None = None
    ) -> Account:
        """Add an account of the principal's, or of `owner`.

        Only an administrator may add one for somebody else, share it, or set its address.
        """
        owner = owner or principal
        label = new.label.strip()
        if not is_label(label):
            raise InvalidRequest(
                "A label has 1 to 40 lower-case letters, digits, dashes and underscores.",
                field="label",
            )
        for_others = new.shared or owner.user_id != principal.user_id
        if (for_others or new.base_url) and not principal.is_admin:
            raise Forbidden("Only an administrator may share an account or set its address.")
        info = self.broker_info(new.broker)
        row = rows.NewAccount(
            label=label,
            broker=new.broker,
            credentials=checked_credentials(info, new.credentials),
            cluster=one_of("cluster", new.cluster, info.clusters, info.default_cluster),
            account_type=one_of(
                "account_type", new.account_type, info.account_types,
                info.account_types[0] if info.account_types else "",
            ),
            client_id=short("client_id", new.client_id),
            base_url=checked_url(new.base_url),
            options={short("options", k): short("options", v) for k, v in new.options.items()},
            owner_id=None if new.shared else owner.user_id,
            source=rows.USER,
            host_lookup=new.host_lookup,
        )
        self._refuse_known_keys(row.broker, row.credentials)
        try:
            with self._database.write() as conn:
                rows.create_account(conn, row, self._vault, at=self._clock.now())
        except AlreadyExists:
            raise Conflict(f"There is an account '{label}' already.") from None
        self._changed(principal.name)
        added = self.find(label)
        if added is None:
            raise Unavailable(f"The account '{label}' was added but can't be read back.")
        return added

    def remove(self, principal: Principal, label: str) -> None:
        """Forget an account and its secrets; its orders stay in the journal. Log it out before."""
        account = self.demand_removable(principal, label)
        with self._database.write() as conn:
            rows.remove_account(conn, account.id, at=self._clock.now())
        self._changed(principal.name)

    def demand_removable(self, principal: Principal, label: str) -> Account:
        """The account, if the principal may remove it; else why not."""
        account = self.find(label)
        if account is None:
            raise NotFoundHere(f"There is no account '{label[:40]}'.")
        if not principal.is_admin and account.owner_id != principal.user_id:
            raise Forbidden(f"The account '{account.label}' is not yours to change.")
        if account.from_environment:
            raise Conflict(
                f"The account '{account.label}' comes from the environment: change its variables."
            )
        return account

    # Brokers on and off ------------------------------------------------------------------------

    def is_broker_enabled(self, name: str) -> tuple[bool, str]:
        """Whether entries at a broker are allowed, and if not, which switch says so."""
        if name not in self._registry.names():
            return False, "There is no such broker."
        listed = self._settings.enabled_brokers
        if listed and name not in listed:
            return False, "It is not listed in ENABLED_BROKERS."
        if not self._section(name).enabled:
            return False, f"{_prefix(name)}_ENABLED is off."
        if not self._flags.is_on(_switch(name), default=True):
            return False, "An administrator switched it off."
        return True, ""

    def require_broker(self, name: str) -> None:
        """`BrokerDisabled` unless entries at the broker are allowed."""
        enabled, why = self.is_broker_enabled(name)
        if not enabled:
            raise BrokerDisabled(f"The broker '{name[:40]}' is off. {why}")

    def set_broker_enabled(self, name: str, enabled: bool, who: str) -> None:
        """Turn the run-time switch, for all processes. `Conflict` if a setting holds it off."""
        self.broker_class(name)
        self._flags.switch(_switch(name), enabled, who)
        still, why = self.is_broker_enabled(name)
        if enabled and not still:
            raise Conflict(f"The broker '{name}' stays off. {why}")

    # Inside ------------------------------------------------------------------------------------

    def _snapshot(self) -> _Snapshot:
        stamp = self.stamp()
        copy = self._copy
        if copy is not None and copy.stamp == stamp:
            return copy
        with self._lock:
            if not self._synced:
                self.sync_environment()
                stamp = self.stamp()
            with self._database.read() as conn:
                found = rows.list_accounts(conn)
            accounts = [self._view(row) for row in found if row.enabled]
            copy = _Snapshot(stamp, {a.label: a for a in accounts if a is not None})
            self._copy = copy
        return copy

    def _view(self, row: rows.AccountRow) -> Account | None:
        """The account of a row; None for one of the environment's that has no credentials here."""
        sandbox = self._settings.sandbox
        if row.source != rows.ENVIRONMENT:
            return Account(
                row.id, row.label, row.broker, row.cluster, row.account_type, row.client_id,
                row.owner_id, row.source, sandbox, row.host_lookup, row.base_url, row.options,
            )
        section = self._section(row.broker)
        if row.broker not in self._registry.names() or not section.has_credentials:
            return None
        info = self.broker_info(row.broker)
        return Account(
            row.id, row.label, row.broker,
            getattr(section, "symphony_server", info.default_cluster),
            getattr(section, "account_type", (*info.account_types, "")[0]),
            section.client_id, None, row.source, sandbox, getattr(section, "host_lookup", True),
        )

    def _changed(self, who: str) -> None:
        self._flags.bump(_VERSION, who)

    def _section(self, broker: str) -> BrokerSettings:
        section = self._sections.get(broker)
        if section is None:
            section = self._sections[broker] = self._settings.broker(broker)
        return section

    def _base_url(self, account: Account, section: BrokerSettings) -> str:
        if not self._settings.sandbox:
            return account.base_url or section.base_url
        if not section.base_url:
            raise Unavailable(
                f"This is a sandbox, and it has no simulator for '{account.broker}': "
                f"{_prefix(account.broker)}_BASE_URL is not set."
            )
        return section.base_url

    def _credentials(self, account: Account) -> dict[str, Secret]:
        if account.from_environment:
            section = self._section(account.broker)
            found = {
                name: Secret(value.get_secret_value())
                for name, value in section.credentials().items()
            }
        else:
            try:
                with self._database.read() as conn:
                    found = rows.credentials_of(conn, account.id, self._vault)
            except CannotOpen:
                raise Unavailable(
                    f"The credentials of '{account.label}' can't be opened: SECRET_KEY is not the "
                    "one they were sealed with. Add the account again."
                ) from None
        register_secret(*(secret.reveal() for secret in found.values()))
        return found

    def _create_shared(self, name: str) -> bool:
        """Make the row of the environment's account of one broker; True if it was not there."""
        if not self._section(name).has_credentials:
            return False
        with self._database.read() as conn:
            row = rows.find_account(conn, name)
        if row is not None:
            if row.source != rows.ENVIRONMENT:
                log.error(
                    "the label %s belongs to an account that a user added: the credentials in "
                    "the environment are not used", name,
                )
            return False
        shared = rows.NewAccount(label=name, broker=name, credentials={}, source=rows.ENVIRONMENT)
        try:
            with self._database.write() as conn:
                rows.create_account(conn, shared, self._vault, at=self._clock.now())
        except AlreadyExists:
            log.debug("account %s was made by another process", name)
        return True

    def _refuse_known_keys(self, broker: str, credentials: Mapping[str, Secret]) -> None:
        """Two accounts with one key would log each other out for ever."""
        for account in self.all():
            if account.broker != broker:
                continue
            known = self._credentials(account)
            if any(known.get(name) == value for name, value in credentials.items()):
                raise Conflict(
                    f"These credentials are in use by the account '{account.label}': one key can "
                    "have only one session."
                )


def _prefix(broker: str) -> str:
    return broker.split("_")[0].upper()


def _switch(broker: str) -> str:
    return f"broker.{broker}"
