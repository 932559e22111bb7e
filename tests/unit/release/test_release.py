"""Migrations that the release before can live with, and how a release is put in its place."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.release import checks
from scripts.release.deploy import main
from scripts.release.install import NotInstalled, clear, install, name_of, version_of
from scripts.release.migrations import incompatible
from scripts.release.statuses import MEANING, Status
from scripts.rescue.code import code_of
from scripts.rescue.installation import Installation
from tests.operations.serving import free_port
from utils.config import ROOT
from utils.version import VERSION


def test_every_migration_of_ours_is_compatible_with_the_release_before() -> None:
    assert incompatible(ROOT / "migrations" / "versions") == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("op.drop_column('t', 'c')", "drop_column takes a column away"),
        ("op.drop_table('t')", "drop_table takes a table away"),
        ("batch.alter_column('c', new_column_name='d')", "renames a column"),
        ("batch.alter_column('c', nullable=False)", "demands a value"),
        ("op.add_column('t', sa.Column('c', sa.Text(), nullable=False))", "demands a value"),
        ("op.add_column('t', sa.Column('c', sa.Text(), nullable=False, server_default=''))", ""),
        ("op.add_column('t', sa.Column('c', sa.Text(), nullable=True))", ""),
        ("op.create_table('t')", ""),
        ("batch.alter_column('c', nullable=True)", ""),
    ],
)
def test_what_would_break_the_older_release(tmp_path: Path, line: str, why: str) -> None:
    text = f"def upgrade():\n    {line}\n\n\ndef downgrade():\n    op.drop_table('t')\n"
    (tmp_path / "0002_x.py").write_text(text, encoding="utf-8")
    found = incompatible(tmp_path)
    assert (why in found[0] and "0002_x.py, line 2" in found[0]) if why else found == []
    marked = f'CONTRACTS = "nobody reads it since 1.2"\n{text}'
    (tmp_path / "0002_x.py").write_text(marked, encoding="utf-8")
    assert incompatible(tmp_path) == []


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for name in ("utils", "migrations/versions"):
        (folder / name).mkdir(parents=True)
    (folder / "utils" / "version.py").write_text('VERSION = "3.2.1"\n', encoding="utf-8")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "All")
    git(folder, "tag", "v3.2.1")
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    base = tmp_path / "opt"
    (base / "releases").mkdir(parents=True)
    env_file = tmp_path / "openalgo.env"
    env_file.write_text(
        f"ENVIRONMENT=staging\nPORT={free_port()}\nDATABASE_URL=sqlite:///{tmp_path}/x.db\n",
        encoding="utf-8",
    )
    (tmp_path / "state").mkdir()
    return Installation(base / "current", base, env_file, tmp_path / "state", None, {})


def test_a_release_is_the_commit_and_nothing_of_the_working_tree(
    here: Installation, checkout: Path
) -> None:
    (checkout / "notes.txt").write_text("mine\n", encoding="utf-8")
    name = name_of(checkout, "")
    assert name == "v3.2.1"
    release = install(here, checkout, name, venv=sys.prefix)
    assert release == here.base / "releases" / "v3.2.1"  # type: ignore[operator]
    assert version_of(release) == "3.2.1"
    assert not (release / "notes.txt").exists()
    assert (release / ".env").resolve() == here.env_file
    before = (release / "utils" / "version.py").stat().st_ino
    assert install(here, checkout, name, venv=sys.prefix) == release  # there already
    assert (release / "utils" / "version.py").stat().st_ino == before
    (release / ".installed").unlink()  # cut off half way: made anew
    install(here, checkout, name, venv=sys.prefix)
    assert (release / "utils" / "version.py").stat().st_ino != before
    assert version_of(ROOT) == VERSION


def test_bad_names_and_commits_are_refused(here: Installation, checkout: Path) -> None:
    with pytest.raises(NotInstalled, match="letters"):
        name_of(checkout, "../up")
    with pytest.raises(NotInstalled, match="git archive"):
        install(here, checkout, "x", commit="no-such-commit", venv=sys.prefix)


def test_old_releases_go_but_never_the_way_back(here: Installation) -> None:
    import os

    assert here.base is not None
    for number in range(5):
        folder = here.base / "releases" / f"r{number}"
        folder.mkdir()
        os.utime(folder, (number, number))
    assert sorted(clear(here, 2, {"r0"})) == ["r1", "r2"]
    assert {path.name for path in (here.base / "releases").iterdir()} == {"r0", "r3", "r4"}


def test_the_checks_before_say_what_is_wrong(here: Installation, checkout: Path) -> None:
    code = code_of(here, "systemd")
    noon = datetime(2026, 11, 26, 6, 30, tzinfo=UTC)  # a Thursday, 12:00 IST
    report = checks.before(here, "staging", checkout, code, now=noon)
    assert report.failures == []
    texts = " ".join(text for _, text in report.lines)
    assert "this is the first release" in texts and "does not serve now" in texts
    (checkout / "utils" / "version.py").write_text("# by hand\n", encoding="utf-8")
    (checkout / "migrations" / "versions" / "2.py").write_text(
        "def upgrade():\n    op.drop_table('orders')\n", encoding="utf-8"
    )
    report = checks.before(here, "production", checkout, code, now=noon)
    assert len(report.failures) == 3
    assert "is of staging, not of production" in report.failures[0]
    assert "utils/version.py" in report.failures[1]
    assert "drop_table" in report.failures[2]
    assert "the market is open (12:00 IST)" in report.lines[-1][1]
    evening = datetime(2026, 11, 26, 15, 0, tzinfo=UTC)
    closed = checks.before(here, "production", checkout, code, now=evening)
    assert closed.lines[-1] == ("ok", "the market is closed")


def test_failures_before_anything_changes(
    here: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--app", str(here.base), "--env-file", str(here.env_file), "--state",
               str(here.state), "--method", "systemd", "--yes"]
    assert main(["production", *options], ROOT, {}) == Status.CHECKS_FAILED
    assert "is of staging, not of production" in capsys.readouterr().err
    assert main(["staging", "--env-file", "/none", "--app", str(here.base)], ROOT, {}) == (
        Status.NOT_FOUND
    )
    assert main(["production", "--by-hand", *options], ROOT, {}) == 0
    commands = capsys.readouterr().out
    assert f"ln -sfn \"releases/$version\" {here.base}/current" in commands
    assert "db upgrade" in commands and "rollback.sh" in commands
    assert list((here.base / "releases").iterdir()) == []  # type: ignore[operator]
    assert set(MEANING) == set(Status)
