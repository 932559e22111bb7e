"""Puts a release beside the one that serves: the code of a commit, and its packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.rescue.code import installed_at
from scripts.rescue.installation import Installation
from scripts.rescue.run import CommandFailed, run

LOCK = "requirements-server.txt"
_VERSION = re.compile(r'^VERSION = "([^"]+)"', re.M)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECONDS = 900.0


class NotInstalled(Exception):
    """The release could not be put in its place; the message says why."""


def name_of(checkout: Path, wanted: str) -> str:
    """What the release is called: as wanted, or as git describes the commit."""
    if wanted:
        name = wanted
    else:
        try:
            name = _git(checkout, "describe", "--tags", "--always").strip()
        except CommandFailed as error:
            raise NotInstalled(f"{checkout} is no git checkout, use --version: {error}") from None
    if not _NAME.fullmatch(name):
        raise NotInstalled("A version has letters, digits, dots, dashes and underscores.")
    return name


def version_of(release: Path) -> str:
    """The version that a release says of itself, as `/health` shows it."""
    found = _VERSION.search((release / "utils" / "version.py").read_text(encoding="utf-8"))
    if found is None:
        raise NotInstalled(f"{release} does not say its version")
    return found.group(1)


def changed_by_hand(checkout: Path) -> str:
    """Files that differ from the commit, "" when none does."""
    return _git(checkout, "status", "--porcelain", "--untracked-files=no").strip()


def install(
    here: Installation, checkout: Path, name: str, *, commit: str = "HEAD", venv: str = ""
) -> Path:
    """The folder of the release, made unless it is there and complete.

    venv: a virtual environment to share in place of one of its own (for hosts that build none).
    """
    if here.base is None:
        return here.app.resolve()
    release = here.base / "releases" / name
    done = release / ".installed"
    if done.exists():
        return release
    draft = release.with_name(f".{name}.installing")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _unpack(checkout, commit, draft)
    if release.exists():
        shutil.rmtree(release)
    draft.replace(release)  # a virtual environment knows its own path: made in place
    try:
        _packages(release, venv)
        (release / ".env").unlink(missing_ok=True)
        (release / ".env").symlink_to(here.env_file)
        run([str(here.python(release)), "-m", "compileall", "-q", "-x", r"\.venv", str(release)],
            seconds=_SECONDS)
    except CommandFailed as error:
        raise NotInstalled(str(error)) from None
    done.touch()
    return release


def clear(here: Installation, keep: int, protected: set[str]) -> list[str]:
    """Delete the oldest releases above `keep`, never one that is protected; their names."""
    if here.base is None:
        return []
    found = sorted(
        (path for path in (here.base / "releases").iterdir() if path.is_dir()),
        key=installed_at, reverse=True,
    )
    gone = [path for path in found[keep:] if path.name not in protected]
    for path in gone:
        shutil.rmtree(path)
    return [path.name for path in gone]


def _unpack(checkout: Path, commit: str, folder: Path) -> None:
    archive = subprocess.Popen(
        [*_git_command(checkout), "archive", commit], stdout=subprocess.PIPE
    )
    done = subprocess.run(["tar", "-x", "-C", str(folder)], stdin=archive.stdout, check=False)
    if archive.wait() != 0 or done.returncode != 0:
        raise NotInstalled(f"git archive of {commit} in {checkout} failed")


def _packages(release: Path, venv: str) -> None:
    if venv:
        (release / ".venv").symlink_to(venv)
        return
    run([sys.executable, "-m", "venv", str(release / ".venv")], seconds=_SECONDS)
    run(
        [str(release / ".venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps",
         "--require-hashes", "--disable-pip-version-check", "-r", str(release / LOCK)],
        seconds=_SECONDS,
    )


def _git_command(checkout: Path) -> list[str]:
    return ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout)]


def _git(checkout: Path, *words: str) -> str:
    return run([*_git_command(checkout), *words], seconds=30.0)
