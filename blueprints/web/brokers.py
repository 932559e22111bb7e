"""The broker page: the dropdown, connecting and disconnecting accounts, switches for brokers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for

from blueprints.context import gateway
from blueprints.web.blueprint import Page, admin_only, checked_action, visitor, web
from services.accounts import Account
from services.errors import ServiceError
from services.vocabulary import BrokerError


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What the page shows of one account."""

    label: str
    cluster: str
    account_type: str
    is_default: bool
    connected: bool
    sandbox: bool
    session_expires_at: datetime | None
    last_error: str | None


def own_accounts() -> list[Account]:
    """The visitor's accounts."""
    return gateway().accounts.list(visitor())


def _row(account: Account, default: str | None) -> AccountRow:
    status = gateway().sessions.status(account)
    return AccountRow(
        label=account.label,
        cluster=account.cluster,
        account_type=account.account_type,
        is_default=account.label == default,
        connected=status.connected,
        sandbox=account.sandbox,
        session_expires_at=status.expires_at,
        last_error=status.last_error,
    )


def _find(label: str) -> Account:
    """The visitor's account of that label; somebody else's, or none, is a refusal."""
    try:
        return gateway().accounts.resolve(visitor(), label)
    except ServiceError as error:
        abort(404, error.message)


def _broker_row(name: str) -> dict[str, Any]:
    """What the dropdown shows of one enabled broker."""
    info = gateway().registry.info(name)
    mine = [account for account in own_accounts() if account.broker == name]
    contract = gateway().master_contract.status(name)
    return {
        "name": name,
        "title": info.title,
        "connected": any(gateway().sessions.status(account).connected for account in mine),
        "sandbox": any(account.sandbox for account in mine),
        "circuits": gateway().sessions.circuits(name),
        "master_rows": contract.rows,
        "master_updated_at": contract.updated_at,
    }


def _switch_row(name: str) -> dict[str, Any]:
    enabled, why = gateway().accounts.is_broker_enabled(name)
    title = gateway().registry.info(name).title
    return {"name": name, "title": title, "enabled": enabled, "why": why}


@web.get("/brokers")
def brokers() -> Page:
    """The broker dropdown with the accounts of the chosen one, and the administrator's switches."""
    names = gateway().registry.names()
    rows = [_broker_row(n) for n in names if gateway().accounts.is_broker_enabled(n)[0]]
    chosen = request.args.get("broker", "")
    selected = next((row for row in rows if row["name"] == chosen), rows[0] if rows else None)
    default = gateway().accounts.default_label(visitor())
    accounts = [
        _row(account, default)
        for account in own_accounts()
        if selected is not None and account.broker == selected["name"]
    ]
    is_admin = visitor().is_admin
    return render_template(
        "web/brokers.html",
        brokers=rows,
        selected=selected,
        accounts=accounts,
        switches=[_switch_row(name) for name in names] if is_admin else [],
        broken=gateway().registry.broken if is_admin else {},
    )


@web.post("/accounts/<label>/connect")
def connect(label: str) -> Page:
    """Log the account in at its broker."""
    checked_action()
    account = _find(label)
    try:
        gateway().sessions.login(account)
    except (BrokerError, ServiceError) as error:
        flash(f"{account.label} could not connect. {error.message}", "error")
    else:
        flash(f"{account.label} is connected.", "success")
    return redirect(url_for("web.brokers", broker=account.broker))


@web.post("/accounts/<label>/disconnect")
def disconnect(label: str) -> Page:
    """Log the account out; it stays out until somebody connects it again."""
    checked_action()
    account = _find(label)
    try:
        gateway().sessions.logout(account)
    except (BrokerError, ServiceError) as error:
        flash(f"{account.label}: {error.message}", "error")
    else:
        flash(f"{account.label} is disconnected.", "success")
    return redirect(url_for("web.brokers", broker=account.broker))


@web.post("/accounts/<label>/ready")
def check_ready(label: str) -> Page:
    """Look whether the account is ready to trade, and say what was seen."""
    checked_action()
    account = _find(label)
    found = gateway().readiness.check(account)
    if found.ready:
        seen = " ".join(check.detail for check in found.checks)
        flash(f"{account.label} is ready to trade. {seen}", "success")
    else:
        flash(f"{account.label} is not ready to trade. {found.problems}", "error")
    return redirect(url_for("web.brokers", broker=account.broker))


@web.post("/brokers/<name>/<any(on, off):state>")
@admin_only
def switch_broker(name: str, state: str) -> Page:
    """Enable or disable a broker for everybody, in all processes."""
    checked_action()
    try:
        gateway().accounts.set_broker_enabled(name, state == "on", visitor().name)
    except ServiceError as error:
        flash(error.message, "error")
    return redirect(url_for("web.brokers", broker=name))
