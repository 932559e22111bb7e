"""Where settings come from: YAML files, `.env`, the environment, and files that hold secrets.

A layer is a mapping of variable names to raw values. Layers are merged by name, a later one over
an earlier one; a variable set to nothing counts as not set and so gives back the default. In any
layer a secret may be given by a file: `SECRET_KEY_FILE=/run/secrets/key` stands for `SECRET_KEY`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr

from utils.settings.faults import Fault

DEFAULT = "default"
_LONGEST_SECRET_FILE = 65_536


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of variables; `strict` ones hold nothing but settings of ours."""

    name: str
    values: Mapping[str, Any]
    strict: bool = False


@dataclass(slots=True)
class Variables:
    """The merged variables, and the layer that each came from."""

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    origins: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def get(self, variable: str) -> str:
        """A plain variable's text, "" when it is not set."""
        value = self.values.get(variable, "")
        return "" if isinstance(value, SecretStr) else str(value)

    def origin(self, variable: str) -> str:
        """The name of the layer that set a variable."""
        return self.origins.get(variable, DEFAULT)

    def section(self, prefix: str, model: type[BaseModel]) -> dict[str, Any]:
        """The values of the fields of `model`, by field name, from `PREFIX_FIELD` variables."""
        names = {field: variable(prefix, field) for field in model.model_fields}
        return {field: self.values[name] for field, name in names.items() if name in self.values}


def variable(*words: str) -> str:
    """`("jainam", "rate_limit")` is `JAINAM_RATE_LIMIT`."""
    return "_".join(word for word in words if word).upper()


def merge(layers: list[Layer], secrets: frozenset[str]) -> tuple[Variables, list[Fault]]:
    """All layers, lowest first, as one. `secrets` are the variables that a file may give."""
    merged, faults = Variables(), []
    for layer in layers:
        values, found = _with_secret_files(layer, secrets)
        faults += found
        for name, value in values.items():
            if value is None or (isinstance(value, str) and not value.strip()):
                merged.values.pop(name, None)
                merged.origins.pop(name, None)
                continue
            held = SecretStr(str(value)) if name in secrets else value
            if name in merged.values and merged.values[name] == held:
                continue  # Flask's command line repeats `.env` in the environment
            merged.values[name] = held
            merged.origins[name] = layer.name
    return merged, faults


def _with_secret_files(layer: Layer, secrets: frozenset[str]) -> tuple[dict[str, Any], list[Fault]]:
    values, faults = dict(layer.values), []
    for name in sorted(secrets):
        file_variable = f"{name}_FILE"
        path = values.pop(file_variable, None)
        if not path:
            continue
        if values.get(name):
            faults.append(Fault(name, f"is set twice: take either it or {file_variable}"))
            continue
        try:
            with Path(str(path)).open(encoding="utf-8") as stream:
                text = stream.read(_LONGEST_SECRET_FILE).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            faults.append(Fault(file_variable, f"names a file that can't be read: {reason}"))
            continue
        if not text:
            faults.append(Fault(file_variable, "names an empty file"))
            continue
        values[name] = text
    return values, faults


def unknown_variables(
    layers: list[Layer], known: frozenset[str], guarded: tuple[str, ...]
) -> Iterator[Fault]:
    """Misspelt variables: anything in a strict layer, and what starts with a `guarded` prefix.

    A typing error in `RISK_…` would silently leave a limit off.
    """
    for layer in layers:
        for name in layer.values:
            if name in known or not (layer.strict or name.startswith(guarded)):
                continue
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield Fault(name, f"is no setting ({layer.name}){hint}")


def yaml_layer(path: Path, *, variable_naming_it: str = "") -> tuple[Layer, list[Fault]]:
    """A YAML file. Nested keys are joined: `jainam: {rate_limit: 5}` is `JAINAM_RATE_LIMIT`.

    A file that is not there is an empty layer, unless `variable_naming_it` asked for it.
    """
    blame = variable_naming_it or path.name
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        found = [Fault(blame, "names a file that does not exist")] if variable_naming_it else []
        return Layer(path.name, {}), found
    except (OSError, UnicodeDecodeError):
        return Layer(path.name, {}), [Fault(blame, "can't be read")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        return Layer(path.name, {}), [Fault(blame, f"is not valid YAML{where}")]
    if not isinstance(content, dict):
        return Layer(path.name, {}), [Fault(blame, "should be a table of settings")]
    return Layer(path.name, dict(_flatten(content)), strict=True), []


def _flatten(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = variable(prefix, str(key))
        if isinstance(value, Mapping):
            yield from _flatten(value, name)
        elif isinstance(value, list):
            yield name, ",".join(str(item) for item in value)
        else:
            yield name, value


def dotenv_layer(path: Path | None) -> tuple[Layer, list[Fault]]:
    """A `.env` file, without interpolation: a `$` in a secret is a `$`."""
    if path is None or not path.is_file():
        return Layer(".env", {}), []
    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError):
        return Layer(".env", {}), [Fault(path.name, "can't be read")]
    return Layer(".env", {name.upper(): value for name, value in values.items()}), []


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """The process environment."""
    return Layer("environment", dict(environ))
