"""Gunicorn's own messages and one access line a request, as JSON through `utils.logging`.

An access line has the path but never the query: keys may stand there. The application adds what
it knows with `utils.trace.noted`. Every request that failed, took longer than a second or sent
orders gets a line, of the others the share `LOG_SAMPLE_RATE`: chosen by the trace id, so that all
services that sample alike keep the same traces, and by the caller's wish (`traceparent`). A line
that stands for others says so in `sample_rate`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from utils.config import load_settings
from utils.logging import ACCESS_LOGGER, configure_logging
from utils.trace import NOTED_KEY, TRACE_KEY, Trace

SLOW = 1.0
"""Seconds after which a request is worth a line whatever it was."""


class GatewayLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn calls to log. Its handlers are those of the whole process."""

    def setup(self, cfg: Any) -> None:
        """Set up the process's logs; gunicorn calls it in the master, which workers inherit."""
        settings = load_settings()
        configure_logging(settings)
        self._rate = settings.log_sample_rate
        self.error_log = logging.getLogger("gunicorn")
        self.access_log = logging.getLogger(ACCESS_LOGGER)
        self._access_log_enabled = True

    def reopen_files(self) -> None:
        """Nothing to do on SIGUSR1: the handlers notice by themselves that a file was moved."""

    def close_on_exec(self) -> None:
        """Nothing to do: Python's files are not inherited."""

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: Any) -> None:
        """Log one request."""
        seconds = request_time.total_seconds() if isinstance(request_time, timedelta) else None
        status = _status(resp.status)
        noted: dict[str, Any] = dict(environ.get(NOTED_KEY) or {})
        trace: Trace | None = environ.get(TRACE_KEY)
        must = bool(
            noted.pop("keep", False)
            or status is None or status >= 400
            or seconds is None or seconds > SLOW
            or (trace is not None and trace.sampled)
        )
        if not must and not _is_chosen(trace, self._rate):
            return
        fields: dict[str, Any] = {
            "method": environ.get("REQUEST_METHOD", ""),
            "path": environ.get("PATH_INFO", ""),
            "status": status,
            "seconds": seconds,
            "bytes": getattr(resp, "sent", None),
            "remote": environ.get("REMOTE_ADDR", ""),
            "user_agent": environ.get("HTTP_USER_AGENT", "")[:256],
            **(trace.fields() if trace is not None else {}),
            **noted,
        }
        if trace is not None and trace.parent_id:
            fields["parent_id"] = trace.parent_id
        if not must and self._rate < 1:
            fields["sample_rate"] = self._rate
        self.access_log.info("request", extra=fields)


def _is_chosen(trace: Trace | None, rate: float) -> bool:
    """Whether a trace is among the share `rate`: by its last digits, which are chance."""
    number = int(trace.trace_id[-8:], 16) if trace is not None else secrets.randbits(32)
    return number < rate * 2**32


def _status(status: Any) -> int | None:
    code = str(status).split(" ", 1)[0]
    return int(code) if code.isdigit() else None
