"""Documents name what exists: links lead somewhere, commands and targets are there."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest
from flask.cli import FlaskGroup, ScriptInfo
from flask_migrate.cli import db as migrations

from app import GatewayApp, create_app
from tests.support.guide import ROOT, anchor, blocks, headings, links
from tests.support.stacks import settings_of

DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "deploy", "broker", "examples")
    for path in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
)
_COMMAND = re.compile(r"(?:^|[\s`(])(?:flask --app app|\.venv/bin/flask --app app) ([^`\n|)]+)")
_SHORT = re.compile(r"(?:^|\$\(|\| )flask ((?!--app)[a-z][^)\n]*)", re.MULTILINE)
_TARGET = re.compile(r"`make ([a-z]+)[^`]*`|^make ([a-z]+)", re.MULTILINE)
_SCRIPT = re.compile(r"(?<![\w/-])(scripts/\w+\.(?:sh|py))")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target in links(document):
        file, _, fragment = target.partition("#")
        there = (document.parent / file).resolve() if file else document
        if not there.exists() or (fragment and fragment not in map(anchor, headings(there))):
            broken.append(target)
    assert broken == []


@cache
def _app() -> GatewayApp:
    return create_app(settings_of())


def _fault(words: list[str]) -> str | None:
    """What is wrong with these words after `flask`, by the commands' own definitions."""
    group = FlaskGroup()
    group.add_command(migrations, "db")  # the application adds it where `flask` itself runs
    command: click.Command = group
    with click.Context(group, obj=ScriptInfo(create_app=_app)) as root:  # and its app context
        context = root
        while words and isinstance(command, click.Group):
            name = words.pop(0)
            if name.isupper() or name in ("…", "$@"):
                return None
            found = command.get_command(context, name)
            if found is None:
                return f"no command {name!r}"
            command, context = found, click.Context(found, parent=context)
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    unknown = sorted(given - known)
    return f"no option {', '.join(unknown)}" if unknown else None


def _commands(document: Path) -> list[str]:
    text = document.read_text(encoding="utf-8")
    found = [match[1] for match in _COMMAND.finditer(text)]
    for block in blocks(document):  # where FLASK_APP is set
        found += _SHORT.findall(block.text)
    return found


def test_every_flask_command_in_the_documents_exists() -> None:
    faults = []
    for document in DOCUMENTS:
        for line in _commands(document):
            try:
                words = shlex.split(line.split("#")[0].split(";")[0].split("|")[0], comments=True)
            except ValueError:
                words = line.split()
            words = [word for word in words if word not in ("…", "…,", "\\")]
            fault = _fault(words)
            if fault:
                faults.append(f"{_name(document)}: flask {line.strip()}: {fault}")
    assert faults == []


def test_every_make_target_and_script_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        named = {first or second for first, second in _TARGET.findall(text)}
        missing += [f"{_name(document)}: make {name}" for name in sorted(named - targets)]
        missing += [
            f"{_name(document)}: {name}"
            for name in sorted(set(_SCRIPT.findall(text)))
            if not (ROOT / name).is_file()
        ]
    assert missing == []
