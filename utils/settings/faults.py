"""What is wrong with the configuration: every fault at once, by variable, never by value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the variable to change, and how."""

    variable: str
    message: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.message}"


class ConfigurationError(Exception):
    """The configuration can't be used; `faults` says everything that has to change."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"The configuration has {count}:\n{lines}")


def variable_name(location: Sequence[str | int], prefix: str = "") -> str:
    """`("jainam", "rate_limit")` is `JAINAM_RATE_LIMIT`."""
    words = [prefix, *(part for part in location if isinstance(part, str))]
    return "_".join(word for word in words if word).upper()


def from_validation(error: ValidationError, prefix: str = "") -> list[Fault]:
    """Pydantic's findings as faults; what was put in stays out of them."""
    faults = []
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        if found["type"] == "default_factory_not_called":  # a default that waits for another field
            continue
        text = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
        faults.append(Fault(variable_name(found["loc"], prefix), text))
    return faults
