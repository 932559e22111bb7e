"""Gunicorn's own messages and one access line a request, as JSON through `utils.logging`.

An access line has the path but never the query: keys may stand there. The application may put
the caller's id into the WSGI environment under `USER_ID_KEY`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from utils.config import load_settings
from utils.logging import ACCESS_LOGGER, configure_logging

USER_ID_KEY = "openalgo.user_id"


class GatewayLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn calls to log. Its handlers are those of the whole process."""

    def setup(self, cfg: Any) -> None:
        """Set up the process's logs; gunicorn calls it in the master, which workers inherit."""
        configure_logging(load_settings())
        self.error_log = logging.getLogger("gunicorn")
        self.access_log = logging.getLogger(ACCESS_LOGGER)
        self._access_log_enabled = True

    def reopen_files(self) -> None:
        """Nothing to do on SIGUSR1: the handlers notice by themselves that a file was moved."""

    def close_on_exec(self) -> None:
        """Nothing to do: Python's files are not inherited."""

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: Any) -> None:
        """Log one request."""
        headers = {name.lower(): value for name, value in resp.headers}
        seconds = request_time.total_seconds() if isinstance(request_time, timedelta) else None
        fields: dict[str, Any] = {
            "method": environ.get("REQUEST_METHOD", ""),
            "path": environ.get("PATH_INFO", ""),
            "status": _status(resp.status),
            "seconds": seconds,
            "bytes": getattr(resp, "sent", None),
            "remote": environ.get("REMOTE_ADDR", ""),
            "request_id": headers.get("x-request-id", ""),
            "user_id": environ.get(USER_ID_KEY),
            "user_agent": environ.get("HTTP_USER_AGENT", ""),
        }
        self.access_log.info("request", extra=fields)


def _status(status: Any) -> int | None:
    code = str(status).split(" ", 1)[0]
    return int(code) if code.isdigit() else None
