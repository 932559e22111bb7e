"""`secrets`: how old they are, and their rotation in two halves."""

from __future__ import annotations

import secrets as chance
from pathlib import Path

import click

from cli.support import as_json, command, fail, gateway, show
from services.secret_ages import ROTATABLE
from utils.config import ROOT
from utils.envfile import read_plain, set_variables


@click.group()
def secrets() -> None:
    """The secrets in the settings. None is ever shown."""


@secrets.command("list")
@as_json
@command
def list_secrets(as_json: bool) -> None:
    """List the secrets that are set, with their age and when they are due."""
    ages = gateway().secrets.ages()  # may see one for the first time: before the clock is read
    now = gateway().clock.now()
    rows = [
        {"name": age.name, "age_days": (now - age.since).days, "limit_days": age.limit,
         "due": age.due_at, "rotating": age.overlap}
        for age in ages
    ]
    columns = ("name", "age_days", "limit_days", "due", "rotating")
    show(rows, columns, "No secret is set.", as_json=as_json)


@secrets.command("rotate")
@click.argument("name", type=click.Choice(ROTATABLE))
@click.option("--env-file", type=click.Path(path_type=Path), default=ROOT / ".env",
              show_default=True, help="The file that has it.")
@command
def rotate(name: str, env_file: Path) -> None:
    """First half: write a new secret beside the old one, which goes on working.

    Then reload the gateway, and `flask secrets finish NAME`.
    """
    found = read_plain(env_file)
    if not found.get(name):
        where = f"{name}_FILE" if found.get(f"{name}_FILE") else "elsewhere"
        fail(
            f"{name} is not in {env_file} but {where}: put a new one there, the old one as "
            f"{name}_PREVIOUS, reload, and finish."
        )
    if found.get(f"{name}_PREVIOUS"):
        fail(f"A rotation of {name} is under way: reload the gateway and finish it first.")
    set_variables(env_file, {name: chance.token_hex(32), f"{name}_PREVIOUS": found[name]})
    click.echo(
        f"{name} is new; the one before still works. Reload the gateway (systemctl reload "
        f"openalgo), then: flask --app app secrets finish {name}"
    )
    if name == "BACKUP_KEY":
        click.echo("Copy the new key to where you keep it off this host, now.")


@secrets.command("finish")
@click.argument("name", type=click.Choice(ROTATABLE))
@click.option("--yes", is_flag=True, help="Also where something ends by it.")
@click.option("--env-file", type=click.Path(path_type=Path), default=ROOT / ".env",
              show_default=True, help="The file that has it.")
@command
def finish(name: str, yes: bool, env_file: Path) -> None:
    """Second half: move over what hangs on the old secret, and take it away."""
    click.echo(gateway().secrets.finish(name, give_up=yes))
    if read_plain(env_file).get(f"{name}_PREVIOUS"):
        set_variables(env_file, {f"{name}_PREVIOUS": None})
        click.echo(f"{name}_PREVIOUS is taken out of {env_file}. Reload the gateway once more.")
    else:
        click.echo(f"Take {name}_PREVIOUS away from where it is set, and reload once more.")
