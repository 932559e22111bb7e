"""Which code is served, which was before, and how one is exchanged for the other.

Three ways: a link to a release, a commit that is checked out, the tag of an image. What was
deployed when is read from `deployments.jsonl`, which `scripts/deploy.sh` writes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from scripts.rescue.installation import Installation, write_variable
from scripts.rescue.run import CommandFailed, run
from scripts.rescue.statuses import Failed, Status

IMAGE_VARIABLE = "OPENALGO_VERSION"
_SECONDS = 20.0


class Code(Protocol):
    """The code of an installation. Versions are names of releases, commits, or tags."""

    def current(self) -> str:
        """The version that is served."""

    def previous(self, current: str) -> str:
        """The version before `current`; `Failed` when nobody knows one."""

    def switch(self, version: str) -> str:
        """Make this version the one that is served at the next start; what to know about it."""

    def folder(self, version: str) -> Path | None:
        """Where a version lies ready, beside the one that is served."""


def code_of(installation: Installation, method: str) -> Code:
    """How the code of this installation is exchanged."""
    if method == "docker":
        return Image(installation)
    if method != "git" and installation.base is not None:
        return Releases(installation)
    if (installation.app / ".git").exists():
        return Git(installation)
    raise Failed(
        Status.NOT_FOUND, f"{installation.app} is neither a release nor a git checkout."
    )


def deployments(state: Path) -> list[str]:
    """The versions that were deployed and kept, the oldest first, none twice in a row."""
    try:
        lines = (state / "deployments.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    versions: list[str] = []
    for line in lines:
        entry = json.loads(line)
        if entry.get("outcome") == "deployed" and entry["version"] not in versions[-1:]:
            versions.append(entry["version"])
    return versions


def note(state: Path, version: str, outcome: str) -> None:
    """Write down that a version was deployed, failed, or is what was rolled back to."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with (state / "deployments.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"at": at, "version": version, "outcome": outcome}) + "\n")


def _before(state: Path, current: str) -> str | None:
    """The version that was deployed last before `current`, or last of all if that is unknown."""
    known = deployments(state)
    if current in known:
        known = known[: len(known) - 1 - known[::-1].index(current)]
    return next((version for version in reversed(known) if version != current), None)


def installed_at(release: Path) -> float:
    """When a release was put in its place: its mark says so, else the oldest thing in it.

    Not the folder's own time, which moves when Python writes its caches.
    """
    mark = release / ".installed"
    if mark.exists():
        return mark.stat().st_mtime
    times = [path.lstat().st_ctime for path in release.iterdir()]
    return min(times) if times else release.stat().st_mtime


class Releases:
    """`<base>/current` is a link to `<base>/releases/<version>`."""

    def __init__(self, installation: Installation) -> None:
        assert installation.base is not None  # noqa: S101 - `code_of` looked
        self._base, self._state = installation.base, installation.state

    def current(self) -> str:
        return (self._base / "current").resolve().name

    def previous(self, current: str) -> str:
        known = _before(self._state, current)
        if known is not None and self.folder(known):
            return known
        folders = [row for row in (self._base / "releases").iterdir() if row.name != current]
        mine = self.folder(current)
        age = installed_at(mine) if mine else float("inf")
        older = [row for row in folders if row.is_dir() and installed_at(row) <= age]
        if not older:
            names = ", ".join(sorted(row.name for row in folders if row.is_dir())) or "none"
            raise Failed(
                Status.NO_RELEASE,
                f"There is no release before {current}; others that are installed: {names}.",
            )
        return max(older, key=installed_at).name

    def switch(self, version: str) -> str:
        target = self.folder(version)
        if target is None:
            raise Failed(Status.NO_RELEASE, f"There is no release {version} in {self._base}.")
        draft = self._base / "current.new"
        try:
            draft.unlink(missing_ok=True)
            draft.symlink_to(Path("releases") / version)
            draft.replace(self._base / "current")
        except OSError as error:
            raise Failed(Status.NOT_SWITCHED, f"{draft}: {error.strerror}") from None
        return ""

    def folder(self, version: str) -> Path | None:
        found = self._base / "releases" / version
        return found if version and found.is_dir() else None


class Git:
    """A checkout: the version is a commit."""

    def __init__(self, installation: Installation) -> None:
        self._app, self._state = installation.app, installation.state

    def current(self) -> str:
        return self._git("rev-parse", "HEAD")

    def previous(self, current: str) -> str:
        known = _before(self._state, current)
        if known is not None:
            return known
        try:
            tag = self._git("describe", "--tags", "--abbrev=0", f"{current}^")
            return self._git("rev-parse", f"{tag}^{{commit}}")
        except Failed:
            raise Failed(
                Status.NO_RELEASE, "No deployment is on record and no tag is older."
            ) from None

    def switch(self, version: str) -> str:
        changed = self._git("status", "--porcelain", "--untracked-files=no")
        if changed:
            raise Failed(
                Status.NOT_SWITCHED,
                f"Files in {self._app} were changed by hand (git stash puts them away): {changed}",
            )
        before = self.current()
        self._git("checkout", "--quiet", "--detach", version)
        locks = self._git("diff", "--name-only", before, "HEAD", "--", "requirements*.txt")
        hint = "the packages differ: run `make setup` if the gateway does not start"
        return hint if locks else ""

    def folder(self, version: str) -> Path | None:
        return None

    def _git(self, *arguments: str) -> str:
        # The checkout may be another user's; git would refuse to read it as root.
        command = ["git", "-c", f"safe.directory={self._app.resolve()}", "-C", str(self._app)]
        try:
            return run([*command, *arguments], seconds=_SECONDS).strip()
        except CommandFailed as error:
            raise Failed(Status.NOT_SWITCHED, str(error)) from None


class Image:
    """A container: the version is the tag that the compose file takes from `OPENALGO_VERSION`."""

    def __init__(self, installation: Installation) -> None:
        self._file, self._state = installation.env_file, installation.state
        self._variables = installation

    def current(self) -> str:
        return self._variables.variables.get(IMAGE_VARIABLE, "")

    def previous(self, current: str) -> str:
        known = _before(self._state, current)
        if known is None:
            raise Failed(Status.NO_RELEASE, "No deployment is on record.")
        return known

    def switch(self, version: str) -> str:
        try:
            write_variable(self._file, IMAGE_VARIABLE, version)
        except OSError as error:
            raise Failed(Status.NOT_SWITCHED, f"{self._file}: {error.strerror}") from None
        return ""

    def folder(self, version: str) -> Path | None:
        return None
