"""The deployment guide is followed: its commands are taken out of it and run, in its order.

In a clean clone of the project, against a simulator in the place of Jainam. What a test machine has
not (systemd, supervisord, Docker) is stood in for by commands that read the project's own unit
files (`stand_ins.py`); what they would start is started.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers import SECOND_PROFILE, free_port
from simulator.testing import credential, start
from tests.operations import stand_ins
from tests.support.guide import DEPLOYMENT_GUIDE, ROOT, blocks, headings, section

PATIENCE = 240
"""Seconds that the whole guide may take; about twenty on a machine with nothing else to do."""

AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
PYTHON = shlex.quote(sys.executable)

SECTIONS = (
    "Contents", "Before you begin", "Environment variables", "Deployment steps", "Rollback",
    "Troubleshooting", "Monitoring and alerting", "CI/CD", "Security",
    "When to refresh the master contract", "Testing recommendations", "Screenshots",
)  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What git has of the project, in an empty folder, with the packages at hand."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    project = tmp_path / "openalgo"
    for name in filter(None, names.split("\0")):
        source = ROOT / name
        if source.is_file() and not name.startswith("tests/fixtures"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, project / name)
    (project / ".venv").symlink_to(sys.prefix)
    with (project / ".git-ignored").open("w") as ignored:
        ignored.write(".venv\n")
    for words in (
        ("init", "-q"), ("config", "core.excludesFile", ".git-ignored"), ("add", "."),
        ("commit", "-qm", "The release before"), ("tag", "v0.0.1"),
        ("commit", "-qm", "This one", "--allow-empty"),
    ):  # fmt: skip
        subprocess.run(["git", *AUTHOR, *words], cwd=project, check=True)
    return project


@pytest.fixture
def environ(clone: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The shell of somebody who follows the guide."""
    stand_ins.install(tmp_path / "bin")
    with start() as simulator:
        other = credential(SECOND_PROFILE)
        yield {
            "PATH": os.pathsep.join((str(tmp_path / "bin"), os.environ["PATH"])),
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "GUIDE_PROJECT": str(clone),
            "PORT": str(free_port()),
            "SIMULATOR_PORT": "0",
            "JAINAM_BASE_URL": simulator.url,
            "WISDOM_BASE_URL": simulator.url,
            "WISDOM_INTERACTIVE_API_KEY": other["interactive_key"],
            "WISDOM_INTERACTIVE_API_SECRET": other["interactive_secret"],
            "WISDOM_MARKET_API_KEY": other["market_key"],
            "WISDOM_MARKET_API_SECRET": other["market_secret"],
            "ADMIN_PASSWORD": secrets.token_urlsafe(16),
        }
        stand_ins.stop(clone / "run" / "guide.pid")


def script(port: str) -> str:
    """Every command of the guide, in order; a failure names the line of the guide."""
    lines = [
        "set -euo pipefail",
        "trap 'echo \"the guide fails at line $AT\" >&2' ERR",
        f"python() {{ {PYTHON} -m tests.operations.stand_ins python \"$@\"; }}",
    ]
    for block in blocks(DEPLOYMENT_GUIDE):
        if block.language == "bash":
            text = block.text.replace("127.0.0.1:5000", f"127.0.0.1:{port}")
            lines += [f"AT={block.line}", f"echo '## {block.line}'", text]
    return "\n".join(lines)


def set_credentials(project: Path) -> None:
    """Step 1 says: with an editor."""
    login = credential("jainam-b")
    with (project / ".env").open("a", encoding="utf-8") as env:
        for api in ("interactive", "market"):
            env.write(f"JAINAM_{api.upper()}_API_KEY='{login[f'{api}_key']}'\n")
            env.write(f"JAINAM_{api.upper()}_API_SECRET='{login[f'{api}_secret']}'\n")


def follow(clone: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Run the guide; status and everything that was said."""
    output = clone.parent / "said"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            ["bash", "-c", script(environ["PORT"])], cwd=clone, env=environ, stdout=stream,
            stderr=stream, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        status = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    return status, output.read_text(encoding="utf-8")


@pytest.mark.timeout(300)
def test_every_command_of_the_guide_works_in_its_order(
    clone: Path, environ: dict[str, str]
) -> None:
    set_credentials(clone)
    status, said = follow(clone, environ)
    log = clone / "run" / "guide.log"
    assert status == 0, said[-6000:] + (log.read_text()[-3000:] if log.exists() else "")
    parts = {
        int(number): text
        for number, text in re.findall(r"^## (\d+)\n(.*?)(?=^## |\Z)", said, re.M | re.S)
    }
    listed, gone = [text for text in parts.values() if '"master_contract"' in text]
    assert '"name":"jainam_prop"' in listed
    assert '"name":"jainam_prop"' not in gone
    assert '"name":"wisdom"' in gone
    assert (clone / ".env").stat().st_mode & 0o077 == 0
    for secret in credential("jainam-b")["interactive_secret"], environ["ADMIN_PASSWORD"]:
        assert secret not in said


def test_the_guide_has_every_part_that_the_story_asks_for() -> None:
    found = headings(DEPLOYMENT_GUIDE)
    assert [title for title in SECTIONS if title not in found] == []
    contents = section(DEPLOYMENT_GUIDE, "Contents")
    assert re.findall(r"\d+\. \[([^\]]+)\]", contents) == list(SECTIONS[1:])
    variables = section(DEPLOYMENT_GUIDE, "Environment variables")
    for name in (
        "INTERACTIVE_API_KEY", "INTERACTIVE_API_SECRET", "MARKET_API_KEY", "MARKET_API_SECRET",
        "API_TIMEOUT", "RATE_LIMIT", "RETRY_COUNT",
    ):  # fmt: skip
        assert f"`JAINAM_{name}`" in variables
    assert [title for title in found if title.startswith("Step ")] == [
        "Step 1: set the environment variables", "Step 2: download the master contract",
        "Step 3: restart the application", "Step 4: verify",
    ]  # fmt: skip
    for step in ("**1. Disable", "**2. Revert", "**3. Restore", "**4. Verify"):
        assert step in section(DEPLOYMENT_GUIDE, "Rollback")
    for problem in re.findall(r"^### (.+)$", section(DEPLOYMENT_GUIDE, "Troubleshooting"), re.M):
        for part in ("**Symptom**", "**Cause**", "**Cure**"):
            assert part in section(DEPLOYMENT_GUIDE, problem), problem
