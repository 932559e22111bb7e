"""What `openapi.json` promises is what the application does: schemathesis asks, the app answers.

The services behind it are fakes that say "not found", so that every call ends quickly and nothing
is traded; the generator sends what the document allows, and some of what it forbids.
"""

from __future__ import annotations

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

import blueprints
from services.errors import NotFoundHere
from tests.unit.blueprints.conftest import ADMIN, FakeGateway, Recorder


class Refusing(Recorder):
    """A service that knows nothing of what it is asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: object, **__: object) -> object:
            raise NotFoundHere("There is no such thing.")

        return refuse


def application() -> Flask:
    gateway = FakeGateway()
    for name, service in vars(gateway).items():
        if isinstance(service, Recorder):
            setattr(gateway, name, Refusing())
    gateway.registry.names = lambda: ["jainam_prop"]  # type: ignore[attr-defined]
    app = Flask("described")
    blueprints.register(app, gateway)  # type: ignore[arg-type]
    return app


schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application())


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_document_is_true(case: Case) -> None:
    case.headers.update({"X-API-KEY": ADMIN})
    if isinstance(case.body, dict):
        case.body.pop("apikey", None)
    if isinstance(case.query, dict):
        case.query.pop("apikey", None)
    case.call_and_validate(
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ]
    )
