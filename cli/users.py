"""`users`: who may log in."""

from __future__ import annotations

import secrets
from dataclasses import asdict

import click

from cli.support import (
    as_json,
    command,
    dump,
    fail,
    first_line_of_stdin,
    gateway,
    operator,
    secret_from_user,
    show,
)


@click.group()
def users() -> None:
    """Users of the gateway."""


@users.command("create")
@click.argument("name")
@click.option("--admin", is_flag=True, help="May manage users, brokers and master contracts.")
@click.option("--email", default="", help="Where notifications go.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--generate-password", is_flag=True, help="Make one at random, and print it once.")
@click.option("--if-missing", is_flag=True, help="Do nothing when the user is there already.")
@as_json
@command
def create(
    name: str, admin: bool, email: str, password_stdin: bool, generate_password: bool,
    if_missing: bool, as_json: bool,
) -> None:
    """Create a user; asks for the password, unless an option says where it comes from.

    There is no default password, and none is taken as an argument: arguments show in `ps`.
    """
    if password_stdin and generate_password:
        fail("Take either --password-stdin or --generate-password.")
    taken = {user.name.casefold() for user in gateway().access.list_users()}
    if if_missing and name.casefold() in taken:
        click.echo(f"User '{name}' is there already.", err=True)
        return
    if generate_password:
        password = secrets.token_urlsafe(18)
    elif password_stdin:
        password = first_line_of_stdin()
    else:
        password = secret_from_user("Password", confirm=True)
    made = gateway().access.create_user(name, password, is_admin=admin, email=email or None)
    if as_json:
        facts = {"id": made.user_id, "name": made.name, "is_admin": made.is_admin}
        dump({**facts, "password": password} if generate_password else facts)
        return
    click.echo(f"User '{made.name}' is created.", err=generate_password)
    if generate_password:
        click.echo(password)


@users.command("list")
@as_json
@command
def list_users(as_json: bool) -> None:
    """List the users."""
    rows = [asdict(user) for user in gateway().access.list_users()]
    columns = ("id", "name", "email", "is_admin", "enabled", "last_login_at")
    show(rows, columns, "There is no user yet.", as_json=as_json)


@users.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@command
def password(name: str, password_stdin: bool) -> None:
    """Set a user's password; ends all of their web sessions."""
    chosen = first_line_of_stdin() if password_stdin else secret_from_user("Password", confirm=True)
    gateway().access.set_password(name, chosen)
    click.echo(f"The password of '{name}' is changed.")


@users.command("disable")
@click.argument("name")
@command
def disable(name: str) -> None:
    """Lock a user out: their keys and logins stop working."""
    gateway().access.set_enabled(name, False, who=operator().name)
    click.echo(f"User '{name}' is disabled.")


@users.command("enable")
@click.argument("name")
@command
def enable(name: str) -> None:
    """Let a disabled user in again."""
    gateway().access.set_enabled(name, True, who=operator().name)
    click.echo(f"User '{name}' is enabled.")
