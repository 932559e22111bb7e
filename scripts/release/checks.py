"""What has to be true before a version is brought into service."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scripts.probes.report import Report
from scripts.release.install import changed_by_hand
from scripts.release.migrations import incompatible
from scripts.rescue.code import Code, Releases
from scripts.rescue.http import Client
from scripts.rescue.installation import Installation
from scripts.rescue.run import CommandFailed, run
from scripts.rescue.service import application_command, application_environ
from scripts.rescue.statuses import Failed

ENVIRONMENTS = ("development", "staging", "production")
_FREE = 1_000_000_000
_IST = timedelta(hours=5, minutes=30)
_OPEN, _CLOSE = (9, 0), (15, 35)


def before(
    here: Installation, environment: str, checkout: Path, code: Code, *, now: datetime | None = None
) -> Report:
    """Everything that can be looked at before anything is changed."""
    report = Report()
    said = here.variables.get("ENVIRONMENT", "development").lower()
    report.check(said == environment, f"{here.env_file} is of {environment}",
                 f"{here.env_file} is of {said}, not of {environment}")
    serious = environment != "development"
    try:
        dirty = changed_by_hand(checkout)
        report.check(not dirty, "the checkout is as it was committed",
                     f"files were changed by hand: {dirty}", warn=not serious)
    except CommandFailed:
        report.add("warn", f"{checkout} is no git checkout: nobody can say what is in it")
    faults = incompatible(checkout / "migrations" / "versions")
    report.check(not faults, "every migration is compatible with the release before",
                 f"not compatible with the release before: {'; '.join(faults)}")
    free = shutil.disk_usage(here.base or here.app).free
    room = f"{free / 1e9:.1f} GB are free"
    report.check(free > _FREE, room, f"only {room}")
    _way_back(code, report)
    why = Client(here.url).wait_until_ready(0.0)
    report.check(not why, "the gateway serves now", f"the gateway does not serve now: {why}",
                 warn=True)
    if environment == "production":
        moment = (now or datetime.now(UTC)) + _IST
        trading = moment.weekday() < 5 and _OPEN <= (moment.hour, moment.minute) <= _CLOSE
        report.check(not trading, "the market is closed",
                     f"the market is open ({moment:%H:%M} IST): rather after hours", warn=True)
    return report


def settings(here: Installation, method: str, release: Path, report: Report) -> bool:
    """Whether the new release accepts the settings as they are."""
    command, cwd = application_command(here, method, release, ("config", "check"))
    try:
        run(
            command, seconds=60, cwd=cwd, env=application_environ(here), user=here.user
        )
    except CommandFailed as error:
        return report.check(False, "", f"the new release refuses the settings: {error}")
    return report.check(True, "the new release accepts the settings")


def _way_back(code: Code, report: Report) -> None:
    current = code.current()
    if isinstance(code, Releases) and not code.folder(current):
        report.add("warn", "this is the first release: there is none to return to")
        return
    report.add("ok", f"the way back: {current}")
    try:
        report.add("ok", f"and before it: {code.previous(current)}")
    except Failed as failure:
        report.add("warn", f"no release before that one: {failure}")
