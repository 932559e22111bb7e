"""A process of the gateway in small: flags, access, accounts and sessions over one database.

Several `Stack`s over one database and one lock folder stand for several processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from broker.base import AccountConfig, Clock, Observer, Runtime, SlotStore
from broker.slots import MemorySlotStore
from database.crypto import Vault
from database.engine import Database
from services.access import AccessService, Principal
from services.accounts import Account, AccountService, Brokers
from services.alarms import AlarmService
from services.flags import FlagService
from services.locks import HostLocks
from services.observer import BrokerObserver
from services.session_policy import LoginPolicy
from services.sessions import SessionService
from tests.support.venue import CREDENTIALS, VENUES, Plugins, Venue
from utils.config import Settings, load_settings

BASE_URL = "http://127.0.0.1:1"
SECRET_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978"
PEPPER = "9a8b7c6d5e4f30213243546576879810a1b2c3d4e5f60718"


def settings_of(**variables: str) -> Settings:
    """Settings from these variables and nothing else of the machine's."""
    return load_settings(
        env_file=None,
        environ={"SECRET_KEY": SECRET_KEY, "API_KEY_PEPPER": PEPPER, **variables},
        root=Path("/nonexistent"),
    )


def environment(**variables: str) -> dict[str, str]:
    """The variables of a gateway whose `jainam_prop` account talks to a test venue."""
    names = {f"JAINAM_{name.upper()}": value for name, value in CREDENTIALS.items()}
    return {**names, "JAINAM_BASE_URL": BASE_URL, **variables}


class Stack:
    """The services that belong together, as `services.gateway` wires them."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        clock: Clock,
        *,
        variables: Mapping[str, str] | None = None,
        registry: Brokers | None = None,
        policy: LoginPolicy | None = None,
        slots: SlotStore | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.settings = settings_of(**(environment() if variables is None else variables))
        self.database = database
        self.folder = folder
        self.clock = clock
        self.vault = Vault(SECRET_KEY)
        self.flags = FlagService(database, clock)
        self.locks = HostLocks(folder / "locks", clock)
        self.alarms = AlarmService(database, clock)
        self.access = AccessService(
            database, self.flags, clock, PEPPER, background=lambda work: work()
        )
        self.accounts = AccountService(
            database, self.settings, registry or Plugins(), self.flags, self.vault, clock
        )
        self.observer = observer or BrokerObserver(self.alarms, clock)
        self.runtime = Runtime(
            clock=clock, slots=slots or MemorySlotStore(clock), observer=self.observer
        )
        self.sessions = SessionService(
            database,
            self.accounts,
            self.flags,
            self.locks,
            self.alarms,
            self.vault,
            self.runtime,
            policy=policy,
        )

    @property
    def account(self) -> Account:
        """The environment's account."""
        found = self.accounts.find("jainam_prop")
        assert found is not None
        return found

    def user(self, name: str = "asha", *, is_admin: bool = False) -> Principal:
        """A new user."""
        return self.access.create_user(name, f"a long password of {name}", is_admin=is_admin)

    def config(self) -> AccountConfig:
        """The environment's account as its adapter sees it."""
        return self.accounts.config(self.account)


def new_venue() -> Venue:
    """A fresh venue at the base URL of the tests."""
    VENUES[BASE_URL] = Venue()
    return VENUES[BASE_URL]
