"""Dashboards: what they have to show, and that Grafana can place it.

Their queries are asked of a real Prometheus in tests/operations/test_watching.py.
"""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
import yaml

from utils.config import ROOT

GRAFANA = ROOT / "deploy" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
WANTED = {
    "production": [
        "Requests a second, 1 h", "Requests a second, 24 h", "Requests a second, 7 d",
        "Error rate, 1 h", "Error rate, 24 h", "Response time", "Active users (5 min)",
        "Database connections", "Cache hit rate", "Recent deployments", "Active alerts",
    ],
    "infrastructure": [
        "CPU by instance", "Memory by instance", "Disk I/O", "Network I/O", "Health",
        "Database connections in use",
    ],
    "business": [
        "Sign-ups, day", "Sign-ups, week", "Sign-ups, month", "Active users", "Orders",
        "Trades by strategy", "Active positions by strategy",
    ],
}  # fmt: skip


def panels(name: str) -> list[dict[str, Any]]:
    text = (GRAFANA / "dashboards" / f"{name}.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["panels"]
    return found


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
    )  # fmt: skip


def test_there_is_one_file_each() -> None:
    assert [path.stem for path in FILES] == sorted(WANTED)
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in FILES]
    assert len({document["uid"] for document in documents}) == len(documents)


@pytest.mark.parametrize("name", WANTED)
def test_it_shows_what_was_asked_for(name: str) -> None:
    titles = [panel["title"] for panel in panels(name)]
    assert [title for title in WANTED[name] if title not in titles] == []


@pytest.mark.parametrize("name", WANTED)
def test_it_can_be_placed_and_asked(name: str) -> None:
    found = panels(name)
    ids = [panel["id"] for panel in found]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in found]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert [pair for pair in combinations(places, 2) if overlap(*pair)] == []
    sources = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    )["datasources"]
    known = {source["uid"] for source in sources if source["type"] == "prometheus"}
    for panel in found:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] in known
            assert panel["targets"]


@pytest.mark.parametrize("name", WANTED)
def test_deployments_and_alerts_are_marked(name: str) -> None:
    text = (GRAFANA / "dashboards" / f"{name}.json").read_text(encoding="utf-8")
    marks = {mark["name"]: mark for mark in json.loads(text)["annotations"]["list"]}
    assert set(marks) == {"Deployments", "Alerts"}
    assert marks["Deployments"]["useValueForTime"] is True
    assert marks["Deployments"]["expr"].endswith("* 1000")  # Grafana wants milliseconds
