"""`strategy`: the parameters that strategies read."""

from __future__ import annotations

import click

from cli.support import as_json, command, dump, fail, gateway, operator, show


@click.group()
def strategy() -> None:
    """Parameters of strategies, per user."""


@strategy.command("list")
@click.argument("user")
@as_json
@command
def list_strategies(user: str, as_json: bool) -> None:
    """List a user's strategies that have parameters."""
    found = gateway().strategies.names(gateway().access.principal_of(user))
    rows = [{"strategy": name, "parameters": count} for name, count in found.items()]
    show(rows, ("strategy", "parameters"), "None has parameters.", as_json=as_json)


@strategy.command("get")
@click.argument("user")
@click.argument("name")
@as_json
@command
def get(user: str, name: str, as_json: bool) -> None:
    """Show the parameters of a user's strategy."""
    found = gateway().strategies.parameters(gateway().access.principal_of(user), name)
    if as_json:
        dump(found)
        return
    rows = [{"parameter": key, "value": value} for key, value in found.items()]
    show(rows, ("parameter", "value"), "It has no parameter.", as_json=False)


@strategy.command("set")
@click.argument("user")
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="PARAMETER=VALUE...")
@click.option("--remove", multiple=True, metavar="PARAMETER", help="Take this one away.")
@command
def change(user: str, name: str, settings: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Set parameters of a user's strategy; the program sees them when it reads them next."""
    values = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            fail(f"'{text}' is not of the form PARAMETER=VALUE.")
        values[key] = value
    principal = gateway().access.principal_of(user)
    found = gateway().strategies.change(principal, name, values, remove, by=operator().name)
    click.echo(f"'{name}' has {len(found)} parameters.")
