"""HTTP, and only HTTP: `register(app, gateway)` mounts the API on any Flask application.

It touches nothing that is the application's: no JSON provider, no error handler, no CSRF, log-in
or metrics. One thing it asks of a CSRF protection that is there: to leave the API alone, which
authenticates every call by a key that no browser adds by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from blueprints import api_v1, operations
from blueprints.context import EXTENSION, Mounted
from blueprints.limit_storage import host_uri, storage_uri
from blueprints.limits import Gate, attach

if TYPE_CHECKING:
    from services.gateway import Gateway


def register(
    app: Flask,
    gateway: Gateway | None = None,
    *,
    prefix: str = "/api/v1",
    with_operations: bool = False,
    with_web: bool = False,
    ours: bool = False,
) -> Gateway:
    """Mount the API under `prefix`; return the services that it works with.

    gateway: the services; without one they are built from the settings of the environment.
    with_operations: also `/health…` and `/metrics` at the root; with_web: also the pages.
    ours: the application is our own, so Flask-Limiter is attached to it; on a foreign one its
    engine is used alone, and none of its hooks is added.
    """
    if gateway is None:
        from services.gateway import Gateway as Services
        from utils.config import load_settings

        gateway = Services(load_settings())
    app.extensions[EXTENSION] = Mounted(gateway, _gate(gateway, app if ours else None))
    blueprint = api_v1.create(prefix.rstrip("/"))
    app.register_blueprint(blueprint)
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        csrf.exempt(blueprint)
    if with_operations:
        app.register_blueprint(operations.create())
    if with_web:
        from blueprints.web import web

        app.register_blueprint(web)
    return gateway


def _gate(gateway: Gateway, app: Flask | None) -> Gate:
    settings = gateway.settings
    buckets = {bucket: getattr(settings, name) for bucket, name in api_v1.BUCKETS.items()}
    buckets["login"] = settings.login_rate_limit
    redis = settings.redis_url.get_secret_value() if settings.redis_url else ""
    uri = storage_uri(redis, settings.web_concurrency, gateway.state_dir)
    spare = host_uri(settings.web_concurrency, gateway.state_dir)
    if app is None:
        return Gate.at(buckets, uri, spare, settings.database_name)
    return Gate(buckets, attach(app, uri, settings.database_name), spare)
