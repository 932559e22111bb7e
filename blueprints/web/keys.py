"""The API-key page: create, show once, revoke."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, redirect, render_template, url_for

from blueprints.context import gateway
from blueprints.web.blueprint import Page, checked_action, visitor, web
from blueprints.web.brokers import own_accounts
from blueprints.web.forms import KeyForm, sent
from services.errors import ServiceError


def _form(*, blank: bool = False) -> KeyForm:
    """The form with the visitor's choices; `blank` forgets what was just sent."""
    form = KeyForm(formdata=None) if blank else KeyForm()
    scopes = ["read", "trade"] + (["admin"] if visitor().is_admin else [])
    form.scope.choices = [(scope, scope) for scope in scopes]
    form.account.choices = [("", "my default")] + [(a.label, a.label) for a in own_accounts()]
    return form


def _page(form: KeyForm, fresh: dict[str, str] | None = None) -> str:
    keys: list[Any] = gateway().access.list_keys(visitor())
    return render_template("web/keys.html", form=form, keys=keys, fresh=fresh)


@web.get("/api-keys")
def keys() -> Page:
    """The visitor's keys, by name and first characters."""
    return _page(_form())


@web.post("/api-keys")
def create_key() -> Page | tuple[str, int]:
    """Create a key and show it this once (no redirect: it is stored nowhere to show it again)."""
    form = _form()
    if not form.validate_on_submit():
        return _page(form), 400
    try:
        _, plain = gateway().access.create_key(
            visitor(), sent(form.name), form.scope.data, form.account.data or None
        )
    except ServiceError as error:
        form.name.errors = [*form.name.errors, error.message]
        return _page(form), 400
    return _page(_form(blank=True), fresh={"name": sent(form.name), "plain": plain})


@web.post("/api-keys/<int:key_id>/revoke")
def revoke_key(key_id: int) -> Page:
    """Revoke a key of the visitor's; it stops working in all processes."""
    checked_action()
    try:
        gateway().access.revoke_key(visitor(), key_id)
    except ServiceError as error:
        abort(404, error.message)
    flash("The key is revoked.", "success")
    return redirect(url_for("web.keys"))
