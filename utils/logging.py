"""JSON logs: one line an event, with the request it belongs to, and no secret in it.

Lines go to the console and to three files under `LOG_DIR`: `app.log` (everything of ours),
`error.log` (ERROR and worse) and `access.log` (one line a request, see
`utils.gunicorn_log` for which). The files are reopened when logrotate moves them away; rotating
inside the process would lose lines under several workers.

A line has time, level, logger, message, service and environment; `request_id`, `trace_id`,
`span_id` and `user_id` where it belongs to a request; `error_code`, the word of docs/errors.md,
where something was refused or went wrong.

    log = get_logger(__name__)
    with bound(request_id=request_id, user_id=7):
        log.warning("order refused", extra={"error_code": "risk_max", "reference": ref})
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from io import TextIOWrapper
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from pythonjsonlogger.json import JsonFormatter

from utils.config import SECRETS, ConfigurationError, Fault, Settings, value_of
from utils.redaction import redact, register_secret

SERVICE = "openalgo-brokers"
ACCESS_LOGGER = "access"

_HANDLER_MARK = "_openalgo_handler"
_bound: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default={})  # noqa: B039 - never mutated

get_logger = logging.getLogger


def bind(**fields: Any) -> Token[Mapping[str, Any]]:
    """Add fields to every line of this context until `unbind` is given the token back."""
    return _bound.set({**_bound.get(), **fields})


def unbind(token: Token[Mapping[str, Any]]) -> None:
    """Take back what `bind` added."""
    _bound.reset(token)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add fields to every line of this block."""
    token = bind(**fields)
    try:
        yield
    finally:
        unbind(token)


def bound_fields() -> Mapping[str, Any]:
    """What is bound to this context: of a request at least its `request_id`."""
    return _bound.get()


class LineFormatter(JsonFormatter):
    """One JSON object a line: time, level, logger, message, service, environment, then the rest."""

    def __init__(self, environment: str) -> None:
        super().__init__(json_ensure_ascii=False, json_default=str)
        self._environment = environment

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """Fill in one line; the caller's `extra` is merged last and can't hide the head."""
        at = datetime.fromtimestamp(record.created, UTC)
        head = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "service": SERVICE,
            "environment": self._environment,
        }
        rest: dict[str, Any] = {}
        super().add_fields(rest, record, message_dict)
        log_data.update(head)
        log_data.update(_bound.get())
        log_data.update({key: value for key, value in rest.items() if key not in head})

    def format(self, record: logging.LogRecord) -> str:
        """The line, without any registered secret, wherever in the record it stood."""
        return redact(super().format(record))


def configure_logging(settings: Settings, *, console: bool = True) -> None:
    """Set up this process's logs. Call it once a process; again replaces the set-up.

    Registers every secret of the settings for redaction first. Raises `ConfigurationError` when
    `LOG_DIR` can't be written.
    """
    register_settings(settings)
    app, error, access = _file_handlers(settings)
    root, access_log = logging.getLogger(), logging.getLogger(ACCESS_LOGGER)
    _replace_handlers(root, [app, error])
    _replace_handlers(access_log, [access])
    if console:
        stream = logging.StreamHandler(sys.stderr)
        stream.setLevel(settings.log_console_level)
        stream.setFormatter(LineFormatter(settings.environment))
        _add(root, stream)
        _add(access_log, stream)
    root.setLevel(settings.log_level)
    access_log.setLevel(logging.INFO)
    access_log.propagate = False
    _quieten(root.level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def configure_command_logging(settings: Settings) -> None:
    """Set up the logs of a command: the gateway's files, and only CRITICAL for the terminal.

    The person there gets the command's own answer. Somebody who may not write the files gets the
    warnings as well, for then they are nowhere else.
    """
    register_settings(settings)
    handlers: list[logging.Handler] = []
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.CRITICAL)
    terminal.setFormatter(_Sentence("%(levelname)s: %(message)s"))
    try:
        app, error, access = _file_handlers(settings)
    except ConfigurationError:
        terminal.setLevel(logging.WARNING)
    else:
        access.close()  # a command answers no requests
        handlers = [app, error]
    root = logging.getLogger()
    _replace_handlers(root, [*handlers, terminal])
    root.setLevel(settings.log_level)
    _quieten(root.level)


class _Sentence(logging.Formatter):
    """A line for a person's terminal, without any registered secret."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def register_settings(settings: Settings) -> None:
    """Have every secret of the settings removed from the logs, passwords inside URLs included."""
    for name in SECRETS:
        secret = value_of(settings, name)
        if isinstance(secret, SecretStr):
            text = secret.get_secret_value()
            password = urlsplit(text).password if "://" in text else text
            register_secret(password, lasting=True)


def _quieten(level: int) -> None:
    """Other people's modules say what went wrong, and no more."""
    for name in ("httpx", "httpcore", "apscheduler", "urllib3", "werkzeug"):
        logging.getLogger(name).setLevel(max(logging.WARNING, level))


def check_log_dir(settings: Settings) -> None:
    """`ConfigurationError` unless log files can be written where they are wanted."""
    for handler in _file_handlers(settings):
        handler.close()


def _file_handlers(settings: Settings) -> list[logging.Handler]:
    """app.log, error.log and access.log, ready to be written."""
    try:
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        files: list[logging.Handler] = [
            _SharedFileHandler(settings.log_dir / name, encoding="utf-8")
            for name in ("app.log", "error.log", "access.log")
        ]
    except OSError as error:
        fault = Fault("LOG_DIR", f"is a folder that can't be written: {error.strerror}")
        raise ConfigurationError([fault]) from None
    for file in files:
        file.setFormatter(LineFormatter(settings.environment))
    files[1].setLevel(logging.ERROR)
    return files


class _SharedFileHandler(logging.handlers.WatchedFileHandler):
    """A log that several processes write; what root makes here belongs to the folder's owner."""

    def _open(self) -> TextIOWrapper:
        is_new = not os.path.exists(self.baseFilename)
        stream = super()._open()
        if is_new and os.geteuid() == 0:
            folder = os.stat(os.path.dirname(self.baseFilename))
            os.fchown(stream.fileno(), folder.st_uid, folder.st_gid)
        return stream


def _replace_handlers(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    for handler in list(logger.handlers):
        if getattr(handler, _HANDLER_MARK, False):
            logger.removeHandler(handler)
            handler.close()
    for handler in handlers:
        _add(logger, handler)


def _add(logger: logging.Logger, handler: logging.Handler) -> None:
    setattr(handler, _HANDLER_MARK, True)
    logger.addHandler(handler)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("uncaught").critical(
        "the process ends with an exception", exc_info=(kind, error, traceback)
    )


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is None or issubclass(arguments.exc_type, SystemExit):
        return
    logging.getLogger("uncaught").critical(
        "a thread ends with an exception",
        exc_info=(arguments.exc_type, arguments.exc_value, arguments.exc_traceback),
    )
