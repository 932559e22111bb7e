"""Golden triples under tests/fixtures/<broker>/: request, answer and model, to the letter.

The answers are the reference's samples (each file names its section); the models were checked
against it by hand. A change of one of them is a change of what we believe about the wire.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from broker.registry import discover
from broker.testing.golden import load, outcome_of

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CREDENTIALS = {
    "interactive_api_key": "KEY-I",
    "interactive_api_secret": "Sec#ret$I",
    "market_api_key": "KEY-M",
    "market_api_secret": "Sec#ret$M",
}
NAMES = discover().names()
TRIPLES = [path for name in NAMES for path in sorted((FIXTURES / name).glob("*.json"))]


@pytest.mark.parametrize("path", TRIPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_triple(path: Path) -> None:
    triple = load(path)
    broker = discover().get(path.parent.name)
    assert outcome_of(triple, broker, CREDENTIALS) == triple.outcome
    assert triple.source


@pytest.mark.parametrize("name", NAMES)
def test_every_broker_has_triples_for_what_moves_money(name: str) -> None:
    calls = {load(path).call for path in TRIPLES if path.parent.name == name}
    assert {"login", "place", "cancel", "orders", "positions"} <= calls


def _changed(tmp_path: Path, change: str, value: Any) -> Path:
    """The plain order's triple with one thing changed."""
    data = json.loads((FIXTURES / "jainam_prop" / "place-limit-b.json").read_text("utf-8"))
    changed = copy.deepcopy(data)
    if change == "more":
        changed["exchange"].append(changed["exchange"][0])
    else:
        changed["exchange"][0]["request"][change] = value
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(changed), "utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("method", "PUT"),
        ("path", "/interactive/orders"),
        ("params", {"clientID": "*****"}),
        ("json", {"limitPrice": "112.50"}),
        ("authorization", "TOKEN-M"),
        ("more", None),
    ],
)
def test_request_that_differs_is_noticed(tmp_path: Path, change: str, value: Any) -> None:
    triple = load(_changed(tmp_path, change, value))
    with pytest.raises(AssertionError):
        outcome_of(triple, discover().get("jainam_prop"), CREDENTIALS)


def test_one_request_too_many_is_noticed(tmp_path: Path) -> None:
    data = json.loads((FIXTURES / "wisdom" / "login.json").read_text("utf-8"))
    del data["exchange"][1]
    path = tmp_path / "login.json"
    path.write_text(json.dumps(data), "utf-8")
    with pytest.raises(AssertionError):
        outcome_of(load(path), discover().get("wisdom"), CREDENTIALS)


def test_triple_that_lacks_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.json"
    path.write_text('{"source": "x"}', "utf-8")
    with pytest.raises(KeyError, match="session"):
        load(path)
