"""Parameters of strategies: what a program that trades reads at its start, and a person changes.

They belong to a user, like the API key that reads them; the name of the strategy is the one that
its orders carry. Values are texts; what they mean is the strategy's business.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from broker.base import Clock
from database import strategies
from database.engine import Database
from services.access import Principal
from services.errors import InvalidRequest

MOST = 100
LONGEST_VALUE = 1_000
LONGEST_STRATEGY = 128
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class StrategyService:
    """Reads and changes the parameters of a user's strategies."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def parameters(self, principal: Principal, strategy: str) -> dict[str, str]:
        """The parameters of a strategy of the principal's; {} where none was set."""
        with self._database.read() as conn:
            return strategies.read(conn, principal.user_id, strategy)

    def names(self, principal: Principal) -> dict[str, int]:
        """The principal's strategies that have parameters, and how many."""
        with self._database.read() as conn:
            return strategies.names(conn, principal.user_id)

    def change(
        self, principal: Principal, strategy: str, values: Mapping[str, str],
        remove: Collection[str] = (), *, by: str = "",
    ) -> dict[str, str]:
        """Set some parameters and take others away, all or none; what there is then."""
        faults = _faults(strategy, values, remove)
        if faults:
            raise InvalidRequest(next(iter(faults.values()))[0], errors=faults)
        with self._database.write() as conn:
            strategies.remove(conn, principal.user_id, strategy, remove)
            strategies.write(
                conn, principal.user_id, strategy, values, at=self._clock.now(),
                by=by or principal.name,
            )
            found = strategies.read(conn, principal.user_id, strategy)
            if len(found) > MOST:
                raise InvalidRequest(
                    f"A strategy has at most {MOST} parameters.", field="parameters"
                )
        return found


def _faults(
    strategy: str, values: Mapping[str, str], remove: Collection[str]
) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    if not 0 < len(strategy) <= LONGEST_STRATEGY or not strategy.isprintable():
        faults["strategy"] = [f"Name a strategy, with at most {LONGEST_STRATEGY} characters."]
    if any(not _NAME.fullmatch(name) for name in [*values, *remove]):
        faults["parameters"] = [
            "A parameter's name has 1 to 64 letters, digits, dots, dashes and underscores."
        ]
    elif any(len(v) > LONGEST_VALUE or not v.isprintable() for v in values.values()):
        faults["parameters"] = [
            f"A parameter's value has at most {LONGEST_VALUE:,} printable characters."
        ]
    elif set(values) & set(remove):
        faults["remove"] = ["A parameter is either set or removed."]
    return faults
