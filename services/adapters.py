"""The adapters of this process: one per account, made at first need and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable

from broker.base import AccountConfig, Broker, Runtime
from broker.breaker import BreakerState
from services.accounts import Account, AccountService

_STATES = [BreakerState.CLOSED.value, BreakerState.HALF_OPEN.value, BreakerState.OPEN.value]


class Held:
    """An account's adapter, and which session it has attached.

    `stamp` is the state of the accounts that it was made from, `seen` the state of the sessions
    that was looked at last, `version` the stored version of the attached session. `foreign`: what
    is stored was opened with other settings, and nothing is attached. `lock` is held by whoever
    changes the session in this process.
    """

    __slots__ = ("broker", "config", "foreign", "lock", "mark", "seen", "stamp", "version")

    def __init__(self, broker: Broker, config: AccountConfig, mark: str, stamp: str) -> None:
        self.broker = broker
        self.config = config
        self.mark = mark
        self.stamp = stamp
        self.seen = ""
        self.version = -1
        self.foreign = False
        self.lock = threading.Lock()


class Adapters:
    """Makes adapters from accounts, and makes a new one when an account has changed."""

    def __init__(self, accounts: AccountService, runtime: Runtime) -> None:
        self._accounts = accounts
        self._runtime = runtime
        self._building = threading.Lock()
        self._held: dict[int, Held] = {}
        self._retired: list[Broker] = []

    def hold(self, account: Account) -> Held:
        """The account's adapter as the account is now."""
        stamp = self._accounts.stamp()
        held = self._held.get(account.id)
        if held is not None and held.stamp == stamp:
            return held
        with self._building:
            held = self._held.get(account.id)
            if held is not None and held.stamp == stamp:
                return held
            config = self._accounts.config(account)
            if held is not None and held.config == config:
                held.stamp = stamp
                return held
            if held is not None:  # calls under way may still use it
                self._retired.append(held.broker)
            build: Callable[..., Broker] = self._accounts.broker_class(account.broker)
            broker = build(config, self._runtime)
            held = Held(broker, config, self._accounts.mark(config), stamp)
            self._held[account.id] = held
            return held

    def circuits(self, broker: str) -> dict[str, str]:
        """How the circuits of a broker stand in this process, the worst of each API.

        Empty while this process has not used the broker.
        """
        found: dict[str, str] = {}
        for held in list(self._held.values()):
            if held.broker.info.name == broker:
                for api, state in held.broker.circuits().items():
                    found[api] = max(found.get(api, _STATES[0]), state, key=_STATES.index)
        return found

    def close(self) -> None:
        """Give back all connections; later needs make new adapters."""
        with self._building:
            brokers = [held.broker for held in self._held.values()] + self._retired
            self._held, self._retired = {}, []
        for broker in brokers:
            broker.close()
