"""Gateway services that talk to the simulator through the real adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from broker.base import Clock
from broker.registry import discover
from broker.slots import FileSlotStore
from database.engine import Database
from services.session_policy import LoginPolicy
from simulator.testing import credential
from tests.support.stacks import Stack

FIELDS = {
    "interactive_api_key": "interactive_key",
    "interactive_api_secret": "interactive_secret",
    "market_api_key": "market_key",
    "market_api_secret": "market_secret",
}


def credentials(profile: str, label: str | None = None) -> dict[str, str]:
    """The simulator's login of a profile, in the names of a broker's credentials."""
    return credentials_of(credential(profile, label))


def credentials_of(public: dict[str, Any]) -> dict[str, str]:
    """A login as the simulator shows it, in the names of a broker's credentials."""
    return {ours: str(public[theirs]) for ours, theirs in FIELDS.items()}


def variables(
    url: str, profile: str = "jainam-b", label: str | None = None, **more: str
) -> dict[str, str]:
    """The environment of a gateway whose default account is a login of the simulator."""
    names = {
        f"JAINAM_{name.upper()}": value for name, value in credentials(profile, label).items()
    }
    cluster = profile.removeprefix("jainam-").upper()
    return {**names, "JAINAM_BASE_URL": url, "JAINAM_SYMPHONY_SERVER": cluster, **more}


def simulated_stack(
    database: Database,
    folder: Path,
    clock: Clock,
    environment: dict[str, str],
    *,
    policy: LoginPolicy | None = None,
) -> Stack:
    """A process of a gateway with the registered brokers and pacing that processes share."""
    slots = FileSlotStore(folder / "slots", clock)
    return Stack(
        database, folder, clock, variables=environment, registry=discover(), policy=policy,
        slots=slots,
    )
