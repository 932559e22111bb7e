"""The web pages: set-up, log-in, brokers, order book, API keys, master contract, monitoring."""

from __future__ import annotations

from blueprints.web import brokers, entry, keys, master_contract, monitoring, orders
from blueprints.web.blueprint import web

__all__ = ["brokers", "entry", "keys", "master_contract", "monitoring", "orders", "web"]
