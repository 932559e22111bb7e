"""The risk page: the kill switch, and the risk limits of each account. For administrators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import abort, flash, g, make_response, redirect, render_template, request, url_for

from blueprints.context import gateway
from blueprints.web.blueprint import Page, admin_only, checked_action, visitor, web
from services.accounts import Account
from services.errors import InvalidRequest
from services.kill_switch import SquareOff
from services.risk_limits import NAMES


def _whence() -> dict[str, str]:
    """Where the visitor sits, for the audit trail."""
    return {"address": request.remote_addr or "", "request_id": g.request_id}


def _page(
    chosen: Account | None,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, Sequence[str]] | None = None,
    reports: Sequence[SquareOff] = (),
    status: int = 200,
) -> Page:
    """The page about one account; `typed` and `errors` of a form that was refused."""
    here = gateway()
    page = render_template(
        "web/risk.html",
        kill=here.kill_switch.state(),
        labels=[account.label for account in here.accounts.all()],
        chosen=chosen.label if chosen else "",
        limits=here.risk_limits.table(chosen) if chosen else None,
        typed=typed,
        errors=errors or {},
        reports=reports,
    )
    return make_response(page, status)


def _account(label: str) -> Account:
    found = gateway().accounts.find(label)
    if found is None:
        abort(404, "There is no such account.")
    return found


@web.get("/risk")
@admin_only
def risk() -> Page:
    """The kill switch, and the limits of the chosen account."""
    label = request.args.get("account", "")
    accounts = gateway().accounts.all()
    chosen = _account(label) if label else next(iter(accounts), None)
    return _page(chosen)


@web.post("/risk/<label>")
@admin_only
def change_limits(label: str) -> Page:
    """Store the limits of one account."""
    checked_action()
    account = _account(label)
    typed = {name: request.form.get(name, "")[:200] for name in NAMES}
    try:
        changed = gateway().risk_limits.change(account, typed, visitor().name, **_whence())
    except InvalidRequest as error:
        flash(error.message, "error")
        return _page(account, typed=typed, errors=error.errors, status=400)
    words = "; ".join(f"{name}: {how}" for name, how in changed.items())
    flash(f"Changed: {words}." if changed else "Nothing was changed.", "success")
    return redirect(url_for("web.risk", account=label))


@web.post("/kill/<any(on, off):state>")
@admin_only
def turn_kill_switch(state: str) -> Page:
    """Stop entries everywhere, or allow them again."""
    checked_action()
    gateway().kill_switch.turn(state == "on", visitor().name, **_whence())
    return redirect(url_for("web.risk", account=request.args.get("account")))


@web.post("/kill/square-off")
@admin_only
def square_off() -> Page:
    """Turn the switch on, get out of everything, and show what became of each."""
    checked_action()
    switch = gateway().kill_switch
    if not switch.is_on:
        switch.turn(True, visitor().name, **_whence())
    reports = switch.square_off(visitor(), **_whence())
    accounts = gateway().accounts.all()
    return _page(next(iter(accounts), None), reports=reports)
