"""What an account is, what a person says to add one, and what is needed of the broker plug-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from broker.base import Broker
from database.accounts import ENVIRONMENT
from services.access import Principal


@dataclass(frozen=True, slots=True)
class Account:
    """A named connection to a broker. `owner_id` None: shared by all users of the instance.

    `sandbox` says that it talks to the simulator. `source` is "environment" or "user".
    """

    id: int
    label: str
    broker: str
    cluster: str
    account_type: str
    client_id: str
    owner_id: int | None
    source: str
    sandbox: bool
    host_lookup: bool = True
    base_url: str = ""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def from_environment(self) -> bool:
        """Whether its credentials stand in the environment, and it can't be changed here."""
        return self.source == ENVIRONMENT

    def usable_by(self, principal: Principal) -> bool:
        """Whether this principal may trade with the account and see its books."""
        return self.owner_id is None or self.owner_id == principal.user_id


Accounts = list[Account]


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What a person says of an account to add. `options` overrides rules of the declaration."""

    label: str
    broker: str
    credentials: Mapping[str, str] = field(repr=False)
    cluster: str = ""
    account_type: str = ""
    client_id: str = ""
    base_url: str = ""
    host_lookup: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
    shared: bool = False


class Brokers(Protocol):
    """What is needed of `broker.registry.Registry`: the plug-ins that were found."""

    def names(self) -> Sequence[str]: ...

    def get(self, name: str) -> type[Broker]: ...
