"""What an operator watches from a shell, over real services on a scratch database."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

import cli
from cli.support import EXTENSION
from database import journal
from database.engine import Database
from database.journal import Intent, IntentKind
from services.deployments import DeploymentService
from services.failures import FailureService
from services.order_names import names_of
from tests.support.clocks import ManualClock
from tests.support.databases import NOON, add_account, sqlite_database
from utils.config import ROOT
from utils.rotation import RETENTION_DAYS


class Shell:
    """Runs commands as an operator's shell does."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.clock = ManualClock()
        self.folder = folder
        self.gateway = SimpleNamespace(
            clock=self.clock,
            settings=SimpleNamespace(log_dir=folder / "log", environment="staging"),
            database=database,
            deployments=DeploymentService(database, self.clock, "staging"),
            failures=FailureService(database, self.clock),
        )
        app = Flask("test")
        app.extensions[EXTENSION] = SimpleNamespace(gateway=self.gateway)
        cli.register(app)
        self._runner = app.test_cli_runner()

    def run(self, *words: str) -> Result:
        return self._runner.invoke(args=list(words))

    def ok(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with sqlite_database(tmp_path) as database:
        yield Shell(database, tmp_path)


def test_deployments(shell: Shell) -> None:
    assert "No deployment was recorded." in shell.ok("deployments", "list")
    assert shell.ok("deployments", "record", "v1.0.0") == "v1.0.0: deployed.\n"
    shell.clock.advance(60)
    words = ["--outcome", "rolled_back", "--note", "5xx above 5 %"]
    shell.ok("deployments", "record", "v0.9.0", *words)
    newest, older = json.loads(shell.ok("deployments", "list", "--json"))
    assert (newest["version"], newest["outcome"]) == ("v0.9.0", "rolled_back")
    assert (newest["environment"], newest["note"]) == ("staging", "5xx above 5 %")
    assert older["version"] == "v1.0.0"
    assert newest["at"] > older["at"]


@pytest.mark.parametrize("version", ["", "-x", "a b", "v" * 65, "v1\n"])
def test_a_version_is_a_word(shell: Shell, version: str) -> None:
    result = shell.run("deployments", "record", "--", version)
    assert result.exit_code == 1
    assert "A version has at most 64" in result.stderr


def write_logs(folder: Path, *lines: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps({"time": f"t{n}", "message": "m", **line}) + "\n"
                   for n, line in enumerate(lines))  # fmt: skip
    (folder / "app.log").write_text(text + '{"half a li', encoding="utf-8")
    (folder / "error.log").write_text(text, encoding="utf-8")
    with gzip.open(folder / "access.log-20261119-1.gz", "wt", encoding="utf-8") as stream:
        stream.write(json.dumps({"time": "s", "request_id": "r-1", "logger": "access"}) + "\n")


def test_lines_are_found_by_any_name_once_and_in_order(shell: Shell) -> None:
    write_logs(
        shell.gateway.settings.log_dir,
        {"request_id": "r-1", "reference": "REF", "logger": "one"},
        {"request_id": "r-10", "logger": "another"},
        {"reference": ["OTHER", "REF"], "logger": "basket"},
        {"message": "the order REF is lost", "logger": "words", "exc_info": "Traceback of it"},
    )
    found = json.loads(shell.ok("logs", "find", "r-1", "--json"))
    assert [line["logger"] for line in found] == ["access", "one"]
    found = json.loads(shell.ok("logs", "find", "REF", "--json", "--only"))
    assert [line["logger"] for line in found] == ["one", "basket", "words"]
    assert "the order REF is lost" in shell.ok("logs", "find", "REF")
    assert "Traceback of it" in shell.ok("logs", "find", "REF")
    result = shell.run("logs", "find", "nobody")
    assert result.exit_code == 1
    assert "No log says anything about 'nobody'" in result.stderr


def test_an_order_is_found_by_the_names_that_the_journal_knows(
    shell: Shell, tmp_path: Path
) -> None:
    database: Database = shell.gateway.database
    intent = Intent(
        reference="REF", tag="TAG", kind=IntentKind.PLACE, account_id=add_account(database),
        user_id=None, request_id="r-1", created_at=NOON, client_order_id="mine",
    )
    with database.write() as conn:
        journal.new_intent(conn, intent)
    for name in ("REF", "TAG", "r-1", "mine"):
        assert names_of(database, name) == {"REF", "TAG", "r-1", "mine"}
    assert names_of(database, "another") == {"another"}


def test_the_rotation_in_deploy_is_what_the_command_prints(shell: Shell) -> None:
    words = ["logs", "rotation", "--environment", "production", "--folder", "/var/log/openalgo"]
    shipped = (ROOT / "deploy" / "logrotate" / "openalgo").read_text(encoding="utf-8")
    assert shell.ok(*words) == shipped
    assert "maxage 30\n" in shell.ok("logs", "rotation")  # of this environment: staging
    kept = {name: RETENTION_DAYS[name] for name in ("development", "staging", "production")}
    assert kept == {"development": 7, "staging": 30, "production": 90}


def test_unhandled_errors_are_listed(shell: Shell) -> None:
    assert "No unhandled error was seen." in shell.ok("errors", "list")
    shell.gateway.failures.watch()
    try:
        try:
            raise KeyError("canary")
        except KeyError:
            logging.getLogger("test").exception("it failed")
    finally:
        shell.gateway.failures.close()
    text = shell.ok("errors", "list")
    assert "KeyError" in text
    assert "canary" not in text
