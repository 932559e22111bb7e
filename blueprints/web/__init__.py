"""The web pages: set-up, log-in, brokers, orders, API keys, master contract, monitoring, risk."""

from __future__ import annotations

from blueprints.web import brokers, entry, keys, master_contract, monitoring, orders, risk
from blueprints.web.blueprint import web

__all__ = ["brokers", "entry", "keys", "master_contract", "monitoring", "orders", "risk", "web"]
