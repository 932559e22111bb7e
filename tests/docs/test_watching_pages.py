"""The pages about watching name commands and settings that there are."""

from __future__ import annotations

import re

import click
import pytest
from flask import Flask

import cli
from utils.config import PATHS, ROOT

PAGES = ("runbooks", "monitoring", "logs")
OF_OTHERS = {"REDIS_URL", "PROMETHEUS_MULTIPROC_DIR"}


def page(name: str) -> str:
    return (ROOT / "docs" / "operations" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_every_command_is_there(name: str) -> None:
    app = Flask("commands")
    cli.register(app)
    named = set(re.findall(r"flask (?:--app app )?([a-z][a-z-]+) ([a-z][a-z-]+)", page(name)))
    assert named
    missing = []
    for group, command in sorted(named):
        found = app.cli.commands.get(group)
        if group == "db":  # Flask-Migrate's
            continue
        if isinstance(found, click.Group):
            if command not in found.commands:
                missing.append(f"{group} {command}")
        elif found is None:
            missing.append(f"{group} {command}")
    assert missing == []


@pytest.mark.parametrize("name", PAGES)
def test_every_setting_is_there(name: str) -> None:
    named = set(re.findall(r"`([A-Z][A-Z]+(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", page(name)))
    assert named - set(PATHS) - OF_OTHERS == set()


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page(name)):
        assert (ROOT / "docs" / "operations" / target).resolve().exists(), target
