"""Getting in and out: first-run set-up of the administrator, log-in, log-out."""

from __future__ import annotations

import ipaddress

from flask import flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from blueprints.context import gateway
from blueprints.limits import login_limit
from blueprints.web.blueprint import COOKIE, Page, checked_action, visitor, web
from blueprints.web.forms import LoginForm, SetupForm, sent
from services.access import Principal
from services.errors import ServiceError

Entry = Page | tuple[str, int]


def _enter(principal: Principal) -> BaseResponse:
    """Open a session for the user and send the browser to the start page with its cookie."""
    sessions = gateway().web_sessions
    response = make_response(redirect(url_for("web.home")))
    response.set_cookie(
        COOKIE,
        sessions.open(principal, request.remote_addr or "", request.user_agent.string),
        max_age=sessions.lifetime_seconds,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
        path="/",
    )
    return response


def _from_this_machine() -> bool:
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


@web.route("/setup", methods=["GET", "POST"])
@login_limit
def setup() -> Entry:
    """Create the first administrator; only while there is no user, and only from this machine."""
    access = gateway().access
    if access.has_users():
        return redirect(url_for("web.login"))
    if not _from_this_machine():
        return render_template("web/setup_closed.html"), 403
    form = SetupForm()
    if form.validate_on_submit():
        try:
            principal = access.create_first_admin(
                sent(form.name), sent(form.password), sent(form.email) or None
            )
        except ServiceError as error:
            form.name.errors = [*form.name.errors, error.message]
        else:
            flash("The administrator exists. Connect to your broker next.", "success")
            return _enter(principal)
    return render_template("web/setup.html", form=form), 200 if request.method == "GET" else 400


@web.route("/login", methods=["GET", "POST"])
@login_limit
def login() -> Entry:
    """Log in with name and password; wrong ones get one answer, whichever was wrong."""
    if not gateway().access.has_users():
        return redirect(url_for("web.setup"))
    form = LoginForm()
    if form.validate_on_submit():
        principal = gateway().access.verify_login(sent(form.name), sent(form.password))
        if principal is not None:
            return _enter(principal)
        form.form_errors.append("Name or password is wrong.")
    return render_template("web/login.html", form=form), 200 if request.method == "GET" else 400


@web.post("/logout")
def logout() -> Page:
    """End this browser's session, here and in the database."""
    checked_action()
    gateway().web_sessions.close(request.cookies.get(COOKIE, ""))
    response = make_response(redirect(url_for("web.login")))
    response.delete_cookie(COOKIE, path="/")
    return response


@web.get("/")
def home() -> Page:
    """Where a visit begins: the brokers."""
    visitor()
    return redirect(url_for("web.brokers"))
