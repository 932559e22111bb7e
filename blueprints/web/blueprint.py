"""The blueprint of the web pages: who is visiting, what every page shows, and its headers.

The pages keep their own log-in (a random cookie that names a row in the database) and check CSRF
per form, so that they mount on a foreign Flask application without touching its log-in or its
CSRF protection.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec

from flask import (
    Blueprint,
    Response,
    abort,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.exceptions import HTTPException, TooManyRequests
from werkzeug.wrappers import Response as BaseResponse

from blueprints.context import gateway
from blueprints.web.forms import ActionForm
from blueprints.web.polling import marked, part
from services.access import Principal
from utils.clock import ist
from utils.logging import bind, unbind
from utils.trace import noted, trace_of

COOKIE = "openalgo_web"
_OPEN_ENDPOINTS = frozenset({"web.login", "web.setup", "web.static"})
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)
_NAVIGATION = (("web.brokers", "Brokers"), ("web.orders", "Order book"), ("web.keys", "API keys"))
_ADMIN_NAVIGATION = (
    ("web.master_contract", "Master contract"),
    ("web.monitoring", "Monitoring"),
    ("web.quality", "Quality"),
    ("web.risk", "Risk"),
)

P = ParamSpec("P")
Page = str | BaseResponse

web = Blueprint(
    "web",
    __name__,
    template_folder="../../templates",
    static_folder="../../static",
    static_url_path="/assets",
)


def visitor() -> Principal:
    """The logged-in user of this request; only pages behind the log-in call it."""
    found: Principal = g.web_visitor
    return found


def admin_only(page: Callable[P, Page]) -> Callable[P, Page]:
    """Refuse everybody who is not an administrator."""

    @wraps(page)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Page:
        if not visitor().is_admin:
            abort(403, "Only an administrator may do this.")
        return page(*args, **kwargs)

    return guarded


def checked_action() -> None:
    """Check the CSRF token of a button's form."""
    if not ActionForm().validate_on_submit():
        abort(400, "This form was open for too long. Go back, reload the page and try again.")


@web.before_request
def _name_request() -> None:
    """Give the request its ids, in the log and for the calls made on its behalf."""
    trace = trace_of(request.environ)
    g.request_id = trace.request_id
    g.log_token = bind(**trace.fields())
    if request.method == "POST":
        noted(request.environ)["keep"] = True  # what a person does is never sampled away


@web.teardown_request
def _forget_request(error: BaseException | None) -> None:
    token = g.pop("log_token", None)
    if token is not None:
        unbind(token)


@web.before_request
def _recognise() -> BaseResponse | None:
    """Find the visitor by the cookie; send strangers to the log-in, and newcomers to the set-up."""
    token = request.cookies.get(COOKIE, "")
    g.web_visitor = gateway().web_sessions.find(token) if token else None
    if g.web_visitor is not None:
        noted(request.environ)["user_id"] = g.web_visitor.user_id
        bind(user_id=g.web_visitor.user_id)  # until the request's own fields are taken back
    if g.web_visitor is not None or request.endpoint in _OPEN_ENDPOINTS:
        return None
    if not gateway().access.has_users():
        return redirect(url_for("web.setup"))
    if request.headers.get("HX-Request"):
        answer = Response(status=204)
        answer.headers["HX-Redirect"] = url_for("web.login")
        return answer
    return redirect(url_for("web.login"))


@web.after_request
def _harden(response: Response) -> Response:
    """Headers that keep the pages out of frames, caches and other people's scripts."""
    for name, value in trace_of(request.environ).headers().items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if request.endpoint != "web.static":
        response.headers["Cache-Control"] = "no-store"
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


@web.context_processor
def _common() -> dict[str, Any]:
    """What every page shows: the visitor, the navigation, SANDBOX and what stands."""
    who: Principal | None = g.get("web_visitor")
    navigation = _NAVIGATION + (_ADMIN_NAVIGATION if who and who.is_admin else ())
    return {
        "visitor": who,
        "navigation": navigation,
        "sandbox": gateway().settings.sandbox,
        "notices": _standing() if who else {},
        "action_form": ActionForm(),
    }


def _standing() -> dict[str, Any]:
    """The kill switch and the open alarms, with their mark."""
    alarms = [{"rule": one.rule, "message": one.message} for one in gateway().alarms.list()]
    return marked({"killed": gateway().kill_switch.is_on, "alarms": alarms})


@web.get("/notices")
def notices() -> Page:
    """What stands now, for the pages that are open."""
    return part("web/_notices.html", _standing())


@web.app_template_filter("ist")
def _ist(moment: datetime | None) -> str:
    """A moment as people in India read it."""
    return "" if moment is None else ist(moment).strftime("%d-%b-%Y %H:%M:%S IST")


@web.errorhandler(HTTPException)
def _refused(error: HTTPException) -> BaseResponse:
    """A page for every refusal of ours, with a sentence and a way back."""
    page = render_template(
        "web/error.html",
        heading=error.name,
        message=error.description,
        request_id=g.get("request_id", ""),
    )
    response = make_response(page, error.code or 500)
    if isinstance(error, TooManyRequests) and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response
