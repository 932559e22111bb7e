"""What the process that loads a master contract is told, and what it answers.

The order goes through a pipe, never through arguments or the environment: it holds the account's
credentials and tokens. Answers are lines of JSON: `{"progress": …}` every half second, at last
`{"done": report}` or `{"failed": …}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.base import AccountConfig, Broker
from broker.models import Secret, Session


@dataclass(frozen=True, slots=True)
class ContractOrder:
    """Which contract to load, with which account and session, and where to put it.

    `exchanges` empty: every exchange of the broker. `force` accepts a contract that looks wrong.
    `symbols_url` is an SQLAlchemy URL; `slots_directory` is where pacing counts ("" = alone).
    """

    broker: str
    account: AccountConfig
    session: Session | None
    symbols_url: str
    exchanges: tuple[str, ...] = ()
    force: bool = False
    slots_directory: str = ""
    plugin_paths: tuple[str, ...] = ()

    @classmethod
    def for_broker(cls, broker: Broker, **rest: Any) -> ContractOrder:
        """The order for a connected adapter: its own account and session."""
        return cls(broker.info.name, broker.account, broker.session, **rest)

    def to_line(self) -> str:
        """One line of JSON, secrets in the clear: only for the pipe."""
        account = {name: getattr(self.account, name) for name in _ACCOUNT_FIELDS}
        account["options"] = dict(self.account.options)
        session = self.session
        return json.dumps({
            "broker": self.broker,
            "account": account,
            "credentials": _opened(self.account.credentials),
            "session": None if session is None else {
                "tokens": _opened(session.tokens),
                "details": session.details,
                "opened_at": session.opened_at.isoformat(),
                "expires_at": session.expires_at.isoformat(),
            },
            **{name: getattr(self, name) for name in _PLAIN_FIELDS},
        }) + "\n"

    @classmethod
    def from_line(cls, line: str) -> ContractOrder:
        """What `to_line` wrote."""
        data = json.loads(line)
        session = data["session"]
        return cls(
            broker=data["broker"],
            account=AccountConfig(credentials=_sealed(data["credentials"]), **data["account"]),
            session=None if session is None else Session(
                _sealed(session["tokens"]), session["details"],
                datetime.fromisoformat(session["opened_at"]),
                datetime.fromisoformat(session["expires_at"]),
            ),
            symbols_url=data["symbols_url"],
            exchanges=tuple(data["exchanges"]),
            force=data["force"],
            slots_directory=data["slots_directory"],
            plugin_paths=tuple(data["plugin_paths"]),
        )


_ACCOUNT_FIELDS = (
    "label", "cluster", "account_type", "client_id", "base_url", "host_lookup", "options",
    "api_timeout", "orders_per_second", "retry_count", "published_limits",
)
_PLAIN_FIELDS = ("symbols_url", "exchanges", "force", "slots_directory", "plugin_paths")


def _opened(secrets: Any) -> dict[str, str]:
    return {name: secret.reveal() for name, secret in secrets.items()}


def _sealed(values: dict[str, str]) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}
