"""The application: settings in, a Flask application out. `python app.py` serves it in development.

gunicorn runs `app:create_app()` (config/gunicorn.py); the commands run as `flask --app app …`.
Building it connects to nothing, so that it may be built before a fork; `start_background` is
called in the process that serves.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from flask import Flask, Request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from prometheus_flask_exporter import PrometheusMetrics

import blueprints
import cli
from services.gateway import Gateway
from utils import sandbox, systemd
from utils.config import ConfigurationError, Settings, load_settings, plain
from utils.logging import configure_command_logging, configure_logging
from utils.watchdog import Watchdog

API_PREFIX = "/api/v1"
_PATIENCE, _PROBE_SECONDS = 20.0, 5.0
"""Seconds of silence of the order path after which a worker no longer counts as alive (at least
twice the time that one request may take), and between two looks at it."""

_FOR, _PROTO = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class GatewayApp(Flask):
    """A Flask application that knows its services, and that servers can start and stop."""

    gateway: Gateway
    _watchdog: Watchdog | None = None

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view or hook of ours is a coroutine; Flask would find that out seven times a call."""
        return func

    def start_background(self, worker: Any = None) -> None:
        """Migrate the database and start the scheduled work; called after the fork.

        worker: gunicorn's, whose heartbeat is tied to the life of the order path then.
        """
        self.gateway.start_background()
        if worker is not None:
            self._watch(worker)
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked through again

    def stop_background(self, worker: Any = None) -> None:
        """End the scheduled work and give back every connection."""
        if self._watchdog is not None:
            self._watchdog.stop()
        self.gateway.close()

    def _watch(self, worker: Any) -> None:
        """Report life to systemd and to gunicorn only while orders get through (decision 0150)."""
        patience = max(_PATIENCE, 2 * self.gateway.settings.jainam.api_timeout)
        interval = systemd.watchdog_seconds()
        watchdog = self._watchdog = Watchdog(
            self.gateway.order_path.walk,
            worker.tpool,
            patience=patience,
            every=min(_PROBE_SECONDS, interval / 4) if interval else _PROBE_SECONDS,
            on_alive=lambda: systemd.notify(systemd.ALIVE),
        )
        beat = worker.notify
        worker.notify = lambda: beat() if watchdog.is_alive else None
        watchdog.start()


class PageSessions(SecureCookieSessionInterface):
    """Flask's cookie session (it carries the forms' CSRF token) for pages; the API has none."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """None for an API call, which costs it nothing then."""
        if request.path.startswith(API_PREFIX):
            return None
        return super().open_session(app, request)


class TrustedProxies:
    """Believes what a proxy says of the caller, if the proxy's address is one of ours.

    The address is the last one of `X-Forwarded-For` that is not a trusted proxy itself: whatever
    stands before it was written by the caller.
    """

    def __init__(self, inner: Wsgi, networks: Iterable[str]) -> None:
        self._inner = inner
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._is_trusted(environ.get("REMOTE_ADDR", "")):
            hops = [hop.strip() for hop in environ.get(_FOR, "").split(",") if hop.strip()]
            caller = next((hop for hop in reversed(hops) if not self._is_trusted(hop)), None)
            if caller is not None and _is_address(caller):
                environ["REMOTE_ADDR"] = caller
            scheme = environ.get(_PROTO, "")
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
        return self._inner(environ, start_response)

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def create_app(
    settings: Settings | None = None, *, build: Callable[[Settings], Gateway] = Gateway
) -> GatewayApp:
    """Build the application. Without `settings` they are read from the environment.

    `build` makes the services; benchmarks leave some of them out.

    Faulty settings end the process with all faults in sentences, and no value of any.
    """
    if settings is None:
        try:
            settings = load_settings()
        except ConfigurationError as error:
            sys.exit(str(error))
    app = GatewayApp("openalgo_brokers", static_folder=None, template_folder=None)
    app.config.update(
        SECRET_KEY=settings.secret_key.get_secret_value(),
        SECRET_KEY_FALLBACKS=[key] if (key := plain(settings.secret_key_previous)) else None,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.session_cookie_secure,
        SESSION_COOKIE_NAME="openalgo_form",
        WTF_CSRF_TIME_LIMIT=settings.session_lifetime,
        MAX_CONTENT_LENGTH=1024 * 1024,
    )
    app.session_interface = PageSessions()
    app.gateway = build(settings)
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        configure_command_logging(settings)
        _add_migrations(app)
    blueprints.register(
        app, app.gateway, prefix=API_PREFIX, with_operations=True, with_web=True, ours=True
    )
    cli.register(app)
    if settings.enable_metrics:
        _measure(app)
    if settings.trusted_proxies:
        app.wsgi_app = TrustedProxies(  # type: ignore[method-assign]  # as Flask documents
            app.wsgi_app, settings.trusted_proxies
        )
    return app


def _add_migrations(app: GatewayApp) -> None:
    """Flask-SQLAlchemy and `flask db …`; left out of serving processes, to which they are 12 MB."""
    from database import db

    db.init_app(app, app.gateway.database)


def _measure(app: Flask) -> None:
    """Count and time the pages by route rule, never by path; the API counts its own calls."""

    def route(request: Request) -> str:
        return str(request.url_rule) if request.url_rule else "none"

    PrometheusMetrics(app, path=None, group_by=route, excluded_paths=[f"^{API_PREFIX}/"])


def main() -> int:
    """Serve in development, with a simulator beside it while no credentials are set."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 (there is no log yet)
        return 1
    if settings.environment == "production":
        print("python app.py is for development: serve with gunicorn.", file=sys.stderr)  # noqa: T201
        return 1
    with ExitStack() as cleanup:
        if settings.sandbox and not any(
            section.credentials() for section in settings.broker_sections().values()
        ):
            simulator = sandbox.start(settings)
            cleanup.callback(simulator.stop)
            settings = load_settings(environ={**os.environ, **simulator.environment})
        configure_logging(settings)
        app = create_app(settings)
        app.start_background()
        cleanup.callback(app.stop_background)
        app.run(settings.host, settings.port, threaded=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
