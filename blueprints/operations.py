"""Health and metrics for operators (design §11).

`/health/live` and `/health/ready` are open and tell no detail; `/health` wants a loopback caller or
an API key; `/metrics`, and its JSON `/metrics/api` and `/metrics/quality-scenarios`, a loopback
caller or `METRICS_TOKEN`. "Loopback" is the address of the
connection, or what a trusted proxy says it is: behind a proxy of this host that is not in
`TRUSTED_PROXIES` every caller looks local, which is why such a proxy must not pass these paths on.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from blueprints.context import mounted
from blueprints.http import MOST_DAYS, days_of, from_this_machine, problem, reply
from services.health import Health
from services.vocabulary import DatabaseUnavailable
from utils.trace import trace_of
from utils.version import VERSION

NAME = "openalgo_operations"
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _tell(health: Health) -> Response:
    here = mounted().gateway
    return reply(
        {
            "checks": {check.name: check.detail for check in health.checks},
            "sandbox": here.settings.sandbox,
            "status": health.status,
            "timestamp": health.at.isoformat(timespec="milliseconds"),
            "version": VERSION,
        },
        200 if health.serves else 503,
    )


def live() -> Response:
    """Whether the process answers."""
    return reply({"status": "ok"})


def ready() -> Response:
    """Whether requests can be served: the storage decides."""
    serves = mounted().gateway.health.check_storage().serves
    return reply({"status": "ready" if serves else "unavailable"}, 200 if serves else 503)


def health() -> Response:
    """Everything that is checked, for operators."""
    if not from_this_machine(request):
        here = mounted()
        key = request.headers.get("X-API-KEY") or request.args.get("apikey", "")
        wait = here.gate.check("api", f"address:{request.remote_addr}")
        if wait is not None:
            return reply(problem("rate_limit", "Rate limit exceeded."), 429)
        if not key or here.gateway.access.authenticate_key(key) is None:
            return reply(problem("invalid_key", "Invalid openalgo apikey"), 403)
    return _tell(mounted().gateway.health.check())


def _refused() -> Response | None:
    """Why the caller may not read metrics; None when it may."""
    settings = mounted().gateway.settings
    if not settings.enable_metrics:
        return reply(problem("not_found", "Metrics are switched off."), 404)
    tokens = [
        secret.get_secret_value()
        for secret in (settings.metrics_token, settings.metrics_token_previous)
        if secret is not None
    ]
    if not from_this_machine(request):
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not any(hmac.compare_digest(given.encode(), token.encode()) for token in tokens):
            words = "Metrics are read on this machine, or with the bearer token METRICS_TOKEN."
            return reply(problem("forbidden", words), 403)
    return None


def metrics() -> Response:
    """Prometheus's text format, over all workers."""
    refused = _refused()
    if refused is not None:
        return refused
    return Response(mounted().gateway.live_figures.exposition(), content_type=_METRICS_TYPE)


def metrics_summary() -> Response:
    """The daily history of the last `?days=` (7) as JSON."""
    return _told(lambda days: mounted().gateway.figures.summary(days))


def quality_scenarios() -> Response:
    """The quality scenarios, judged over the last `?days=` (7), as JSON."""
    return _told(lambda days: {
        "days": days,
        "scenarios": [judged.facts() for judged in mounted().gateway.quality.judge(days)],
    })


def _told(tell: Callable[[int], dict[str, Any]]) -> Response:
    refused = _refused()
    if refused is not None:
        return refused
    days = days_of(request)
    if days is None:
        return reply(problem("invalid_request", f"days is a number from 1 to {MOST_DAYS}."), 400)
    try:
        return reply({"status": "success", **tell(days)})
    except DatabaseUnavailable:
        words = "The storage is not available. Try again later."
        return reply(problem("storage_unavailable", words), 503, {"Retry-After": "1"})


def create() -> Blueprint:
    """The blueprint, mounted at the root."""
    blueprint = Blueprint(NAME, __name__)
    for path, view in (
        ("/health/live", live),
        ("/health/ready", ready),
        ("/health", health),
        ("/metrics", metrics),
        ("/metrics/api", metrics_summary),
        ("/metrics/quality-scenarios", quality_scenarios),
    ):
        blueprint.add_url_rule(path, view.__name__, view, methods=["GET"], strict_slashes=False)

    def name_request(response: Response) -> Response:
        for name, value in trace_of(request.environ).headers().items():
            response.headers.setdefault(name, value)
        return response

    blueprint.after_request(name_request)
    return blueprint
