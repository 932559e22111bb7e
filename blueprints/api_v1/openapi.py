"""`openapi.json`, made from the request models and the route table; open to everyone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from blueprints.api_v1.endpoint import Route
from blueprints.api_v1.schemas import Request

_REFERENCE = "#/components/schemas/{model}"
_STATUSES = {
    "400": "the request, or the order, is not valid; correct it",
    "403": "the API key is wrong, or lacks a right",
    "404": "no such order, symbol, broker or path",
    "409": "contradicts the present state (disabled broker, a request that is being worked on)",
    "413": "the body is too large",
    "415": "the body is not JSON",
    "422": "the idempotency key was used for another request",
    "429": "too many requests; come back after `Retry-After` seconds",
    "500": "our fault; tell the operator the request id",
    "501": "the broker has no such capability",
    "502": "the broker answered in a way that was never seen",
    "503": "the broker or the storage is not available; nothing was sent",
    "504": "the outcome is unknown; ask with `reference`",
}
_ERROR = {
    "type": "object",
    "required": ["status", "code", "message"],
    "properties": {
        "status": {"type": "string", "enum": ["error"]},
        "code": {"type": "string"},
        "message": {"type": "string", "description": "a sentence that stands alone"},
        "errors": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
        "reference": {"type": "string", "description": "names the order in the journal"},
    },
}
_SUCCESS = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "enum": ["success", "partial"]},
        "sandbox": {"type": "boolean", "description": "present and true in the sandbox"},
    },
}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=name)}}}


def _answers(route: Route) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "done", "content": _json("Success")}
    answers = {"200": done}
    if route.path == "/instruments":
        done["content"]["text/csv"] = {"schema": {"type": "string"}}
    if route.method == "POST" and route.path.startswith("/master_contract"):
        answers["202"] = done | {"description": "begun, or still running"}
    for status, meaning in _STATUSES.items():
        answers[status] = {"description": meaning, "content": _json("Error")}
    return answers


def _parameters(route: Route, schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Path parameters, and for GET the model's fields as query parameters."""
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"<(\w+)>", route.path)
    ]
    if route.method == "GET":
        found += [
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": field,
            }
            for name, field in schema["properties"].items()
        ]
    return found


def document(routes: Iterable[Route], prefix: str, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the route table, mounted under `prefix`."""
    table = list(routes)
    models: list[type[Request]] = list(dict.fromkeys(route.model for route in table))
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REFERENCE
    )
    components: dict[str, Any] = dict(sorted(schemas["$defs"].items()))
    paths: dict[str, Any] = {}
    for route in table:
        operation: dict[str, Any] = {
            "operationId": route.endpoint,
            "summary": route.summary,
            "tags": [route.tag],
            "parameters": _parameters(route, components[route.model.__name__]),
            "responses": _answers(route),
            "security": [{"key": []}, {}],
        }
        if route.method == "POST":
            operation["requestBody"] = {"required": True, "content": _json(route.model.__name__)}
        path = prefix + re.sub(r"<(\w+)>", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenAlgo brokers gateway",
            "version": version,
            "description": (
                "OpenAlgo's REST API v1. The key comes in the field `apikey` of the body, in the "
                "query of a GET, or in the header `X-API-KEY`. Every path also answers with a "
                "slash at its end."
            ),
            "license": {"name": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": components | {"Error": _ERROR, "Success": _SUCCESS},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}},
        },
    }
