"""`scripts/deploy.sh ENVIRONMENT`: bring the version of this checkout into service.

  1  checks: settings, checkout, migrations, disk, the way back, market hours
  2  install the release beside the one that serves; it checks the settings
  3  back up the database, then migrate it, under a lock, before any worker of the new release
  4  exchange the code; under systemd without a gap (SIGUSR2)
  5  smoke test: only reads, also on a live account
  6  watch, and take the version back by itself when a trigger speaks for it

ENVIRONMENT is development, staging or production, and has to be what the settings say.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.probes import smoke
from scripts.release import checks, watch
from scripts.release import install as installing
from scripts.release.install import NotInstalled
from scripts.release.statuses import MEANING, Failed, Status
from scripts.rescue import code as codes
from scripts.rescue import record, service
from scripts.rescue import statuses as rescue
from scripts.rescue.http import Client
from scripts.rescue.installation import ENV_FILE, STATE, Installation, service_user
from scripts.rescue.run import CommandFailed, run
from scripts.rescue.service import Service, application_command, application_environ

BASE = Path("/opt/openalgo")
WATCH = {"development": 0.0, "staging": 300.0, "production": 1800.0}
_COMMAND_SECONDS = 600.0
_BACK_SECONDS = 60.0  # the version before gets its time, however little the new one was given


def parser() -> argparse.ArgumentParser:
    """The options, with every exit status in the help."""
    lines = "\n".join(f"  {int(status):>3}  {text}" for status, text in MEANING.items())
    made = argparse.ArgumentParser(
        prog="deploy.sh", description=__doc__, epilog=f"exit statuses:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("environment", choices=checks.ENVIRONMENTS)
    add("--version", default="", help="what the release is called (default: as git describes it)")
    add("--commit", default="HEAD", help="the commit to deploy (default: %(default)s)")
    add("--yes", action="store_true", help="ask nothing")
    add("--dry-run", action="store_true", help="only the checks; change nothing")
    add("--by-hand", action="store_true", help="print the commands for doing it by hand, and end")
    add("--watch", type=float, metavar="SECONDS",
        help=f"how long to watch (default: {', '.join(f'{k} {v:g}' for k, v in WATCH.items())})")
    add("--every", type=float, default=10.0, metavar="SECONDS", help="between looks (%(default)s)")
    add("--error-share", type=float, default=5.0, metavar="PERCENT",
        help="of 5xx answers above which it is taken back (%(default)s)")
    add("--error-window", type=float, default=300.0, metavar="SECONDS",
        help="for so long (%(default)s)")
    add("--wait", type=float, default=60.0, help="seconds to wait for the version (%(default)s)")
    add("--no-backup", action="store_true", help="no backup before the migration")
    add("--keep", type=int, default=5, metavar="N", help="releases to keep (%(default)s)")
    add("--api-key-file", default="", help="a file with a read key, for the smoke test")
    add("--method", choices=service.METHODS, help="what serves the gateway (default: found out)")
    add("--service", default=service.NAME, help="names of its services, separated by commas")
    add("--stop-command", default="", help="how it is stopped, where none of the methods fits")
    add("--start-command", default="", help="how it is started, where none of the methods fits")
    add("--venv", default="", help="a virtual environment to share in place of one per release")
    add("--app", default="", metavar="FOLDER", help=f"the installation (default: {BASE})")
    add("--env-file", default="", metavar="FILE", help="the service's variables")
    add("--state", default="", metavar="FOLDER", help="where deployments are recorded")
    return made


class Deployment:
    """One run over one installation."""

    def __init__(self, options: argparse.Namespace, root: Path, here: Installation) -> None:
        self._options = options
        self._root = root
        self._here = here
        self._method = options.method or service.detect(here)
        self._code = codes.code_of(here, self._method)
        names = [name.strip() for name in options.service.split(",") if name.strip()]
        self._service = Service(
            here, self._method, names=names, stop=options.stop_command, start=options.start_command
        )
        key = options.api_key_file
        self._key = Path(key).read_text(encoding="utf-8").strip() if key else ""
        self._client = Client(here.url, self._key)

    def run(self) -> Status:
        """All steps; `Failed` with the status of the first that does not succeed."""
        options, here = self._options, self._here
        if self._method == "docker":
            raise Failed(Status.USAGE, "Containers are deployed by `docker-compose up -d`: see "
                         "docs/bmad/deployment-guide.md; rollback.sh works with them.")
        name = self._name()
        current = self._code.current()
        print(f"Deploy {name} to {options.environment} at {here.app} in the place of "
              f"{current or 'nothing'}, by {self._method}.")
        report = checks.before(here, options.environment, self._root, self._code)
        if report.failures:
            raise Failed(Status.CHECKS_FAILED, "; ".join(report.failures))
        if options.dry_run:
            return Status.OK
        if not options.yes and not _yes("Go on?"):
            return Status.DECLINED
        with record.alone(here.state):
            (here.state / watch.BY_HAND).unlink(missing_ok=True)
            if current and self._code.folder(current) and not codes.deployments(here.state):
                codes.note(here.state, current, "deployed")  # before anybody kept a record
            before = watch.open_alarms(self._client)
            connected = watch.connected(self._client)
            release = self._install(name)
            if not checks.settings(here, self._method, release, report):
                raise Failed(Status.CHECKS_FAILED, report.failures[-1])
            self._migrate(release)
            version = installing.version_of(release)
            self._bring_in(name, current, version)
            self._prove(current, version, connected, before)
            codes.note(here.state, name, "deployed")
            self._tell(release, name, "deployed")
            gone = installing.clear(here, options.keep, {name, current})
            if gone:
                print(f"Older releases were deleted: {', '.join(gone)}.")
        print(f"{name} serves. To take it back: scripts/rollback.sh")
        return Status.OK

    def _name(self) -> str:
        if self._here.base is None:
            return self._code.current()
        try:
            return installing.name_of(self._root, self._options.version)
        except NotInstalled as error:
            raise Failed(Status.NOT_INSTALLED, str(error)) from None

    def _install(self, name: str) -> Path:
        options = self._options
        try:
            release = installing.install(
                self._here, self._root, name, commit=options.commit, venv=options.venv
            )
        except (NotInstalled, OSError) as error:
            raise Failed(Status.NOT_INSTALLED, str(error)) from None
        print(f"Installed: {release}")
        return release

    def _migrate(self, release: Path) -> None:
        """Back up what there is, then bring the schema up; the command takes the lock."""
        url = self._here.database_url
        is_new = url.startswith("sqlite") and not Path(url.split(":///", 1)[1]).exists()
        wanted = self._options.environment != "development" and not self._options.no_backup
        if wanted and not is_new:
            try:
                self._flask(release, "backup", "create")
            except CommandFailed as error:
                raise Failed(Status.NOT_BACKED_UP, str(error)) from None
            print("Backed up.")
        try:
            self._flask(release, "db", "upgrade")
        except CommandFailed as error:
            raise Failed(Status.NOT_MIGRATED, str(error)) from None
        print("Migrated.")

    def _bring_in(self, name: str, current: str, version: str) -> None:
        """Exchange the code and have the new one serve, or take it back."""
        try:
            if self._here.base is not None:
                self._code.switch(name)
            self._service.replace()
        except rescue.Failed as failure:
            self._take_back(current, name, Status.NOT_SWITCHED, str(failure))
        why = self._client.wait_until_ready(self._options.wait)
        if not why:
            why = self._await_version(version)
        if why:
            self._take_back(current, name, Status.TAKEN_BACK_NOT_READY, why)
        print(f"Version {version} serves at {self._here.url}.")

    def _await_version(self, version: str) -> str:
        """Under SIGUSR2 the old release answers until the new one does."""
        served = ""
        for _ in range(int(self._options.wait / 0.2) + 1):
            try:
                served = self._client.get("/health")[1].get("version", "")
            except OSError as error:
                served = str(error)
            if served == version:
                return ""
            time.sleep(0.2)
        return f"version {version} does not serve, but: {served or 'nobody'}"

    def _prove(
        self, current: str, version: str, connected: set[str], before: set[str]
    ) -> None:
        """The smoke test and the watch."""
        options, here = self._options, self._here
        name = self._code.current()
        failures = smoke.run(self._client, version=version).failures
        if failures:
            self._take_back(current, name, Status.TAKEN_BACK_SMOKE, "; ".join(failures))
        seconds = WATCH[options.environment] if options.watch is None else options.watch
        if seconds <= 0:
            return
        guard = watch.Watch(
            self._client, here.state, here.log_dir / "error.log", connected, before,
            share=options.error_share / 100, window=min(options.error_window, seconds),
        )
        why = guard.run(seconds, options.every, lambda text: print(f"  {text}", flush=True))
        if why:
            self._take_back(current, name, Status.TAKEN_BACK_WATCH, why)

    def _take_back(self, version: str, failed: str, status: Status, why: str) -> None:
        """Serve the version before again, and end with `status`."""
        print(f"TAKING BACK: {why}", file=sys.stderr, flush=True)
        codes.note(self._here.state, failed, "failed")
        if not version or (self._here.base is not None and not self._code.folder(version)):
            raise Failed(Status.NOT_TAKEN_BACK, f"{why} There is no version to return to.")
        try:
            if self._here.base is not None:
                self._code.switch(version)
            self._service.stop()
            self._service.start()
        except rescue.Failed as failure:
            raise Failed(Status.NOT_TAKEN_BACK, f"{why} And then: {failure}") from None
        not_ready = self._client.wait_until_ready(max(self._options.wait, _BACK_SECONDS))
        if not_ready:
            raise Failed(Status.NOT_TAKEN_BACK, f"{why} And {version} is not ready: {not_ready}.")
        self._tell(self._here.app.resolve(), version, "rolled_back")
        raise Failed(status, f"{why} {version} serves again.")

    def _tell(self, release: Path, version: str, outcome: str) -> None:
        """Have the application record it, for its dashboards; that it can't is no failure."""
        try:
            self._flask(release, "deployments", "record", version, "--outcome", outcome)
        except CommandFailed as error:
            print(f"  (not recorded: {error})")

    def _flask(self, release: Path, *words: str) -> str:
        command, cwd = application_command(self._here, self._method, release, words)
        return run(
            command, seconds=_COMMAND_SECONDS, cwd=cwd, env=application_environ(self._here),
            user=self._here.user,
        )


