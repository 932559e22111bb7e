"""The logrotate configuration of an installation, from its settings.

`deploy/logrotate/openalgo` is what this makes for production. The files are moved and made anew
by logrotate; every process notices before its next line (`logging.handlers.WatchedFileHandler`).
Age alone decides what goes (`rotate -1`): a busy day may fill several files. Compression waits
one rotation, because a process may still be writing its last line to the file
that was moved.
"""

from __future__ import annotations

from pathlib import Path

RETENTION_DAYS = {"development": 7, "testing": 7, "staging": 30, "production": 90}


def configuration(folder: Path, environment: str, user: str, group: str) -> str:
    """The text of a file for /etc/logrotate.d."""
    days = RETENTION_DAYS[environment]
    return f"""\
# Logs of the gateway ({environment}): a file a day, kept for {days} days.
# Written by: flask --app app logs rotation --environment {environment} --folder {folder}
# Try it: logrotate --debug FILE; rotate now: logrotate --force FILE
{folder}/app.log {folder}/error.log {folder}/access.log {{
    daily
    rotate -1
    maxage {days}
    maxsize 500M
    dateext
    dateformat -%Y%m%d-%s
    missingok
    notifempty
    compress
    delaycompress
    su {user} {group}
    create 0640 {user} {group}
}}
"""
