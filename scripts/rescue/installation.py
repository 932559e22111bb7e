"""Where the gateway is installed, and with which variables: read from files, never from the app.

Two layouts: releases (`<base>/releases/<version>`, served through the link `<base>/current`), and a
checkout that is served where it lies.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.rescue.statuses import Failed, Status
from utils.envfile import read_plain, set_variables

ENV_FILE = Path("/etc/openalgo/openalgo.env")
STATE = Path("/var/lib/openalgo")
LOGS = Path("/var/log/openalgo")
SERVICE_USER = "openalgo"

_OFF = ("false", "0", "no", "off")


@dataclass(frozen=True)
class Installation:
    """One installation. `app` is the folder that is served, `base` the one with `releases/`."""

    app: Path
    base: Path | None
    env_file: Path
    state: Path
    user: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def variables(self) -> dict[str, str]:
        """The variables of the service: its file over the operator's own environment."""
        found = {**self.environ, **read_plain(self.env_file)}
        return {name: value for name, value in found.items() if value}

    @property
    def database_url(self) -> str:
        """DATABASE_URL, or its default; a relative SQLite path is the application's."""
        url = self.variables.get("DATABASE_URL", "")
        secret = self.variables.get("DATABASE_URL_FILE", "")
        if not url and secret:
            url = Path(secret).read_text(encoding="utf-8").strip()
        return url or f"sqlite:///{self.app.resolve() / 'db' / 'openalgo.db'}"

    @property
    def log_dir(self) -> Path:
        """The folder of error.log."""
        named = self.variables.get("LOG_DIR")
        if named:
            return self.app.resolve() / named
        production = self.variables.get("ENVIRONMENT", "").lower() == "production"
        return LOGS if production else self.app.resolve() / "log"

    @property
    def url(self) -> str:
        """Where the gateway answers on this machine."""
        host = self.variables.get("HOST", "127.0.0.1")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - recognised
        return f"http://{host}:{self.variables.get('PORT', '5000')}"

    def python(self, release: Path) -> Path | None:
        """The Python of a release's virtual environment, if it has one."""
        named = self.variables.get("VENV_DIR")
        candidates = [release / ".venv", release / "venv", *([Path(named)] if named else [])]
        return next(
            (found for folder in candidates if (found := folder / "bin" / "python").exists()), None
        )


def find(
    root: Path, *, app: str, env_file: str, state: str, environ: Mapping[str, str]
) -> Installation:
    """The installation that this script belongs to, or the one that the options name."""
    folder = Path(app).absolute() if app else root
    base = None
    if folder.resolve().parent.name == "releases":
        base = folder.resolve().parent.parent
        folder = base / "current"
    elif (folder / "releases").is_dir():
        base, folder = folder, folder / "current"
    if not folder.exists():
        raise Failed(Status.NOT_FOUND, f"There is no application at {folder}.")
    # The gateway reads `.env`, in production a link. The link is followed: a file is replaced.
    own = (folder / ".env").resolve()
    chosen = Path(env_file) if env_file else ENV_FILE if base and not own.is_file() else own
    if not chosen.is_file():
        raise Failed(Status.NOT_FOUND, f"There is no file of variables at {chosen}.")
    where = Path(state) if state else STATE if base else folder / "run"
    return Installation(folder, base, chosen, where, service_user(), dict(environ))


def is_off(value: str | None) -> bool:
    """Whether a variable's text switches something off."""
    return (value or "").strip().lower() in _OFF


def write_variable(path: Path, name: str, value: str | None) -> str | None:
    """Set a variable in a file of variables, or take it out; the value it had before."""
    before = read_plain(path).get(name)
    if before != value:
        set_variables(path, {name: value})
    return before


def tool(name: str) -> str | None:
    """The path of a program, if it is installed."""
    return shutil.which(name)


def service_user() -> str | None:
    """The user to run the application's own commands as: only root has to change."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SERVICE_USER).pw_name
    except KeyError:
        return None
