"""The brokers with the caller's accounts, and `ping` (design §11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blueprints.api_v1.endpoint import Call, Routes
from blueprints.api_v1.schemas import AccountRequest, BrokersQuery
from blueprints.api_v1.translate import iso
from blueprints.http import Body

if TYPE_CHECKING:
    from services.accounts import Account
    from services.gateway import Gateway

routes = Routes("Brokers")


@routes.post("/ping", AccountRequest)
def ping(call: Call[AccountRequest]) -> Body:
    """A sign of life, with the name of the account's broker."""
    return {"data": {"broker": call.account.broker, "message": "pong"}, "status": "success"}


def _account(gateway: Gateway, account: Account) -> dict[str, Any]:
    status = gateway.sessions.status(account)
    return {
        "account": account.label,
        "connected": status.connected,
        "session_expires_at": iso(status.expires_at),
    }


def _broker(gateway: Gateway, name: str, mine: list[Account]) -> dict[str, Any]:
    info, capabilities = gateway.registry.info(name), gateway.registry.get(name).capabilities
    accounts = [_account(gateway, account) for account in mine if account.broker == name]
    contract = gateway.master_contract.status(name)
    enabled, why = gateway.accounts.is_broker_enabled(name)
    return {
        "accounts": accounts,
        "capabilities": {
            "depth": capabilities.depth,
            "history": list(capabilities.history_intervals),
            "margin": capabilities.margin,
            "order_types": sorted(kind.value for kind in capabilities.order_types),
            "products": sorted(product.value for product in capabilities.products),
            "quotes": capabilities.quotes,
            "stream": capabilities.stream,
        },
        "circuits": gateway.sessions.circuits(name),
        "connected": any(account["connected"] for account in accounts),
        "enabled": enabled,
        "exchanges": sorted(exchange.value for exchange in capabilities.exchanges),
        "master_contract": {
            "rows": contract.rows,
            "state": contract.state,
            "updated_at": iso(contract.updated_at),
        },
        "name": name,
        "reason": why,
        "sandbox": gateway.settings.sandbox,
        "title": info.title,
    }


@routes.get("/brokers", BrokersQuery)
def brokers(call: Call[BrokersQuery]) -> Body:
    """The enabled brokers with the caller's accounts; `all=true` adds the disabled ones."""
    gateway = call.gateway
    mine = gateway.accounts.list(call.principal)
    names = [
        name
        for name in gateway.registry.names()
        if call.body.all or gateway.accounts.is_broker_enabled(name)[0]
    ]
    return {"data": [_broker(gateway, name, mine) for name in names], "status": "success"}
