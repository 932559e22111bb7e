"""The virtual environment: made when missing, filled from a hashed lock, left alone when current.

Three locks contain one another: `requirements.txt` serves, `requirements-server.txt` adds
PostgreSQL and Redis, `requirements-dev.txt` adds what tests and checks need. A stamp inside the
environment records the lock that it was filled from.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from scripts.devtools.say import Failed, step

LOCKS = ("requirements.txt", "requirements-server.txt", "requirements-dev.txt")
"""From the smallest to the largest."""

RUNTIME, SERVER, DEV = LOCKS


class Environment:
    """The virtual environment of a project folder."""

    def __init__(self, root: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.root = root
        self.folder = Path(environ.get("VENV_DIR") or root / ".venv")
        self.python = self.folder / "bin" / "python"
        self._stamp = self.folder / "lock-stamp.json"
        self._uv = _find_uv(environ)

    def ensure(self, lock: str) -> None:
        """Make sure that everything in `lock` is installed, in the locked versions.

        Nothing is done when the stamp says so. Tools of a larger lock that were installed before
        are kept. Raises `Failed` with one sentence when that is impossible.
        """
        if not self.python.exists():
            with step("creating the virtual environment"):
                self._create()
        installed = self._installed()
        if _rank(installed) >= _rank(lock) and self._is_current(installed):
            return
        wanted = max(lock, installed, key=_rank)
        with step(f"installing {wanted} (the first time takes up to a minute)"):
            self._install(wanted)

    def _create(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)
        if self._uv:
            _run([self._uv, "venv", "--quiet", "--python", sys.executable, str(self.folder)])
            return
        if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
            version = "{}.{}".format(*sys.version_info)
            raise Failed(
                f"This Python can't make virtual environments: install the package "
                f"python{version}-venv (on Debian and Ubuntu: "
                f"sudo apt install python{version}-venv) and run this again."
            )
        _run([sys.executable, "-m", "venv", str(self.folder)])

    def _install(self, lock: str) -> None:
        """Install exactly what the lock lists.

        `--no-deps`, because the lock is complete and older versions of pip resolve an extra
        (`coverage[toml]`) to the newest release instead of the pinned one, then miss its hash.
        """
        locked = ["--no-deps", "--require-hashes", "-r", str(self.root / lock)]
        self._stamp.unlink(missing_ok=True)
        if self._uv:
            target = ["--quiet", "--python", str(self.python)]
            done = subprocess.run(
                [self._uv, "pip", "install", *target, *locked],
                check=False,
                capture_output=True,
            )
            if done.returncode == 0:
                self._write_stamp(lock)
                return
            _run([str(self.python), "-m", "ensurepip", "--upgrade"])
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *locked])
        self._write_stamp(lock)

    def _write_stamp(self, lock: str) -> None:
        content = {"lock": lock, "sha256": self._digest(lock)}
        self._stamp.write_text(json.dumps(content), encoding="utf-8")

    def _digest(self, lock: str) -> str:
        return hashlib.sha256((self.root / lock).read_bytes()).hexdigest()

    def _read_stamp(self) -> dict[str, str]:
        try:
            content = json.loads(self._stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _installed(self) -> str:
        lock = self._read_stamp().get("lock", "")
        return lock if lock in LOCKS else ""

    def _is_current(self, lock: str) -> bool:
        return self._read_stamp().get("sha256") == self._digest(lock)


def lock_for_serving(environ: Mapping[str, str]) -> str:
    """The lock that a configuration needs: PostgreSQL and Redis bring their clients."""
    urls = (environ.get("DATABASE_URL", ""), environ.get("REDIS_URL", ""))
    files = (environ.get("DATABASE_URL_FILE"), environ.get("REDIS_URL_FILE"))
    shared = urls[0].startswith("postgres") or urls[1] or any(files)
    return SERVER if shared else RUNTIME


def _rank(lock: str) -> int:
    return LOCKS.index(lock) if lock else -1


def _find_uv(environ: Mapping[str, str]) -> str | None:
    """`uv` makes the set-up faster where it is installed; `OPENALGO_UV=off` leaves it out."""
    if environ.get("OPENALGO_UV") == "off":
        return None
    return shutil.which("uv", path=environ.get("PATH"))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise Failed(f"`{' '.join(command[:4])} …` failed:\n{tail}")
