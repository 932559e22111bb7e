"""`python -m scripts.recovery restore|verify-database|verify-backups`: see the shell scripts."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dotenv import dotenv_values

from database.backup import Source
from database.errors import StorageError
from database.integrity import problems
from scripts.recovery.found import Lost, env_file_of, key_of, service_of, variables_of
from services.errors import ServiceError
from utils.clock import ist
from utils.envfile import write_private

ROOT = Path(__file__).resolve().parent.parent.parent
_IMPORT_SECONDS = 300
RESTORED_NOT_IMPORTED = 3
SERVICE_USER = "openalgo"


def parser() -> argparse.ArgumentParser:
    """The options of the three commands."""
    made = argparse.ArgumentParser(
        prog="recovery", description=__doc__,
        epilog="exit statuses: 0 done, 1 failed, 2 usage, 3 restored, but orders placed since the "
        "backup were not imported",
    )
    commands = made.add_subparsers(dest="command", required=True)
    restore = commands.add_parser(
        "restore", prog="restore_database.sh", help="replace the database by a backup"
    )
    restore.add_argument("name", nargs="?", default="latest", help="a name, or its beginning")
    restore.add_argument("--yes", action="store_true", help="ask nothing")
    restore.add_argument("--force", action="store_true", help="although it is in use")
    restore.add_argument("--no-import", action="store_true", help="import no orders afterwards")
    checking = commands.add_parser(
        "verify-database", prog="verify_database.sh", help="check the database as it stands"
    )
    backups = commands.add_parser(
        "verify-backups", prog="verify_backups.sh", help="check that backups can be restored"
    )
    backups.add_argument("--all", action="store_true", help="every backup, not the newest alone")
    backups.add_argument("--oldest-hours", type=float, default=1.0, metavar="H",
                         help="how old the newest may be (default: %(default)s)")
    for one in (restore, checking, backups):
        one.add_argument("--env-file", default="", help="the file of variables")
    for one in (restore, backups):
        one.add_argument("--key-file", default="", help="a file with BACKUP_KEY")
        one.add_argument("--folder", default="", help="the folder of the backups")
    return made


def restore(options: argparse.Namespace) -> int:
    """Variables, if there are none; then the database; then the orders since."""
    began = time.monotonic()
    env_file = env_file_of(ROOT, options.env_file)
    variables = variables_of(env_file)
    key = key_of(variables, options.key_file)
    service = service_of(variables, key, folder=options.folder)
    chosen = service.find(options.name)
    if not variables.get("DATABASE_URL"):
        stored = io.StringIO(service.settings_of(chosen.name))
        saved = {name: value or "" for name, value in dotenv_values(stream=stored).items()}
        variables = {**saved, **variables}
        if not variables.get("DATABASE_URL"):
            raise Lost("The backup does not say where its database was: set DATABASE_URL.")
        service = service_of(variables, key, folder=options.folder)
    target = Source(variables["DATABASE_URL"]).url.render_as_string()
    when = f"{ist(chosen.at):%Y-%m-%d %H:%M:%S} IST"
    if not options.yes:
        print(f"Replace {target} by {chosen.name}, made {when}? [y/N] ",
              end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            hint = "" if sys.stdin.isatty() else " There is no terminal to ask at: add --yes."
            print(f"\nNothing was changed.{hint}")
            return 1
    done = service.restore(chosen.name, settings_to=env_file, force=options.force)
    if done.settings_file is not None:
        text = done.settings_file.read_text(encoding="utf-8")
        write_private(done.settings_file, f"{text}BACKUP_KEY={key}\n")
        _give_to_service(done.settings_file)
        print(f"The variables were written to {done.settings_file}.")
    print(f"{target} is as it was in {chosen.name}; counts and journal sums agree. "
          f"{time.monotonic() - began:.1f} s.")
    for kept in done.kept:
        print(f"What was there before is kept: {kept}")
    since = chosen.at.isoformat()
    print(f"Idempotency keys and client order ids that were given after {when} are forgotten: tell "
          "whoever repeats such requests, for a repeat would be a new order.")
    if options.no_import:
        return 0
    return _import(variables, key, since)


def _give_to_service(path: Path) -> None:
    """Let the service read what root wrote."""
    if os.geteuid() == 0:
        with suppress(LookupError):
            shutil.chown(path, SERVICE_USER, SERVICE_USER)


def _import(variables: dict[str, str], key: str, since: str) -> int:
    """Bring the schema up and import the orders since, by the application's own commands."""
    environ = {**os.environ, **variables, "BACKUP_KEY": key}
    for words in (("db", "upgrade"), ("backup", "import-orders", "--since", since)):
        command = [sys.executable, "-m", "flask", "--app", "app", *words]
        try:
            status = subprocess.run(
                command, cwd=ROOT, env=environ, check=False, timeout=_IMPORT_SECONDS
            ).returncode
        except subprocess.TimeoutExpired:
            status = 1
        if status != 0:
            print(
                "The database is restored, but orders placed since the backup were not imported. "
                f"Mend what the line above says, then: flask --app app {' '.join(words)}",
                file=sys.stderr,
            )
            return RESTORED_NOT_IMPORTED
    return 0


def verify_database(options: argparse.Namespace) -> int:
    """What the database checks itself, and the rules of the journal."""
    variables = variables_of(env_file_of(ROOT, options.env_file))
    url = variables.get("DATABASE_URL") or f"sqlite:///{ROOT / 'db' / 'openalgo.db'}"
    source = Source(url)
    try:
        inventory = source.inventory()
        found = problems(source)
    except StorageError as error:
        print(f"The database cannot be read: {error}. If it is lost or damaged, stop the gateway "
              "and restore the newest backup: scripts/restore_database.sh latest", file=sys.stderr)
        return 1
    for name, count in sorted(inventory["tables"].items()):
        print(f"  {name:<24} {count}")
    print(f"  schema {inventory.get('revision')}, journal {inventory.get('journal')}")
    for text in found:
        print(f"WRONG: {text}", file=sys.stderr)
    print("The database is sound." if not found else f"{len(found)} problems.")
    return 1 if found else 0


def verify_backups(options: argparse.Namespace) -> int:
    """The weekly check: there, not damaged, can be restored, holds what it held."""
    variables = variables_of(env_file_of(ROOT, options.env_file))
    service = service_of(variables, key_of(variables, options.key_file), folder=options.folder)
    newest = service.find("latest")
    hours = (time.time() - newest.at.timestamp()) / 3600
    late = hours > options.oldest_hours
    print(f"[{'!' if late else 'x'}] a backup exists: {newest.name}, {hours:.1f} h old")
    names = [one.name for one in service.all()] if options.all else [newest.name]
    for name in names:
        one = service.verify(name)
        print(f"[x] {name} is not corrupt: {len(one.files)} checksums and seals")
        print(f"[x] {name} can be restored to a scratch database")
        print(f"[x] {name} has the counts and journal sums that it was made with")
    if late:
        print(f"The newest backup is older than {options.oldest_hours:g} h.", file=sys.stderr)
    return 1 if late else 0


def main(arguments: Sequence[str]) -> int:
    """Run a command; failures are sentences."""
    options = parser().parse_args(arguments)
    work = {"restore": restore, "verify-database": verify_database,
            "verify-backups": verify_backups}[options.command]
    try:
        return work(options)
    except (Lost, ServiceError, StorageError) as error:
        print(str(error), file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
