"""What administrators watch, read-only: the daily history, alarms, errors, deployments, quality."""

from __future__ import annotations

from typing import Any

from flask import abort, render_template, request
from werkzeug.wrappers import Response

from blueprints.context import gateway
from blueprints.http import MOST_DAYS, days_of, reply
from blueprints.web.blueprint import Page, admin_only, web

_COLUMNS = (
    ("orders_per_day", "Orders", ""),
    ("order_success_rate", "Accepted", " %"),
    ("trades_per_day", "Trades", ""),
    ("api_calls", "API calls", ""),
    ("api_error_rate", "5xx", " %"),
    ("api_response_ms", "Response", " ms"),
    ("api_p95_ms", "p95 ≤", " ms"),
    ("broker_error_rate", "Broker errors", " %"),
    ("broker_response_ms", "Broker response", " ms"),
    ("throttled_requests", "Throttled", ""),
    ("authentication_failures", "Refused credentials", ""),
    ("token_lookup_failures", "Unknown symbols", ""),
    ("cache_hit_rate", "Cache hits", " %"),
    ("active_users", "Active users", ""),
)
_SHOWN_DAYS = (7, 30, MOST_DAYS)
_TONES = {"PASS": "good", "FAIL": "bad", "NO DATA": "soft"}


@web.get("/monitoring")
@admin_only
def monitoring() -> Page:
    """The figures of the last days, and what stands out."""
    days = _days()
    here = gateway()
    history = here.figures.summary(days)["days"]
    return render_template(
        "web/monitoring.html",
        days=days,
        choices=_SHOWN_DAYS,
        today=[(title, _word(history[-1], name, unit)) for name, title, unit in _COLUMNS],
        titles=[title for _, title, _ in _COLUMNS],
        rows=[
            {"day": day["day"], "cells": [_word(day, name, unit) for name, _, unit in _COLUMNS]}
            for day in reversed(history)
        ],
        open_alarms=here.alarms.list(),
        failures=here.failures.list(20),
        deployments=here.deployments.list(10),
    )


@web.get("/monitoring/quality")
@admin_only
def quality() -> Page:
    """The quality scenarios and their verdicts."""
    days = _days()
    judged = [judgement.facts() for judgement in gateway().quality.judge(days)]
    return render_template(
        "web/quality.html", days=days, choices=_SHOWN_DAYS, judged=judged, tones=_TONES
    )


@web.get("/monitoring/summary.json")
@admin_only
def monitoring_summary() -> Response:
    """The daily history as JSON."""
    return reply({"status": "success", **gateway().figures.summary(_days())})


@web.get("/monitoring/quality.json")
@admin_only
def quality_summary() -> Response:
    """The verdicts as JSON."""
    days = _days()
    scenarios = [judgement.facts() for judgement in gateway().quality.judge(days)]
    return reply({"status": "success", "days": days, "scenarios": scenarios})


def _days() -> int:
    days = days_of(request)
    if days is None:
        abort(400, f"days is a number from 1 to {MOST_DAYS}.")
    return days


def _word(day: dict[str, Any], name: str, unit: str) -> str:
    value = day[name]
    return "–" if value is None else f"{value:g}{unit}"
