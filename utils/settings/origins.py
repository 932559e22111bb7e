"""Two ways in which variables come about: from a secrets manager, and under a name of before.

`SECRETS_COMMAND` is run at every start and prints secrets, as one JSON object or as NAME=value
lines: whatever talks to AWS, Vault or a password store. It is split like a shell's words, but no
shell runs it. A renamed variable goes on working under its old name, with a warning, until the
release that the table names.
"""

from __future__ import annotations

import io
import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from dotenv import dotenv_values

from utils.settings.faults import Fault
from utils.settings.layers import Layer

COMMAND = "SECRETS_COMMAND"
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Renamed:
    """What a variable is called now, and the release in which the old name ends."""

    now: str
    ends: str


RENAMED: Mapping[str, Renamed] = {}
"""Old names. One that is added here keeps working; after its release it is a fault that says so."""


def manager_layer(command: str, secrets: frozenset[str]) -> tuple[Layer, list[Fault]]:
    """The secrets that the command prints; faults never repeat what it said."""
    nothing = Layer("secrets manager", {})
    if not command:
        return nothing, []
    try:
        done = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )
    except ValueError:
        return nothing, [Fault(COMMAND, "has a quotation mark without its other half")]
    except OSError as error:
        return nothing, [Fault(COMMAND, f"can't be run: {error.strerror}")]
    except subprocess.TimeoutExpired:
        return nothing, [Fault(COMMAND, f"did not end within {_SECONDS:g} s")]
    if done.returncode != 0:
        return nothing, [Fault(COMMAND, f"ended with status {done.returncode}")]
    values = _parsed(done.stdout)
    if values is None:
        return nothing, [Fault(COMMAND, "printed neither a JSON object nor NAME=value lines")]
    foreign = sorted(name for name in values if name not in secrets)
    if foreign:
        return nothing, [
            Fault(COMMAND, f"gave {', '.join(foreign)}: only secrets may come from there")
        ]
    return Layer("secrets manager", values), []


def _parsed(text: str) -> dict[str, str] | None:
    stripped = text.strip()
    if stripped.startswith("{"):
        try:
            found = json.loads(stripped)
        except ValueError:
            return None
        if not all(isinstance(value, str) for value in found.values()):
            return None
        return {str(name).upper(): value for name, value in found.items()}
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    if not values or any(value is None for value in values.values()):
        return None
    return {name.upper(): str(value) for name, value in values.items()}


def with_new_names(
    layer: Layer, version: str, renamed: Mapping[str, Renamed] = RENAMED
) -> tuple[Layer, list[Fault], list[str]]:
    """The layer under the names of now; faults, and warnings in sentences."""
    values = dict(layer.values)
    faults: list[Fault] = []
    warnings: list[str] = []
    for old, new in renamed.items():
        if values.get(old) in (None, ""):
            continue
        if _number(version) >= _number(new.ends):
            faults.append(Fault(old, f"is called {new.now} since release {new.ends}"))
            continue
        if values.get(new.now) not in (None, ""):
            faults.append(Fault(old, f"is the old name of {new.now}, which is set as well"))
            continue
        values[new.now] = values.pop(old)
        warnings.append(
            f"{old} ({layer.name}) is called {new.now} now; the old name ends with {new.ends}."
        )
    return Layer(layer.name, values, layer.strict), faults, warnings


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())
