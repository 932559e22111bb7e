"""The yardstick: a Flask route that forwards to the broker and returns `jsonify(response.json())`.

No key check, no look-up, no validation, no journal; one pooled httpx client; the same gunicorn
settings as the gateway. What the gateway takes more than this is what it costs.
"""

from __future__ import annotations

import os

import httpx
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

UPSTREAM = "BENCH_UPSTREAM"
ALL_CLIENTS = "*****"  # how a PRO dealer of the simulated cluster is named
TOKEN = "BENCH_TOKEN"  # noqa: S105 (the name of a variable)


def create_app() -> Flask:
    """Forward to the upstream that the environment names, with its token."""
    app = Flask("bare")
    client = httpx.Client(
        base_url=os.environ[UPSTREAM],
        headers={"Authorization": os.environ[TOKEN]},
        timeout=10.0,
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
        trust_env=False,
    )

    @app.post("/place")
    def place() -> ResponseReturnValue:
        return jsonify(client.post("/interactive/orders", json=request.get_json()).json())

    @app.get("/orders")
    def orders() -> ResponseReturnValue:
        path = "/interactive/orders/dealerorderbook"
        return jsonify(client.get(path, params={"clientID": ALL_CLIENTS}).json())

    @app.get("/positions")
    def positions() -> ResponseReturnValue:
        path = "/interactive/portfolio/dealerpositions"
        query = {"clientID": ALL_CLIENTS, "dayOrNet": "NetWise"}
        return jsonify(client.get(path, params=query).json())

    return app
