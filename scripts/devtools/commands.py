"""The commands of `scripts/dev.py`; each is a target of the Makefile."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.devtools import instances
from scripts.devtools.checks import check
from scripts.devtools.environment import DEV, Environment, lock_for_serving
from scripts.devtools.say import Failed, say, step
from utils.envfile import ensure_secrets, read_plain

ROOT = Path(__file__).resolve().parent.parent.parent
_STATE = ("db", "run", "log", ".cache")
_EVERYTHING = (*_STATE, ".env", ".venv")


def _configured() -> dict[str, str]:
    """`.env` under the environment, as far as the set-up needs to know it."""
    return {**read_plain(ROOT / ".env"), **os.environ}


def _prepare(lock: str | None = None) -> Environment:
    environment = Environment(ROOT)
    environment.ensure(lock or lock_for_serving(_configured()))
    if _configured().get("ENVIRONMENT", "development").lower() == "development":
        written = ensure_secrets(ROOT / ".env")
        if written:
            say(f"  ✓ wrote {', '.join(written)} to .env")
    return environment


def run(arguments: argparse.Namespace) -> int:
    """Serve the gateway; in the sandbox with its simulator."""
    python = str(_prepare().python)
    os.chdir(ROOT)
    os.execv(python, [python, "-m", "scripts.devtools.serve"])  # noqa: S606 - this process serves


def setup(arguments: argparse.Namespace) -> int:
    """Only install: the virtual environment, the locked packages and .env."""
    _prepare(DEV if arguments.dev else None)
    say("  Ready: `make run` serves.")
    return 0


def test(arguments: argparse.Namespace) -> int:
    """Run all checks and tests; arguments go to pytest, which then runs alone."""
    return check(ROOT, _prepare(DEV).python, tests=True, pytest_arguments=arguments.rest)


def lint(arguments: argparse.Namespace) -> int:
    """Run the checks without the tests."""
    return check(ROOT, _prepare(DEV).python, tests=False)


def bench(arguments: argparse.Namespace) -> int:
    """Measure against a bare route; arguments go to the benchmarks."""
    python = _prepare(DEV).python
    return subprocess.run(
        [str(python), "-m", "benchmarks", *arguments.rest], cwd=ROOT, check=False
    ).returncode


def lock(arguments: argparse.Namespace) -> int:
    """Write the locked requirements anew from pyproject.toml (hashes, no registry's name)."""
    python = _prepare(DEV).python
    common = ["pip", "compile", "--quiet", "--universal"]
    common += ["--python-version", "3.11", "--generate-hashes", "--no-header"]
    ours = ["pyproject.toml"]
    full = [*ours, "--extra", "postgres", "--extra", "redis"]
    locks: list[list[str]] = [
        [*ours, "-o", "requirements.txt"],
        [*full, "-c", "requirements.txt", "-o", "requirements-server.txt"],
        [*full, "--group", "dev", "-c", "requirements-server.txt", "-o", "requirements-dev.txt"],
        ["--group", "ops", "-o", "requirements-ops.txt"],  # tools, apart from what serves
    ]
    for options in locks:
        command = [str(python), "-m", "uv", *common, *options]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status != 0:
            return status
    return 0


def faults(arguments: argparse.Namespace) -> int:
    """Prove the order path under fire; arguments go to `tests.faults`."""
    python = _prepare(DEV).python
    return subprocess.run(
        [str(python), "-m", "tests.faults", *arguments.rest], cwd=ROOT, check=False
    ).returncode


def soak(arguments: argparse.Namespace) -> int:
    """Load the gateway for minutes while it is restarted; arguments go to the soak."""
    python = _prepare(DEV).python
    return subprocess.run(
        [str(python), "-m", "tests.operations.soak", *arguments.rest], cwd=ROOT, check=False
    ).returncode


def stop(arguments: argparse.Namespace) -> int:
    """End the gateway on PORT, or with --all every one that runs from this folder."""
    if arguments.all:
        return _stop_all()
    port = _configured().get("PORT") or instances.DEFAULT_PORT
    if instances.stop(instances.lock_path(ROOT, port)):
        say(f"  ✓ the gateway on port {port} has stopped")
    else:
        say(f"  no gateway runs on port {port}")
        for other, _ in instances.running(ROOT):
            say(f"  one runs on port {other}: PORT={other} make stop ends it")
    return 0


def _stop_all() -> int:
    for port, _ in list(instances.running(ROOT)):
        if instances.stop(instances.lock_path(ROOT, port)):
            say(f"  ✓ the gateway on port {port} has stopped")
    return 0


def reset(arguments: argparse.Namespace) -> int:
    """Delete all state: the database, its backups, logs, caches; --all also .env and .venv."""
    chosen = _EVERYTHING if arguments.all else _STATE
    present = [name for name in chosen if (ROOT / name).exists()]
    if not present:
        say("  nothing to delete")
        return 0
    if not arguments.yes:
        say(f"This deletes {', '.join(present)} in {ROOT}, orders, users and API keys with it.")
        if input("Type yes to go on: ").strip().lower() != "yes":
            say("  nothing was deleted")
            return 1
    _stop_all()
    for name in present:
        path = ROOT / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        say(f"  ✓ deleted {name}")
    if _configured().get("DATABASE_URL"):
        say("  The database that DATABASE_URL names was left alone.")
    return 0


def upgrade(arguments: argparse.Namespace) -> int:
    """Fetch the newest version, install what it needs, migrate the database."""
    if _git("rev-parse", "--abbrev-ref", "@{upstream}") is None:
        say("  this clone has no upstream: keeping the code as it is")
    else:
        with step("fetching the newest version"):
            if _git("pull", "--ff-only", "--quiet") is None:
                raise Failed("`git pull --ff-only` failed: commit or stash your own changes first.")
    python = _prepare().python
    with step("migrating the database"):
        done = subprocess.run(
            [str(python), "-m", "flask", "--app", "app", "db", "upgrade"], cwd=ROOT, check=False
        )
    if done.returncode != 0:
        raise Failed("The database was not migrated; the lines above say why.")
    for port, _ in instances.running(ROOT):
        say(f"  The gateway on port {port} still runs the old version: restart it.")
    return 0


def _git(*arguments: str) -> str | None:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py", description="Develop and run OpenAlgo brokers.")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(function: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        about = (function.__doc__ or "").strip()
        made: argparse.ArgumentParser = commands.add_parser(
            function.__name__, help=about, description=about
        )
        made.set_defaults(function=function)
        return made

    add(run)
    add(setup).add_argument("--dev", action="store_true", help="what tests and checks need, too")
    add(test)
    add(lint)
    add(bench)
    add(faults)
    add(soak)
    add(lock)
    add(stop).add_argument("--all", action="store_true", help="every gateway of this folder")
    deletion = add(reset)
    deletion.add_argument("--yes", action="store_true", help="do not ask")
    deletion.add_argument("--all", action="store_true", help="also .env and .venv")
    add(upgrade)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run one command; what a person has to mend is said in one sentence."""
    parser = _parser()
    parsed, rest = parser.parse_known_args(arguments)
    parsed.rest = rest
    if rest and parsed.function not in (test, bench, faults, soak):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    command: Callable[[argparse.Namespace], int] = parsed.function
    try:
        return command(parsed)
    except Failed as error:
        say(f"\n{error}")
        return 1
    except (KeyboardInterrupt, EOFError):
        say("\n  stopped")
        return 130
