"""With which account a broker's master contract is downloaded: any that is connected will do."""

from __future__ import annotations

from typing import Protocol

from broker.base import Broker
from broker.errors import BrokerError
from services.account_models import Account
from services.accounts import AccountService
from services.errors import NotFoundHere, ServiceError
from services.sessions import SessionService


class ContractSource(Protocol):
    """Where `MasterContractService` gets a connected adapter from."""

    def check(self, broker: str) -> None:
        """Raise what speaks against a download at once: unknown, disabled, no account."""

    def connect(self, broker: str) -> Broker:
        """An adapter with a session; logs in where that is needed and allowed."""

    def renew(self, broker: Broker, *, partial: bool) -> Broker:
        """The same adapter with another session, after its session was found dead."""


class AccountSource:
    """The accounts of the instance as a source: shared ones first, then in order of age."""

    def __init__(self, accounts: AccountService, sessions: SessionService) -> None:
        self._accounts = accounts
        self._sessions = sessions

    def check(self, broker: str) -> None:
        """See `ContractSource.check`."""
        self._accounts.broker_class(broker)
        self._accounts.require_broker(broker)
        self._candidates(broker)

    def connect(self, broker: str) -> Broker:
        """The first account that has a session or can get one; else why the first has none."""
        first: BrokerError | ServiceError | None = None
        for account in self._candidates(broker):
            try:
                return self._sessions.connection(account)
            except (BrokerError, ServiceError) as error:
                first = first or error
        raise first or _no_account(broker)

    def renew(self, broker: Broker, *, partial: bool) -> Broker:
        """See `ContractSource.renew`."""
        account = self._accounts.find(broker.account.label)
        if account is None:
            raise _no_account(broker.info.name)
        self._sessions.renew(account, broker.session, partial=partial)
        return self._sessions.connection(account)

    def _candidates(self, broker: str) -> list[Account]:
        mine = [account for account in self._accounts.all() if account.broker == broker]
        if not mine:
            raise _no_account(broker)
        connected = {
            account.id for account in mine if self._sessions.status(account).connected
        }
        return sorted(mine, key=lambda each: (
            each.id not in connected, not each.from_environment, each.id
        ))


def _no_account(broker: str) -> NotFoundHere:
    return NotFoundHere(
        f"The broker '{broker[:40]}' has no account to download with. Add one, or set its "
        "credentials."
    )
