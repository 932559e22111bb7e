"""JSON logs: their fields, their files, and that no secret comes out of them."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from utils.config import ROOT, ConfigurationError, Settings, load_settings
from utils.logging import (
    bind,
    bound,
    bound_fields,
    configure_command_logging,
    configure_logging,
    get_logger,
    unbind,
)
from utils.redaction import MASK


def settings_for(folder: Path, **environ: str) -> Settings:
    base = {name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER")}
    return load_settings(
        environ={**base, "LOG_DIR": str(folder), **environ}, env_file=None, root=folder
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def untouched_process() -> Iterator[None]:
    """Put the logging of the test process back as it was."""
    root, access = logging.getLogger(), logging.getLogger("access")
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    yield
    for logger in (root, access):
        for handler in [handler for handler in logger.handlers if handler not in before[0]]:
            logger.removeHandler(handler)
            handler.close()
    root.handlers[:], root.level = before[0], before[1]
    sys.excepthook, threading.excepthook = before[2], before[3]
    access.propagate = True
    logging.captureWarnings(False)


def test_a_line_has_its_fields(tmp_path: Path) -> None:
    configure_logging(settings_for(tmp_path), console=False)
    with bound(request_id="abc", user_id=7):
        extra = {"error_code": "risk", "n": 1}
        get_logger("services.orders").warning("refused %s", "it", extra=extra)
    (line,) = lines(tmp_path / "app.log")
    time = line.pop("time")
    assert time.endswith("Z")
    assert "T" in time
    assert line == {
        "level": "WARNING",
        "logger": "services.orders",
        "message": "refused it",
        "service": "openalgo-brokers",
        "environment": "development",
        "request_id": "abc",
        "user_id": 7,
        "error_code": "risk",
        "n": 1,
    }


def test_extra_fields_can_not_hide_the_head(tmp_path: Path) -> None:
    configure_logging(settings_for(tmp_path), console=False)
    get_logger("x").error("m", extra={"level": "INFO", "time": "never", "service": "other"})
    (line,) = lines(tmp_path / "error.log")
    assert (line["level"], line["service"]) == ("ERROR", "openalgo-brokers")
    assert line["time"] != "never"


def test_errors_stand_in_both_files_and_the_rest_in_one(tmp_path: Path) -> None:
    configure_logging(settings_for(tmp_path), console=False)
    log = get_logger("x")
    log.debug("not shown")
    log.info("one")
    log.error("two")
    get_logger("access").info("request")
    assert [line["message"] for line in lines(tmp_path / "app.log")] == ["one", "two"]
    assert [line["message"] for line in lines(tmp_path / "error.log")] == ["two"]
    assert [line["message"] for line in lines(tmp_path / "access.log")] == ["request"]


def test_no_secret_comes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = "hunter22-canary"
    settings = settings_for(tmp_path, DATABASE_URL=f"postgresql://u:{password}@h/db")
    key = settings.secret_key.get_secret_value()
    configure_logging(settings)
    log = get_logger("x")
    log.info("in the message %s", key, extra={"deep": {"list": [key, password]}})
    with bound(context=key):
        log.info("in the context")
    try:
        raise ValueError(f"header {key}") from RuntimeError(password)
    except ValueError:
        log.exception("in the traceback")
    text = (tmp_path / "app.log").read_text(encoding="utf-8") + capsys.readouterr().err
    assert key not in text
    assert password not in text
    assert text.count(MASK) >= 10


def test_binding_is_undone_and_nests(tmp_path: Path) -> None:
    assert bound_fields() == {}
    outer = bind(request_id="outer", user_id=1)
    with bound(request_id="inner"):
        assert bound_fields()["request_id"] == "inner"
    assert bound_fields()["request_id"] == "outer"
    unbind(outer)
    assert bound_fields() == {}


def test_a_second_set_up_replaces_the_first(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    configure_logging(settings)
    configure_logging(settings, console=False)
    get_logger("x").error("once")
    assert len(lines(tmp_path / "app.log")) == 1


def test_the_console_has_a_level_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings_for(tmp_path, LOG_CONSOLE_LEVEL="error"))
    get_logger("x").warning("to the file")
    get_logger("x").error("to both")
    shown = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["to both"]


def test_a_command_logs_to_the_files_and_leaves_the_terminal_to_its_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(tmp_path)
    key = settings.secret_key.get_secret_value()
    configure_command_logging(settings)
    get_logger("x").error("refused %s", key)
    get_logger("x").critical("lost %s", key)
    assert [line["level"] for line in lines(tmp_path / "app.log")] == ["ERROR", "CRITICAL"]
    assert len(lines(tmp_path / "error.log")) == 2
    assert capsys.readouterr().err == f"CRITICAL: lost {MASK}\n"


def test_whoever_may_not_write_the_logs_sees_the_warnings_of_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    configure_command_logging(settings_for(tmp_path, LOG_DIR=str(tmp_path / "file")))
    get_logger("x").info("not shown")
    get_logger("x").warning("shown")
    assert capsys.readouterr().err == "WARNING: shown\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_a_log_that_root_begins_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    (folder / "error.log").touch()
    configure_command_logging(settings_for(tmp_path, LOG_DIR=str(folder)))
    get_logger("x").info("root was here")
    assert (folder / "app.log").stat().st_uid == 65534
    assert (folder / "error.log").stat().st_uid == 0, "what was there is left as it is"


def test_a_file_that_was_rotated_away_is_opened_again(tmp_path: Path) -> None:
    configure_logging(settings_for(tmp_path), console=False)
    get_logger("x").info("before")
    (tmp_path / "app.log").rename(tmp_path / "app.log.1")
    get_logger("x").info("after")
    assert [line["message"] for line in lines(tmp_path / "app.log")] == ["after"]


def test_a_folder_that_can_not_be_written_is_a_fault(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(ConfigurationError, match="LOG_DIR: is a folder that can't be written"):
        configure_logging(settings_for(tmp_path, LOG_DIR=str(blocker / "log")))


def test_uncaught_exceptions_are_logged_without_secrets(tmp_path: Path) -> None:
    program = """
import threading
from pathlib import Path
from utils.config import load_settings
from utils.logging import configure_logging
settings = load_settings(env_file=None, root=Path("/nonexistent"))
configure_logging(settings)
key = settings.secret_key.get_secret_value()
def fail():
    raise RuntimeError("in a thread " + key)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
def leave():
    raise SystemExit
thread = threading.Thread(target=leave)
thread.start()
thread.join()
raise RuntimeError("in the main thread " + key)
"""
    key = secrets.token_hex(32)
    environ = {
        "SECRET_KEY": key,
        "API_KEY_PEPPER": secrets.token_hex(32),
        "LOG_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert key not in done.stderr
    found = lines(tmp_path / "error.log")
    assert [line["message"] for line in found] == [
        "a thread ends with an exception",
        "the process ends with an exception",
    ]
    assert all(MASK in line["exc_info"] for line in found)
