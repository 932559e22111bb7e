"""The REST API `/api/v1` in OpenAlgo's shapes: the table of all routes, and its blueprint.

A blueprint of our own per application: nothing app-wide is set. What no route matches under the
prefix is answered here too, with flat JSON, because an application-wide 404 handler is not ours.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from flask import Blueprint, Response, request

from blueprints.api_v1 import (
    books,
    brokers,
    composites,
    journal,
    killswitch,
    market,
    master_contract,
    orders,
    strategies,
    symbols,
)
from blueprints.api_v1.endpoint import Endpoint, Route
from blueprints.api_v1.openapi import document
from blueprints.http import problem, reply
from utils.trace import trace_of
from utils.version import VERSION

NAME = "openalgo_api"
BUCKETS = {
    "api": "api_rate_limit",
    "order": "order_rate_limit",
    "smart": "smart_order_rate_limit",
}
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def all_routes() -> list[Route]:
    """Every route, in the order of the documentation."""
    modules = (orders, composites, books, market, symbols, brokers, master_contract, journal,
               killswitch, strategies)
    return [route for module in modules for route in module.routes]


class _Elsewhere:
    """What answers where no route does: 405 with `Allow` on a known path, else 404."""

    def __init__(self, routes: list[Route]) -> None:
        self._methods: dict[tuple[str, ...], set[str]] = {}
        for route in routes:
            self._methods.setdefault(_shape(route.path), set()).add(route.method)

    def __call__(self, rest: str = "") -> Response:
        headers = trace_of(request.environ).headers()
        allowed = self._allowed(tuple(part for part in rest.split("/") if part))
        if allowed:
            headers["Allow"] = ", ".join(sorted(allowed))
            words = f"The path answers to {headers['Allow']} only."
            return reply(problem("method_not_allowed", words), 405, headers)
        return reply(
            problem("not_found", "There is nothing at this path.", path=request.path[:256]),
            404,
            headers,
        )

    def _allowed(self, parts: tuple[str, ...]) -> set[str]:
        for shape, methods in self._methods.items():
            if len(shape) == len(parts) and all(
                one in ("*", other) for one, other in zip(shape, parts, strict=True)
            ):
                return methods
        return set()


def _shape(path: str) -> tuple[str, ...]:
    return tuple("*" if part.startswith("<") else part for part in path.split("/") if part)


def create(prefix: str) -> Blueprint:
    """The blueprint, mounted under `prefix`."""
    blueprint = Blueprint(NAME, __name__, url_prefix=prefix)
    routes = all_routes()
    options: dict[str, Any] = {"strict_slashes": False, "provide_automatic_options": False}
    for route in routes:
        blueprint.add_url_rule(
            route.path, route.endpoint, Endpoint(route), methods=[route.method], **options
        )
    describe = cache(lambda: document(routes, prefix, VERSION))
    blueprint.add_url_rule(
        "/openapi.json", "openapi", lambda: reply(describe()), methods=["GET"], **options
    )
    elsewhere = _Elsewhere(routes)
    blueprint.add_url_rule("/", "root", elsewhere, methods=_METHODS, **options)
    blueprint.add_url_rule("/<path:rest>", "elsewhere", elsewhere, methods=_METHODS, **options)
    return blueprint
