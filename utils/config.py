"""The configuration: `load_settings()` reads, merges and validates it, or says all that is wrong.

Layers, each over the one before: defaults in code, `config/default.yaml`,
`config/<ENVIRONMENT>.yaml` (or the file that `CONFIG_PATH` names), `run/<PORT>/sandbox.env` (only
in the sandbox; written by whoever started the simulator), `.env`, what `SECRETS_COMMAND` prints,
and the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from utils.settings.brokers import CREDENTIAL_FIELDS, BrokerSettings, JainamSettings
from utils.settings.faults import ConfigurationError, Fault, from_validation
from utils.settings.kinds import ROOT
from utils.settings.layers import (
    Layer,
    Variables,
    dotenv_layer,
    environment_layer,
    merge,
    unknown_variables,
    variable,
    yaml_layer,
)
from utils.settings.model import Settings
from utils.settings.origins import manager_layer, with_new_names
from utils.settings.rules import RULES
from utils.version import VERSION

__all__ = [
    "PATHS",
    "ROOT",
    "SECRETS",
    "BrokerSettings",
    "ConfigurationError",
    "Fault",
    "JainamSettings",
    "Settings",
    "display",
    "given",
    "load_settings",
    "plain",
    "value_of",
]

_URLS_WITH_PASSWORDS = ("DATABASE_URL", "REDIS_URL")


def _paths(model: type[BaseModel], *prefix: str) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """(variable, path of fields, is a secret) of every setting."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _paths(info.annotation, *prefix, name)
        else:
            yield variable(*prefix, name), (*prefix, name), "SecretStr" in repr(info.annotation)


PATHS: dict[str, tuple[str, ...]] = {name: path for name, path, _ in _paths(Settings)}
"""Every variable, and the fields that lead to its value in `Settings`."""

SECRETS: frozenset[str] = frozenset(name for name, _, secret in _paths(Settings) if secret)
"""The variables that hold secrets; each may be given as `<NAME>_FILE`."""

_BROKERS = tuple(
    f"{name.upper()}_"
    for name, info in Settings.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, BrokerSettings)
)
_KNOWN = frozenset(PATHS) | {f"{name}_FILE" for name in SECRETS}
_GUARDED = ("RISK_", *_BROKERS)


def load_settings(
    *,
    env_file: Path | None = ROOT / ".env",
    environ: Mapping[str, str] | None = None,
    root: Path = ROOT,
) -> Settings:
    """Read and validate the whole configuration.

    env_file: the `.env` to read, None for none. environ: the environment, that of the process by
    default. root: the folder with `config/` and `run/`. Raises `ConfigurationError` with every
    fault at once.
    """
    layers, faults = _layers(env_file, os.environ if environ is None else environ, root)
    warnings: list[str] = []
    for index, layer in enumerate(layers):
        layers[index], found, said = with_new_names(layer, VERSION)
        faults += found
        warnings += said
    variables, found = merge(layers, SECRETS | _foreign_secrets(layers))
    faults += found
    faults += unknown_variables(layers, _KNOWN, _GUARDED)
    variables.warnings = warnings
    settings, found = _validate(variables)
    faults += found
    blamed = {fault.variable for fault in faults}
    for rule, needs in RULES:
        if blamed.isdisjoint(needs):
            faults += [fault for fault in rule(settings) if fault.variable not in blamed]
    if faults:
        raise ConfigurationError(faults)
    return settings


def _layers(
    env_file: Path | None, environ: Mapping[str, str], root: Path
) -> tuple[list[Layer], list[Fault]]:
    defaults, faults = yaml_layer(root / "config" / "default.yaml")
    dotenv, found = dotenv_layer(env_file)
    faults += found
    environment_variables = environment_layer(environ)
    early, _ = merge([defaults, dotenv, environment_variables], SECRETS)
    manager, found = manager_layer(early.get("SECRETS_COMMAND"), SECRETS)
    faults += found
    upper = [dotenv, manager, environment_variables]
    named = early.get("CONFIG_PATH")
    if named:
        chosen, found = yaml_layer(root / named, variable_naming_it="CONFIG_PATH")
    else:
        environment = early.get("ENVIRONMENT").lower() or "development"
        chosen, found = yaml_layer(root / "config" / f"{Path(environment).name}.yaml")
    faults += found
    lower = [defaults, chosen]
    sandbox = _sandbox_layer([*lower, *upper], root)
    return [*lower, sandbox, *upper], faults


def _sandbox_layer(layers: list[Layer], root: Path) -> Layer:
    """The simulator's address and keys, for every process of the gateway on this port."""
    nothing = Layer("sandbox", {})
    variables, _ = merge(layers, SECRETS)
    asked_for = variables.get("SANDBOX").lower() in ("true", "1", "yes", "on")
    by_default = variables.get("ENVIRONMENT").lower() in ("", "development")
    refused = bool(variables.get("SANDBOX")) and not asked_for
    credentials = {prefix + name.upper() for prefix in _BROKERS for name in CREDENTIAL_FIELDS}
    if refused or not (asked_for or by_default) or credentials & variables.values.keys():
        return nothing
    port = variables.get("PORT") or str(Settings.model_fields["port"].default)
    written, _ = dotenv_layer(root / "run" / Path(port).name / "sandbox.env")
    return Layer("sandbox", written.values)


def _foreign_secrets(layers: list[Layer]) -> frozenset[str]:
    """Credentials of brokers that `Settings` does not document: `ACME_MARKET_API_KEY`."""
    endings = tuple(f"_{name.upper()}" for name in CREDENTIAL_FIELDS)
    names = (name.removesuffix("_FILE") for layer in layers for name in layer.values)
    return frozenset(name for name in names if name.endswith(endings))


def _validate(variables: Variables) -> tuple[Settings, list[Fault]]:
    """The settings and the faults of single values; a faulty value gives way to its default."""
    faults: list[Fault] = []
    try:
        settings = Settings(**_nested(variables, frozenset()))
    except ValidationError as error:
        faults = from_validation(error)
        settings = Settings(**_nested(variables, {fault.variable for fault in faults}))
    settings._variables = variables
    return settings, faults


def _nested(variables: Variables, without: frozenset[str] | set[str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, path in PATHS.items():
        if name not in variables.values or name in without:
            continue
        value = variables.values[name]
        place = nested
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
    return nested


def value_of(settings: Settings, name: str) -> Any:
    """The value of a variable such as `JAINAM_RATE_LIMIT`."""
    value: Any = settings
    for part in PATHS[name]:
        value = getattr(value, part)
    return value


def plain(secret: SecretStr | None) -> str:
    """The text of a secret, "" where there is none."""
    return "" if secret is None else secret.get_secret_value()


def given(settings: Settings) -> dict[str, str]:
    """Every variable that an operator set, with open secrets: for backups, and only for them.

    What stands in the `config/` of a release, and BACKUP_KEY itself, are left out.
    """
    shipped = ("default.yaml", f"{settings.environment}.yaml")
    endings = tuple(f"_{name.upper()}" for name in BrokerSettings.model_fields)
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings._variables.values.items()
        if (name in PATHS or name.endswith(endings))
        and not name.startswith("BACKUP_KEY")
        and settings.origin(name) not in shipped
    }


def display(settings: Settings, name: str) -> str:
    """A variable's value for people; a secret says only whether it is set."""
    value = value_of(settings, name)
    if name in SECRETS:
        given = isinstance(value, SecretStr) and bool(value.get_secret_value())
        return "(set)" if given else "(not set)"
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else str(value)
