"""The administrator's master-contract page: download, a progress bar, history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import abort, flash, make_response, redirect, render_template, request, url_for

from blueprints.context import gateway
from blueprints.web.blueprint import Page, admin_only, visitor, web
from blueprints.web.forms import DownloadForm
from services.errors import ServiceError
from services.master_contract import Job
from services.vocabulary import BrokerError
from utils.clock import ist

_TONES = {"done": "good", "failed": "bad", "running": "warn", "queued": "warn"}


@dataclass(frozen=True, slots=True)
class JobRow:
    """One download as the history shows it; counts are instruments."""

    started_at: datetime | None
    requested_by: str
    state: str
    tone: str
    rows: str
    added: str
    removed: str
    bad: str
    seconds: str
    message: str


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows of one broker's master contract."""

    running: bool
    message: str
    percent: int | None
    counts: list[tuple[str, int]]
    history: list[JobRow]


def _count(report: dict[str, Any], name: str) -> str:
    value = report.get(name)
    return "–" if value is None else f"{int(value):,}"


def _job_row(job: Job) -> JobRow:
    report = job.report or {}
    seconds = ""
    if job.started_at and job.finished_at:
        seconds = f"{(job.finished_at - job.started_at).total_seconds():.1f}"
    return JobRow(
        started_at=job.started_at,
        requested_by=job.requested_by,
        state=str(job.state),
        tone=_TONES.get(str(job.state), ""),
        rows=_count(report, "rows"),
        added=_count(report, "added"),
        removed=_count(report, "removed"),
        bad=_count(report, "bad_rows"),
        seconds=seconds or "–",
        message=str(report.get("error", "")),
    )


def _view(broker: str) -> View:
    service = gateway().master_contract
    status = service.status(broker)
    history = service.history(broker)
    newest = history[0] if history else None
    running = newest is not None and newest.state in ("queued", "running")
    progress = (newest.progress or {}) if newest and running else {}
    if running:
        done = int(progress.get("rows", 0))
        message = f"{progress.get('phase', 'Starting')}: {done:,} rows so far."
    elif newest is not None and newest.state == "failed":
        reason = (newest.report or {}).get("error", "see the history")
        message = f"The last download failed: {reason}. The contract from before is still in use."
    elif status.updated_at is not None:
        loaded = f"{ist(status.updated_at):%d-%b-%Y %H:%M} IST"
        message = f"{status.rows:,} instruments, loaded {loaded}."
    else:
        message = "Nothing is loaded yet: without a master contract no order can be placed."
    counts = gateway().symbols.counts(broker)
    return View(
        running=running,
        message=message,
        percent=progress.get("percent"),
        counts=sorted(counts.items()),
        history=[_job_row(job) for job in history[:20]],
    )


def _known(broker: str) -> str:
    if broker not in gateway().registry.names():
        abort(404, "There is no such broker.")
    return broker


@web.get("/admin/master-contract")
@admin_only
def master_contract() -> Page:
    """State, progress and history of the chosen broker's contract, and the button."""
    registry = gateway().registry
    names = registry.names()
    broker = _known(request.args.get("broker", "") or names[0]) if names else ""
    return render_template(
        "web/master_contract.html",
        brokers=[registry.info(name) for name in names],
        broker=broker,
        view=_view(broker) if broker else None,
    )


@web.get("/admin/master-contract/<broker>/progress")
@admin_only
def master_contract_progress(broker: str) -> Page:
    """The progress alone, for the page's polling; the whole page again once the run is over."""
    view = _view(_known(broker))
    page = render_template("web/_master_polled.html", broker=broker, view=view)
    if view.running:
        return page
    response = make_response(page)
    response.headers["HX-Refresh"] = "true"
    return response


@web.post("/admin/master-contract/<broker>")
@admin_only
def download_master_contract(broker: str) -> Page:
    """Start a download; while one runs, that one is shown."""
    form = DownloadForm()
    if not form.validate_on_submit():
        abort(400, "This form was open for too long. Go back, reload the page and try again.")
    try:
        gateway().master_contract.start(_known(broker), visitor().name, force=form.force.data)
    except (BrokerError, ServiceError) as error:
        flash(error.message, "error")
    return redirect(url_for("web.master_contract", broker=broker))
