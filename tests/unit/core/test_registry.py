"""Finding brokers: by folder, by entry point, and what happens to a broken one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from broker import registry
from broker.base import Broker
from broker.registry import UnknownBroker, discover

CODE = '''
from broker.base import Broker, BrokerInfo, Capabilities

METHODS = {name: lambda self, *args, **options: None for name in Broker.__abstractmethods__}
Good = type("Good", (Broker,), {
    **METHODS,
    "info": BrokerInfo(name="%(name)s", title="A venue", credentials=()),
    "capabilities": Capabilities(frozenset(), frozenset(), frozenset()),
})
Bare = type("Bare", (Broker,), METHODS)
class Abstract(Broker):
    pass
class Other:
    pass
'''


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def package(root: Path, name: str, target: str = "", code: str = CODE, **more: object) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "adapter.py").write_text(code % {"name": name} if "%(name)s" in code else code)
    declared = {
        "name": name, "title": f"Title of {name}", "version": "1.2", "description": "A test.",
        "class": target or f"{name}.adapter:Good", "supported_exchanges": ["NSE"], **more,
    }
    (folder / "plugin.json").write_text(json.dumps(declared))


def test_folder_with_a_declaration_is_a_broker(tmp_path: Path) -> None:
    package(tmp_path, "venue_b")
    package(tmp_path, "venue_a")
    (tmp_path / "no_broker").mkdir()
    found = discover([tmp_path])
    assert found.names() == ["venue_a", "venue_b"]
    assert found.broken == {}
    assert issubclass(found.get("venue_a"), Broker)
    assert found.info("venue_a").title == "A venue"
    plugin = found.plugin("venue_b")
    assert (plugin.title, plugin.version, plugin.description, plugin.exchanges) == (
        "Title of venue_b", "1.2", "A test.", ("NSE",),
    )


def test_unknown_name_is_told() -> None:
    with pytest.raises(UnknownBroker, match="no broker called 'nobody'"):
        discover([]).get("nobody")


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("bad_a.missing:Good", CODE, "ModuleNotFoundError"),
        ("bad_a.adapter:Missing", CODE, "AttributeError"),
        ("bad_a.adapter", CODE, "cannot be loaded"),
        ("", "raise SystemExit('no licence')", "SystemExit: no licence"),
        ("", "def (", "SyntaxError"),
        ("bad_a.adapter:Other", CODE, "no class derived from Broker"),
        ("bad_a.adapter:Abstract", CODE, "leaves out attach, cancel"),
        ("bad_a.adapter:Bare", CODE, "declares no info"),
        ("", CODE.replace("%(name)s", "someone_else"), "calls itself 'someone_else'"),
    ],
)
def test_broken_one_is_reported_and_the_others_stay(
    tmp_path: Path, target: str, code: str, reason: str
) -> None:
    package(tmp_path, "bad_a", target, code)
    package(tmp_path, "good_a")
    found = discover([tmp_path])
    assert found.names() == ["good_a"]
    assert reason in found.broken["bad_a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "must hold an object"),
        ('{"name": "x1"}', "'title' as text"),
        ('{"name": 7, "title": "T", "class": "a:B", "version": "1"}', "'name' as text"),
        (
            '{"name": "x1", "title": "T", "class": "json:dumps", "version": "1"}',
            "no class derived from Broker",
        ),
        ('{"name": "No Way", "title": "T", "class": "a:B", "version": "1"}', "a-z, 0-9 and _"),
    ],
)
def test_bad_declaration_is_reported(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "plugin.json").write_text(text)
    found = discover([tmp_path])
    assert found.names() == []
    assert reason in found.broken["odd"]


def test_exchanges_must_be_a_list_of_codes(tmp_path: Path) -> None:
    package(tmp_path, "venue_x", supported_exchanges="NSE")
    assert "supported_exchanges" in discover([tmp_path]).broken["venue_x"]


def test_second_of_one_name_is_reported(tmp_path: Path) -> None:
    package(tmp_path / "one", "venue_a")
    package(tmp_path / "two", "copied")
    file = tmp_path / "two" / "copied" / "plugin.json"
    file.write_text((tmp_path / "one" / "venue_a" / "plugin.json").read_text())
    found = discover([tmp_path / "one", tmp_path / "two"])
    assert found.plugin("venue_a").source == "venue_a"
    assert found.broken == {"venue_a (copied)": "The name is taken by venue_a."}


def test_entry_points_are_brokers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "venue_e")
    sys.path.append(str(tmp_path))
    entries = [
        EntryPoint("venue_e", "venue_e.adapter:Good", registry.ENTRY_POINT_GROUP),
        EntryPoint("gone", "nowhere.at_all:Good", registry.ENTRY_POINT_GROUP),
        EntryPoint("Bad Name", "venue_e.adapter:Good", registry.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    found = discover([])
    assert found.names() == ["venue_e"]
    assert found.plugin("venue_e").title == "A venue"
    assert set(found.broken) == {"gone", "Bad Name"}


def test_nothing_that_ships_is_broken() -> None:
    assert discover().broken == {}
