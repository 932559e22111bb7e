"""`.env.example` and `docs/configuration.md`, made from the settings class.

A test compares both files with what this module makes, so that neither can miss a variable, keep
one that is gone, or tell another default.
"""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from utils.config import PATHS, SECRETS, Settings

GROUPS: dict[str, str] = {
    "General": "What kind of installation this is.",
    "Server": "Where the gateway listens. Several workers of one host need nothing else.",
    "Secrets": (
        "Never commit these, never send them in a chat or mail, and keep .env at mode 600. "
        "Every one can be given by a file: SECRET_KEY_FILE=/run/secrets/key."
    ),
    "Storage": "SQLite serves one host. Several hosts take PostgreSQL and Redis, together.",
    "Logs and metrics": "JSON logs on the console and in LOG_DIR; Prometheus at /metrics.",
    "Inbound limits": "What callers may ask of the gateway; the pacer protects the broker.",
    "Brokers": (
        "JAINAM_ is Jainam Prop, WISDOM_ is Wisdom Capital; another broker reads the first word "
        "of its name, such as ACME_ENABLED. Credentials are real money: with all four set, orders "
        "go to the exchange."
    ),
    "Sandbox": "Trading with the simulator on this machine, for development and trying out.",
    "Risk": (
        "Limits for each account; all are off until set, and a refusal names the rule "
        "(docs/risk.md). The risk page sets other limits for single accounts."
    ),
    "Backup": (
        "Backups are made by themselves as soon as BACKUP_KEY is set; where they go, and how long "
        "they stay. See docs/operations/disaster-recovery.md."
    ),
}

_ENV_HEAD = """\
# Every setting of the gateway. Copy what you need to .env; `make run` writes the secrets there.
# The environment wins over .env, and .env over config/*.yaml. An empty value counts as not set.
# Made from utils/settings by `python scripts/gen_config_docs.py`.
"""

_PAGE_HEAD = """\
# Configuration

<!-- Made from utils/settings by `python scripts/gen_config_docs.py`; edit there. -->

Settings come in layers, each over the one before: defaults in code, `config/default.yaml`,
`config/<ENVIRONMENT>.yaml` (or the file that `CONFIG_PATH` names), `.env`, the environment. An
empty value counts as not set. In YAML a name is written in small letters and may be nested:
`jainam: {rate_limit: 5}` is `JAINAM_RATE_LIMIT`.

A secret may come from a file: `SECRET_KEY_FILE=/run/secrets/key` stands for `SECRET_KEY`, and so
for every variable of the kind "secret". Nothing is interpolated: a `$` in a secret is a `$`.

The gateway checks everything at its start and says all faults at once, each by the name of its
variable and never by its value; `flask --app app config check` does the same and serves nothing.
A misspelt variable in a YAML file, or one that starts with `JAINAM_`, `WISDOM_` or `RISK_`, is a
fault too: it would otherwise leave a limit off in silence.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One variable as documents show it."""

    name: str
    group: str
    meaning: str
    kind: str
    default: str
    example: str
    secret: bool


def entries() -> Iterator[Entry]:
    """Every variable, in the order of the class."""
    for name, path in PATHS.items():
        info = _field(path)
        extra = info.json_schema_extra
        assert isinstance(extra, dict)  # noqa: S101 - `setting()` made it
        secret = name in SECRETS
        yield Entry(
            name=name,
            group=str(extra["group"]),
            meaning=str(info.description),
            kind="secret" if secret else _kind(info.annotation),
            default=_default(info, extra["default_text"]),
            example=str(extra["example"] or ""),
            secret=secret,
        )


def _field(path: tuple[str, ...]) -> FieldInfo:
    model: Any = Settings
    for part in path[:-1]:
        model = model.model_fields[part].annotation
    info: FieldInfo = model.model_fields[path[-1]]
    return info


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin is Literal:
        return "one of " + ", ".join(get_args(annotation))
    if origin is tuple:
        return "list"
    names = {bool: "true or false", int: "whole number", float: "number", Decimal: "number"}
    return {**names, Path: "path", str: "text"}[annotation]


def _default(info: FieldInfo, text: Any) -> str:
    if text is not None:
        return str(text)
    value = info.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if value is None or value == () or isinstance(value, SecretStr):
        return ""
    return str(value)


def env_example() -> str:
    """The text of `.env.example`: every variable, commented out, with its meaning and default."""
    lines = _ENV_HEAD.splitlines()
    known = list(entries())
    for group, text in GROUPS.items():
        lines += ["", f"# --- {group} " + "-" * (70 - len(group))]
        lines += textwrap.wrap(text, 96, initial_indent="# ", subsequent_indent="# ")
        for entry in known:
            if entry.group == group:
                default = f" Default: {entry.default}." if entry.default else ""
                about = f"{_sentence(entry.meaning)} ({entry.kind}){default}"
                lines += [
                    "",
                    *textwrap.wrap(about, 96, initial_indent="# ", subsequent_indent="# "),
                ]
                lines.append(f"#{entry.name}={entry.example}")
    return "\n".join(lines) + "\n"


def configuration_page() -> str:
    """The text of `docs/configuration.md`."""
    lines = _PAGE_HEAD.splitlines()
    known = list(entries())
    for group, text in GROUPS.items():
        lines += ["", f"## {group}", "", *textwrap.wrap(text, 96), ""]
        lines += ["| variable | meaning | kind | default | example |", "|---|---|---|---|---|"]
        for entry in known:
            if entry.group == group:
                cells = (
                    f"`{entry.name}`",
                    _sentence(entry.meaning),
                    entry.kind,
                    entry.default or "–",
                    f"`{entry.example}`" if entry.example else "–",
                )
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _sentence(meaning: str) -> str:
    return meaning[0].upper() + meaning[1:] + "."
