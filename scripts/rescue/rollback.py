"""`scripts/rollback.sh`: take a broker out of service and return to the release before.

Four steps, each of which looks first whether it is done already:

  0  list working orders and open positions, record them; --cancel-orders, --square-off
  1  switch the broker off: the run-time switch, and <NAME>_ENABLED=false for what starts later
  2  remove its symbols (they are saved), or restore a backup with --restore-backup
  3  return to the previous release, under systemd, supervisor, Docker or git
  4  verify: the broker is not offered, the other brokers work, the logs are clean
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.rescue import record, service
from scripts.rescue.installation import find
from scripts.rescue.plan import Plan
from scripts.rescue.statuses import MEANING, Failed, Status
from scripts.rescue.steps import Rollback, Undo


def parser() -> argparse.ArgumentParser:
    """The options, with every exit status in the help."""
    statuses = "\n".join(f"  {int(status):>3}  {text}" for status, text in MEANING.items())
    made = argparse.ArgumentParser(
        prog="rollback.sh",
        description=__doc__,
        epilog=f"exit statuses:\n{statuses}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--broker", default="jainam_prop", help="the broker to take out (default: %(default)s)")
    add("--dry-run", action="store_true", help="say what would be done, and change nothing")
    add("--yes", action="store_true", help="ask nothing")
    add("--step", type=int, choices=range(5), metavar="N", help="only this step (0 to 4)")
    add("--undo", action="store_true", help="take the last rollback back")
    add("--cancel-orders", action="store_true", help="cancel the broker's working orders")
    add("--square-off", action="store_true", help="close the broker's open positions at the market")
    add("--keep-symbols", action="store_true", help="leave step 2 out")
    add("--restore-backup", metavar="NAME", help="step 2 restores this backup, or 'latest'")
    add("--keep-code", action="store_true", help="leave step 3 out, but for the restart")
    add("--to", metavar="VERSION", help="the release, commit or tag to return to")
    add("--method", choices=service.METHODS, help="what serves the gateway (default: found out)")
    add("--service", default=service.NAME, help="names of its services, separated by commas")
    add("--stop-command", default="", help="how it is stopped, where none of the methods fits")
    add("--start-command", default="", help="how it is started, where none of the methods fits")
    add("--api-key-file", metavar="FILE", help="a file with an API key, to verify over HTTP")
    add("--app", default="", metavar="FOLDER", help="the application (default: this script's)")
    add("--env-file", default="", metavar="FILE", help="the service's variables")
    add("--state", default="", metavar="FOLDER", help="where rollbacks are recorded")
    add("--wait", type=float, default=30.0, help="seconds to wait for the gateway (%(default)s)")
    return made


def main(
    arguments: Sequence[str], root: Path, environ: Mapping[str, str] = os.environ
) -> int:
    """Run it; the exit status."""
    options = parser().parse_args(arguments)
    try:
        return int(_run(options, root, environ))
    except Failed as failure:
        print(f"\nFAILED ({int(failure.status)}): {MEANING[failure.status]}.", file=sys.stderr)
        for line in filter(None, (str(failure), failure.hint)):
            print(f"  {line}", file=sys.stderr)
        return int(failure.status)
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again to go on: what is done stays done.", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, root: Path, environ: Mapping[str, str]) -> Status:
    if not re.fullmatch(r"[a-z0-9_]{1,40}", options.broker):
        raise Failed(Status.USAGE, "--broker is a name such as jainam_prop.")
    installation = find(
        root, app=options.app, env_file=options.env_file, state=options.state, environ=environ
    )
    method = options.method or service.detect(installation)
    plan = Plan.of(options, installation, method)
    if options.dry_run:
        for line in plan.lines(record.in_force(installation.state)):
            print(line)
        print("This was a dry run: nothing was changed, and nothing was asked of the broker.")
        return Status.OK
    with record.alone(installation.state):
        if options.undo:
            return Undo(plan, Confirm(options.yes)).run()
        return Rollback(plan, Confirm(options.yes), root).run(options.step)


class Confirm:
    """Asks at the terminal, unless --yes said everything."""

    def __init__(self, yes: bool) -> None:
        self._yes = yes

    def __call__(self, question: str, *, offer: bool = False) -> bool:
        """The answer; an offer (to cancel, to close) is taken only where a person says so."""
        if self._yes:
            return not offer
        if not sys.stdin.isatty():
            if offer:
                return False
            raise Failed(Status.USAGE, "There is no terminal to ask at: add --yes.")
        print(f"{question} [y/N] ", end="", flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

