"""What is known after a disaster: variables that are there, and the backups they lead to."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from services.backup import BackupPlan, BackupService
from services.backup_build import aws_endpoint
from services.backup_s3 import Bucket, S3Mirror
from utils.clock import SystemClock
from utils.envfile import read_plain

ENV_FILE = Path("/etc/openalgo/openalgo.env")
FOLDER = Path("/var/backups/openalgo")
_NOWHERE = "sqlite:////nonexistent/openalgo.db"


class Lost(Exception):
    """Something that has to be brought along is missing; the message is for the operator."""


def env_file_of(root: Path, named: str) -> Path:
    """The file of variables: the one that is named, the system's, or the checkout's."""
    if named:
        return Path(named)
    return ENV_FILE if ENV_FILE.parent.is_dir() else root / ".env"


def variables_of(env_file: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the file says, under what the environment says; secrets in files are read."""
    found = {**read_plain(env_file), **environ}
    for name in list(found):
        plain = name.removesuffix("_FILE")
        if name != plain and plain.isupper() and found[name] and not found.get(plain):
            path = Path(found[name])
            if path.is_file() and path.stat().st_size < 65_536:
                found[plain] = path.read_text(encoding="utf-8", errors="replace").strip()
    return found


def key_of(variables: Mapping[str, str], key_file: str) -> str:
    """BACKUP_KEY, from a file, the variables, or the terminal. `Lost` when nobody has it."""
    if key_file:
        try:
            return Path(key_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Lost(f"--key-file: {error.strerror}.") from None
    key = variables.get("BACKUP_KEY", "")
    if not key and sys.stdin.isatty():
        key = getpass.getpass("BACKUP_KEY: ").strip()
    if not key:
        raise Lost("BACKUP_KEY is not set: bring it along in the environment or by --key-file.")
    return key


def service_of(
    variables: Mapping[str, str], key: str, *, database_url: str = "", folder: str = ""
) -> BackupService:
    """The backups that the variables lead to; without a database while none is known."""
    url = database_url or variables.get("DATABASE_URL") or _NOWHERE
    where = Path(folder or variables.get("BACKUP_DIR") or _beside(url) or FOLDER)
    settings = {name: value for name, value in variables.items() if name.startswith("BACKUP_S3_")}
    clock = SystemClock()
    mirror = None
    if settings.get("BACKUP_S3_BUCKET"):
        region = settings.get("BACKUP_S3_REGION") or "ap-south-1"
        mirror = S3Mirror(
            Bucket(
                settings.get("BACKUP_S3_ENDPOINT") or aws_endpoint(region), region,
                settings["BACKUP_S3_BUCKET"], settings.get("BACKUP_S3_PREFIX") or "openalgo/",
                settings.get("BACKUP_S3_ACCESS_KEY", ""), settings.get("BACKUP_S3_SECRET_KEY", ""),
            ),
            clock.now,
        )
    return BackupService(BackupPlan(url, where, key, timedelta(days=30)), clock, mirror)


def _beside(url: str) -> str:
    if not url.startswith("sqlite") or url == _NOWHERE:
        return ""
    return str(Path(url.split(":///", 1)[1].partition("?")[0]).parent / "backups")
