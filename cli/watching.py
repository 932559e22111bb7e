"""What an operator watches from a shell: deployments, logs, unhandled errors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cli.support import as_json, command, dump, fail, gateway, operator, show
from database.errors import StorageError
from services.deployments import OUTCOMES
from services.order_names import names_of
from utils.log_search import find
from utils.rotation import RETENTION_DAYS, configuration


@click.group()
def deployments() -> None:
    """Which version was brought into service when."""


@deployments.command("record")
@click.argument("version")
@click.option("--outcome", type=click.Choice(OUTCOMES), default=OUTCOMES[0], show_default=True)
@click.option("--note", default="", help="A few words for those who read the list.")
@command
def record_deployment(version: str, outcome: str, note: str) -> None:
    """Record that VERSION (a tag or a commit) was deployed; dashboards mark the moment."""
    gateway().deployments.record(version, actor=operator().name, outcome=outcome, note=note)
    click.echo(f"{version}: {outcome}.")


@deployments.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@as_json
@command
def list_deployments(limit: int, as_json: bool) -> None:
    """List the deployments, the newest first."""
    rows = [asdict(row) for row in gateway().deployments.list(limit)]
    columns = ("at", "version", "outcome", "environment", "actor", "note")
    show(rows, columns, "No deployment was recorded.", as_json=as_json)


@click.group()
def logs() -> None:
    """The log files."""


@logs.command("find")
@click.argument("word")
@click.option("--only", is_flag=True, help="Look for this word alone, and not in the journal.")
@as_json
@command
def find_in_logs(word: str, only: bool, as_json: bool) -> None:
    """Find what the logs say about WORD: a request id, a trace id, or an order by any of its names.

    An order is looked up in the journal first, so that the lines of its request, of its broker's
    id and of its children are found as well. Ends with status 1 when there are none.
    """
    here = gateway()
    words = {word}
    if not only:
        try:
            words = names_of(here.database, word)
        except StorageError as error:
            click.echo(f"The journal can't be read, so only '{word}' is found: {error}", err=True)
    try:
        lines = find(here.settings.log_dir, words)
    except OSError as error:
        fail(f"The logs can't be read: {error}.")
    if not lines:
        fail(f"No log says anything about '{word}' ({here.settings.log_dir}).")
    if as_json:
        dump(lines)
        return
    for line in lines:
        click.echo(_one_line(line))


@logs.command("rotation")
@click.option("--environment", type=click.Choice(sorted(RETENTION_DAYS)), help="Whose retention.")
@click.option("--folder", type=click.Path(path_type=Path), help="Of the logs; else LOG_DIR.")
@click.option("--user", default="openalgo", show_default=True, help="Owner of the files.")
@click.option("--group", default="openalgo", show_default=True, help="Their group.")
@command
def rotation(environment: str | None, folder: Path | None, user: str, group: str) -> None:
    """Print the logrotate configuration for this installation."""
    settings = gateway().settings
    where = (folder or settings.log_dir).resolve()
    click.echo(configuration(where, environment or settings.environment, user, group), nl=False)


def _one_line(fields: dict[str, object]) -> str:
    head = ("time", "level", "logger", "message", "service", "environment", "exc_info")
    rest = " ".join(f"{name}={value}" for name, value in fields.items() if name not in head)
    trace = f"\n{fields['exc_info']}" if "exc_info" in fields else ""
    first = " ".join(str(fields.get(name, "")) for name in head[:4])
    return f"{first} {rest}{trace}"


@click.group()
def errors() -> None:
    """Unhandled errors."""


@errors.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@as_json
@command
def list_errors(limit: int, as_json: bool) -> None:
    """List the groups of unhandled errors, the one that was seen last first.

    What an error said stands in the logs: flask logs find REQUEST_ID.
    """
    rows = [asdict(row) for row in gateway().failures.list(limit)]
    columns = ("last_at", "seen", "kind", "place", "request_id", "fingerprint")
    show(rows, columns, "No unhandled error was seen.", as_json=as_json)
