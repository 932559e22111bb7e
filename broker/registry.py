"""Finds broker packages: folders with a `plugin.json`, and installed entry points.

A broken package is reported and left out; it never keeps the others from working.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from broker.base import Broker, BrokerInfo

ENTRY_POINT_GROUP = "openalgo_brokers"
_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A broker that can be used. `source` is its folder or its distribution.

    `exchanges` is what its `plugin.json` lists, for readers that import nothing; None without one.
    """

    name: str
    title: str
    version: str
    description: str
    source: str
    broker: type[Broker]
    exchanges: tuple[str, ...] | None = None


class UnknownBroker(LookupError):
    """No usable broker has this name."""


class Registry:
    """The brokers that were found, by name; `broken` says what is wrong with the others."""

    def __init__(self, plugins: Iterable[Plugin], broken: Mapping[str, str]) -> None:
        self._plugins = {plugin.name: plugin for plugin in plugins}
        self.broken: dict[str, str] = dict(broken)

    def names(self) -> list[str]:
        """All usable brokers, in the order of the alphabet."""
        return sorted(self._plugins)

    def plugin(self, name: str) -> Plugin:
        """What the package says of itself. `UnknownBroker` when there is none."""
        try:
            return self._plugins[name]
        except KeyError:
            raise UnknownBroker(f"There is no broker called '{name}'.") from None

    def get(self, name: str) -> type[Broker]:
        """The class; an account of the broker is `cls(account, runtime)`."""
        return self.plugin(name).broker

    def info(self, name: str) -> BrokerInfo:
        """The broker's own declaration."""
        return self.plugin(name).broker.info


class _Broken(Exception):
    """Why a package cannot be used, as a sentence."""


def discover(paths: Sequence[Path] | None = None) -> Registry:
    """Look through the folders in `paths` (default: this package's own) and the entry points.

    Each folder of `paths` holds packages; one with a `plugin.json` is a broker. Of two with the
    same name the first stays, in the order of `paths`, then entry points.
    """
    found: dict[str, Plugin] = {}
    broken: dict[str, str] = {}

    def add(label: str, plugin: Plugin) -> None:
        if plugin.name in found:
            first = found[plugin.name].source
            broken[f"{plugin.name} ({label})"] = f"The name is taken by {first}."
        else:
            found[plugin.name] = plugin

    for path in [Path(__file__).parent] if paths is None else paths:
        for file in sorted(Path(path).glob("*/plugin.json")):
            label = file.parent.name
            try:
                add(label, _from_folder(file))
            except _Broken as error:
                broken[label] = str(error)
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda each: each.name):
        try:
            add(_source(entry), _from_entry_point(entry))
        except _Broken as error:
            broken[entry.name] = str(error)
    return Registry(found.values(), broken)


def _from_folder(file: Path) -> Plugin:
    try:
        declared = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _Broken(f"plugin.json cannot be read: {error}.") from error
    if not isinstance(declared, dict):
        raise _Broken("plugin.json must hold an object.")
    texts = {key: declared.get(key) for key in ("name", "title", "class", "version")}
    for key, value in texts.items():
        if not isinstance(value, str) or not value:
            raise _Broken(f"plugin.json must give '{key}' as text.")
    home = str(file.parent.parent.resolve())
    if home != str(Path(__file__).parent.resolve()) and home not in sys.path:
        sys.path.append(home)
    return Plugin(
        name=_checked(str(texts["name"])),
        title=str(texts["title"]),
        version=str(texts["version"]),
        description=str(declared.get("description", "")),
        source=file.parent.name,
        broker=_load(str(texts["class"]), str(texts["name"])),
        exchanges=_texts(declared.get("supported_exchanges", [])),
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _Broken("plugin.json must give 'supported_exchanges' as a list of codes.")
    return tuple(value)


def _from_entry_point(entry: EntryPoint) -> Plugin:
    broker = _load(entry.value, _checked(entry.name))
    return Plugin(
        name=entry.name,
        title=broker.info.title,
        version=entry.dist.version if entry.dist else "",
        description=str(entry.dist.metadata.json.get("summary", "")) if entry.dist else "",
        source=_source(entry),
        broker=broker,
    )


def _source(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise _Broken("A broker's name is 2 to 40 characters of a-z, 0-9 and _.")
    return name


def _load(target: str, name: str) -> type[Broker]:
    """Import 'module:Class' and see that it can serve. A package's code may fail in any way."""
    module, _, attribute = target.partition(":")
    try:
        loaded = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise _Broken(f"'{target}' cannot be loaded: {type(error).__name__}: {error}") from error
    if not (inspect.isclass(loaded) and issubclass(loaded, Broker)):
        raise _Broken(f"'{target}' is no class derived from Broker.")
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        raise _Broken(f"'{target}' leaves out {missing}.")
    for attribute in ("info", "capabilities"):
        if not hasattr(loaded, attribute):
            raise _Broken(f"'{target}' declares no {attribute}.")
    if loaded.info.name != name:
        raise _Broken(f"'{target}' calls itself '{loaded.info.name}', the package '{name}'.")
    return loaded
