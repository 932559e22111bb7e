"""`backup`: make, list, verify, put back and thin out backups; find lost orders again."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from cli.support import as_json, command, dump, fail, gateway, show
from services.backup import Backup
from utils.clock import ist

_COLUMNS = ("name", "made", "kind", "version", "megabytes", "intents", "here")


@click.group()
def backup() -> None:
    """Backups of the database and the settings."""


@backup.command("create")
@click.option(
    "--if-due", "--if-stale", "if_due", is_flag=True,
    help="Only when the newest one is BACKUP_INTERVAL old.",
)  # fmt: skip
@as_json
@command
def create(if_due: bool, as_json: bool) -> None:
    """Make a backup now, and copy it off the site where a bucket is set."""
    here = gateway()
    if if_due and not here.backup_schedule.is_due():
        click.echo("No backup is due.")
        return
    made = here.backups.create()
    if as_json:
        dump(_facts(made))
    else:
        click.echo(f"Backup {made.name}: {made.size / 1e6:.1f} MB.")


@backup.command("list")
@as_json
@command
def list_backups(as_json: bool) -> None:
    """List the backups, the newest first."""
    rows = [_facts(found) for found in gateway().backups.all()]
    show(rows, _COLUMNS, "There is no backup.", as_json=as_json)


@backup.command("verify")
@click.argument("name", default="latest")
@click.option("--all", "everything", is_flag=True, help="Every one that is here.")
@as_json
@command
def verify(name: str, everything: bool, as_json: bool) -> None:
    """Put a backup back into a scratch database, and compare counts and journal sums."""
    service = gateway().backups
    names = [found.name for found in service.all()] if everything else [name]
    if not names:
        fail("There is no backup.")
    verified = [service.verify(one) for one in names]
    if as_json:
        dump([_facts(one) for one in verified])
        return
    for one in verified:
        click.echo(f"{one.name} is sound: {_intents(one)} intents, {len(one.files)} files.")


@backup.command("restore")
@click.argument("name", default="latest")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Although the database is in use.")
@command
def restore(name: str, yes: bool, force: bool) -> None:
    """Replace the database by a backup. The gateway has to be stopped.

    After a disaster, without settings: scripts/restore_database.sh.
    """
    service = gateway().backups
    chosen = service.find(name)
    made = f"{ist(chosen.at):%Y-%m-%d %H:%M IST}"
    if not yes:
        click.confirm(f"Replace the database by {chosen.name} of {made}?", abort=True, err=True)
    gateway().database.dispose()
    service.restore(chosen.name, force=force)
    click.echo(
        f"The database is as it was at {made}. Orders placed since then: start the gateway, then "
        f"flask --app app backup import-orders --since {chosen.at:%Y-%m-%dT%H:%M:%S%z}"
    )


@backup.command("import-orders")
@click.option("--since", required=True, metavar="TIME", help="When the backup was made (ISO 8601).")
@as_json
@command
def import_orders(since: str, as_json: bool) -> None:
    """Put orders of ours that a restored journal does not know into it, from the brokers' books."""
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        fail("--since is a time such as 2026-11-26T09:15:00+05:30.")
    if moment.tzinfo is None:
        fail("--since needs a time zone, such as +05:30.")
    found = gateway().recoverer.run(moment)
    rows = [
        {"reference": row.reference, "order_id": row.broker_order_id, "symbol": row.symbol,
         "side": row.side, "quantity": row.quantity, "state": row.state.value}
        for row in found.imported
    ]
    show(
        rows, ("reference", "order_id", "side", "quantity", "symbol", "state"),
        "No order was missing.", as_json=as_json,
    )
    if found.unread:
        fail(f"Some books could not be read: {' '.join(found.unread)} Run it again.")


@backup.command("prune")
@command
def prune() -> None:
    """Delete the backups that are not kept any longer."""
    gone = gateway().backups.prune()
    click.echo(f"Deleted: {', '.join(gone) or 'nothing'}.")


def _facts(found: Backup) -> dict[str, Any]:
    return {
        **asdict(found), "made": found.at, "megabytes": f"{found.size / 1e6:.1f}",
        "intents": _intents(found),
    }


def _intents(found: Backup) -> int:
    return sum(found.inventory.get("journal", {}).get("states", {}).values())
