"""`verify_infrastructure.sh`: is the host what deploy/README.md says it should be?"""

from __future__ import annotations

import shutil
import socket
import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from scripts.probes.report import Report
from scripts.rescue.installation import Installation
from scripts.rescue.run import CommandFailed, run
from scripts.rescue.service import NAME

_DISK_WARN, _DISK_FAIL = 0.70, 0.85
_CERTIFICATE_DAYS = 30


def verify(here: Installation, method: str, *, host: str = "") -> Report:
    """Look at everything. `host`: the public name whose certificate is looked at."""
    report = Report()
    _files(here, report)
    _disks(here, report)
    _time(report)
    _service(method, report)
    _stores(here, report)
    _port(here, report)
    if host:
        _certificate(host, report)
    return report


def _files(here: Installation, report: Report) -> None:
    if here.base is not None:
        link = here.base / "current"
        report.check(link.is_symlink() and link.exists(), f"{link} leads to {link.resolve().name}",
                     f"{link} leads nowhere")
    release = here.app.resolve()
    python = here.python(release)
    report.check(python is not None, f"{release} has its packages", f"{release} has no .venv")
    mode = stat.S_IMODE(here.env_file.stat().st_mode)
    report.check(not mode & 0o077, f"{here.env_file} is its owner's alone ({mode:o})",
                 f"{here.env_file} can be read by others ({mode:o}): chmod 600")
    for name, folder in (
        ("LOG_DIR", here.log_dir), ("state", here.state),
        ("BACKUP_DIR", Path(here.variables.get("BACKUP_DIR") or here.state)),
    ):
        report.check(folder.is_dir(), f"{name} {folder} is there", f"{name} {folder} is missing")
    if here.base is not None:
        writable = stat.S_IMODE(release.stat().st_mode) & 0o022
        report.check(not writable, f"{release} can't be changed by others",
                     f"{release} can be written by others")


def _disks(here: Installation, report: Report) -> None:
    folders = {here.state, here.log_dir, Path(here.variables.get("BACKUP_DIR") or here.state)}
    seen = set()
    for folder in sorted(path for path in folders if path.is_dir()):
        device = folder.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        usage = shutil.disk_usage(folder)
        share = usage.used / usage.total
        text = f"{folder}: {share:.0%} used, {usage.free / 1e9:.1f} GB free"
        report.check(share < _DISK_WARN, text, warn=share < _DISK_FAIL)


def _time(report: Report) -> None:
    if shutil.which("timedatectl") is None:
        report.add("warn", "timedatectl is not here: check by hand that the clock is synchronised")
        return
    try:
        answer = run(["timedatectl", "show", "-P", "NTPSynchronized"], seconds=5).strip()
    except CommandFailed as error:
        report.add("warn", f"the clock could not be asked: {error}")
        return
    report.check(answer == "yes", "the clock is synchronised", "the clock is not synchronised")


def _service(method: str, report: Report) -> None:
    commands = {
        "systemd": [
            (["systemctl", "is-active", f"{NAME}.service"], f"{NAME}.service is active"),
            (["systemctl", "is-enabled", f"{NAME}.service"], f"{NAME}.service is enabled"),
        ],
        "supervisor": [(["supervisorctl", "status", NAME], f"supervisor runs {NAME}")],
    }
    for command, text in commands.get(method, []):
        try:
            run(command, seconds=10)
        except CommandFailed as error:
            report.add("fail", f"{text}: no ({error})")
        else:
            report.add("ok", text)
    if method not in commands:
        report.add("warn", f"the service is kept by {method}: nothing to ask here")


def _stores(here: Installation, report: Report) -> None:
    url = urlsplit(here.database_url)
    if url.scheme == "sqlite":
        path = Path(here.database_url.split(":///", 1)[1].partition("?")[0])
        report.check(path.is_file(), f"the database is at {path}", f"no database is at {path}")
    else:
        _reach(report, "PostgreSQL", url.hostname or "127.0.0.1", url.port or 5432)
    redis = urlsplit(here.variables.get("REDIS_URL", ""))
    if redis.hostname:
        _reach(report, "Redis", redis.hostname, redis.port or 6379)


def _port(here: Installation, report: Report) -> None:
    parts = urlsplit(here.url)
    _reach(report, "the gateway", parts.hostname or "127.0.0.1", parts.port or 5000)


def _reach(report: Report, what: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        report.add("fail", f"{what} can't be reached at {host}:{port}: {error}")
    else:
        report.add("ok", f"{what} listens at {host}:{port}")


def _certificate(name: str, report: Report) -> None:
    host, _, port = name.partition(":")
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, int(port or 443)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            ends = str((secure.getpeercert() or {}).get("notAfter", ""))
    except (OSError, ValueError) as error:
        report.add("fail", f"the certificate of {name} is not good: {error}")
        return
    left = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) - datetime.now(UTC)
    text = f"the certificate of {name} ends in {left.days} days"
    report.check(left.days >= _CERTIFICATE_DAYS, text, f"{text}: renew it", warn=left.days > 7)