def find(options: argparse.Namespace, root: Path, environ: Mapping[str, str]) -> Installation:
    """The installation to deploy to; in development the checkout itself, served where it lies."""
    if options.environment == "development" and not options.app:
        env_file = Path(options.env_file or root / ".env")
        state = Path(options.state or root / "run")
        state.mkdir(parents=True, exist_ok=True)
        return Installation(root, None, env_file, state, service_user(), dict(environ))
    base = Path(options.app or BASE)
    env_file = Path(options.env_file or ENV_FILE)
    if not env_file.is_file():
        raise Failed(Status.NOT_FOUND, f"There is no file of variables at {env_file}.")
    (base / "releases").mkdir(parents=True, exist_ok=True)
    state = Path(options.state or STATE)
    return Installation(base / "current", base, env_file, state, service_user(), dict(environ))


def by_hand(options: argparse.Namespace, here: Installation) -> str:
    """The emergency path: what to type when this script is what is broken."""
    base = here.base or here.app
    env = f"--env-file {here.env_file} --state {here.state}"
    return f"""\
# By hand, as root on the host (avoid it if you can; say so in the incident's channel):
version=$(git -C /path/to/checkout describe --tags --always)
release={base}/releases/$version
mkdir -p "$release" && git -C /path/to/checkout archive HEAD | tar -x -C "$release"
python3 -m venv "$release/.venv"
"$release/.venv/bin/pip" install --no-deps --require-hashes -r "$release/requirements-server.txt"
ln -s {here.env_file} "$release/.env"
cd "$release"
runuser -u openalgo -- .venv/bin/flask --app app config check
runuser -u openalgo -- .venv/bin/flask --app app backup create
runuser -u openalgo -- .venv/bin/flask --app app db upgrade
ln -sfn "releases/$version" {base}/current
systemctl restart openalgo        # supervisorctl restart openalgo
curl -fsS {here.url}/health/ready
# And back: {base}/current/scripts/rollback.sh --app {base} {env}"""


def main(
    arguments: Sequence[str], root: Path, environ: Mapping[str, str] = os.environ
) -> int:
    """Run it; the exit status."""
    options = parser().parse_args(arguments)
    try:
        here = find(options, root, environ)
        if options.by_hand:
            print(by_hand(options, here))
            return 0
        return int(Deployment(options, root, here).run())
    except rescue.Failed as failure:
        known = {rescue.Status.BUSY: Status.BUSY, rescue.Status.NOT_FOUND: Status.NOT_FOUND}
        status = known.get(failure.status, Status.NOT_SWITCHED)
        return _say(Failed(status, str(failure)))
    except Failed as failure:
        return _say(failure)
    except KeyboardInterrupt:
        print("\nInterrupted: look which version serves (/health), then deploy or roll back.",
              file=sys.stderr)
        return 130


def _say(failure: Failed) -> int:
    print(f"\nFAILED ({int(failure.status)}): {failure}\n  {MEANING[failure.status]}.",
          file=sys.stderr)
    return int(failure.status)


def _yes(question: str) -> bool:
    if not sys.stdin.isatty():
        raise Failed(Status.USAGE, "There is no terminal to ask at: add --yes.")
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
