"""The gateway with a route that never answers: what a deadlock in the order path looks like."""

from __future__ import annotations

import threading

import app as gateway_app
from app import GatewayApp, create_app

gateway_app._PATIENCE = 1.0


def create() -> GatewayApp:
    """gunicorn runs `tests.operations.hanging:create()`."""
    app = create_app()
    for_ever = threading.Event()

    @app.route("/hang")
    def hang() -> str:
        for_ever.wait()
        return "never"

    return app
