"""`api-key`: keys for programs. A key is printed once, alone on standard output."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli.support import as_json, command, dump, gateway, operator, show
from services.access import SCOPES


@click.group("api-key")
def api_key() -> None:
    """API keys."""


@api_key.command("create")
@click.argument("user")
@click.option("--name", default="command line", show_default=True, help="What the key is for.")
@click.option("--scope", type=click.Choice(SCOPES), default="trade", show_default=True)
@click.option("--account", default="", help="The account that is meant when none is named.")
@as_json
@command
def create(user: str, name: str, scope: str, account: str, as_json: bool) -> None:
    """Create a key for USER and print it: KEY=$(flask --app app api-key create asha)."""
    owner = gateway().access.principal_of(user)
    if account:
        gateway().accounts.resolve(owner, account)
    view, plain = gateway().access.create_key(owner, name, scope, account or None)
    if as_json:
        dump({**asdict(view), "key": plain})
        return
    click.echo(f"API key {view.id} of '{owner.name}', shown this once:", err=True)
    click.echo(plain)


@api_key.command("list")
@click.option("--user", default="", help="Only this user's keys.")
@as_json
@command
def list_keys(user: str, as_json: bool) -> None:
    """List keys by name and first characters."""
    who = gateway().access.principal_of(user) if user else operator()
    rows = [asdict(key) for key in gateway().access.list_keys(who, everybody=not user)]
    columns = ("id", "user_id", "name", "prefix", "scope", "account", "last_used_at", "revoked")
    show(rows, columns, "There is no API key yet.", as_json=as_json)


@api_key.command("revoke")
@click.argument("key_id", type=int)
@command
def revoke(key_id: int) -> None:
    """End a key for good, in every process within a second."""
    gateway().access.revoke_key(operator(), key_id)
    click.echo(f"API key {key_id} is revoked.")
