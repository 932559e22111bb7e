"""The OpenAPI document tells what the routes take; it is open to everyone."""

from __future__ import annotations

import tomllib
from pathlib import Path

from flask.testing import FlaskClient

from blueprints.api_v1 import all_routes
from blueprints.api_v1.openapi import document
from utils.version import VERSION

ROOT = Path(__file__).resolve().parents[3]


def test_every_route_is_in_it_and_nothing_else(client: FlaskClient) -> None:
    described = client.get("/api/v1/openapi.json").json
    found = {
        (method.upper(), path)
        for path, operations in described["paths"].items()
        for method in operations
    }
    expected = {
        (route.method, "/api/v1" + route.path.replace("<", "{").replace(">", "}"))
        for route in all_routes()
    }
    assert found == expected


def test_required_fields_are_those_of_the_reference() -> None:
    schemas = document(all_routes(), "/api/v1", VERSION)["components"]["schemas"]
    assert set(schemas["PlaceOrder"]["required"]) == {
        "strategy", "exchange", "symbol", "action", "quantity",
    }  # fmt: skip
    assert set(schemas["ModifyOrder"]["required"]) == {
        "strategy", "exchange", "symbol", "orderid", "action", "product", "pricetype", "price",
        "quantity", "disclosed_quantity", "trigger_price",
    }  # fmt: skip
    assert schemas["PlaceOrder"]["additionalProperties"] is False


def test_every_reference_in_it_leads_somewhere() -> None:
    described = document(all_routes(), "/api/v1", VERSION)

    def references(node: object) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(value) for value in node.values()), set())
        if isinstance(node, list):
            return set().union(*(references(value) for value in node), set())
        return set()

    names = {reference.rsplit("/", 1)[1] for reference in references(described)}
    assert names <= set(described["components"]["schemas"])


def test_every_operation_has_a_summary_and_a_tag() -> None:
    for route in all_routes():
        assert route.summary
        assert route.tag


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION
