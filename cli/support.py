"""What all commands share: the services, who is asking, errors as sentences, and output."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import click
from flask import current_app
from flask.cli import with_appcontext

from broker.errors import BrokerError
from database.errors import StorageError
from services.access import Principal
from services.errors import ServiceError
from utils.clock import ist
from utils.logging import bind, unbind

if TYPE_CHECKING:
    from services.accounts import Account
    from services.gateway import Gateway

EXTENSION = "openalgo_brokers"  # where `blueprints.register` puts the services

P = ParamSpec("P")
R = TypeVar("R")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def gateway() -> Gateway:
    """The services of the application that the command runs in."""
    found: Gateway = current_app.extensions[EXTENSION].gateway
    return found


def operator() -> Principal:
    """Whoever has a shell on this machine: an administrator without a row in the database."""
    return Principal(0, f"command line ({_user()})"[:64], True, "admin")


def command(work: Callable[P, R]) -> Callable[P, R]:
    """A command's function: it runs within the application, and its errors become sentences.

    What is logged on the way names the command and who gave it.
    """

    @wraps(work)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        told = bind(command=click.get_current_context().command_path.partition(" ")[2], by=_user())
        try:
            return work(*args, **kwargs)
        except ServiceError as error:
            fail(_with_fields(error))
        except BrokerError as error:
            fail(error.message)
        except StorageError as error:
            fail(
                f"{error}. A new database is made by: flask --app app db upgrade. One that is lost "
                "or damaged comes back by: scripts/restore_database.sh latest"
            )
        finally:
            unbind(told)

    return with_appcontext(guarded)


def fail(message: str) -> NoReturn:
    """End with status 1 and a sentence on stderr."""
    raise click.ClickException(message)


def the_account(label: str) -> Account:
    """The account of this label, whoever owns it: the operator manages all of them."""
    found = gateway().accounts.find(label)
    if found is None:
        fail(f"There is no account '{label}'.")
    return found


def dump(data: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(data, indent=2, default=_plain))


def table(rows: Iterable[Mapping[str, object]], columns: Sequence[str], nothing: str) -> None:
    """Print rows under their columns' names, or the sentence `nothing` when there are none."""
    lines = [[word(row.get(column)) for column in columns] for row in rows]
    if not lines:
        click.echo(nothing)
        return
    head = [column.replace("_", " ").upper() for column in columns]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(columns))]
    for line in [head, *lines]:
        cells = [word.ljust(width) for word, width in zip(line, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def show(
    data: Sequence[Mapping[str, object]], columns: Sequence[str], nothing: str, *, as_json: bool
) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        dump(data)
    else:
        table(data, columns, nothing)


def facts_of(found: Any) -> dict[str, Any]:
    """A mapping, or the fields of a dataclass, as a dictionary."""
    if is_dataclass(found) and not isinstance(found, type):
        return asdict(found)
    return dict(found)


def secret_from_user(title: str, *, confirm: bool = False) -> str:
    """Ask for a secret on the terminal, without showing it."""
    answer: str = click.prompt(title, hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


def first_line_of_stdin() -> str:
    """A secret that a script hands in on standard input."""
    return sys.stdin.readline().rstrip("\r\n")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _with_fields(error: ServiceError) -> str:
    others = [
        f"{name}: {' '.join(texts)}"
        for name, texts in error.errors.items()
        if texts != [error.message]
    ]
    return " ".join([error.message, *others])


def word(value: object) -> str:
    """A value as people read it: yes and no, a moment in India, "-" for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return ist(value).strftime("%Y-%m-%d %H:%M:%S IST")
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
