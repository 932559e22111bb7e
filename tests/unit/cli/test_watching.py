"""What an operator watches from a shell, over real services on a scratch database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from flask import Flask

import cli
from cli.support import EXTENSION
from database.engine import Database
from services.deployments import DeploymentService
from tests.support.clocks import ManualClock
from tests.support.databases import sqlite_database


class Shell:
    """Runs commands as an operator's shell does."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.clock = ManualClock()
        self.folder = folder
        self.gateway = SimpleNamespace(
            clock=self.clock,
            deployments=DeploymentService(database, self.clock, "staging"),
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
