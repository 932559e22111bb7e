"""`accounts`: named connections to brokers; and `brokers login|logout` for a broker's default one.

Credentials are asked for on the terminal or read from standard input, never from arguments, which
every user of the machine can see.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from broker.base import BrokerInfo
from cli.support import (
    as_json,
    command,
    dump,
    fail,
    gateway,
    operator,
    secret_from_user,
    show,
    the_account,
)
from services.accounts import Account, NewAccount
from services.trial_order import TrialOrderService
from utils.clock import ist
from utils.ids import new_request_id

COLUMNS = (
    "label", "broker", "cluster", "account_type", "owner", "connected", "session_expires_at",
    "next_login", "last_error",
)  # fmt: skip


@click.group()
def accounts() -> None:
    """Accounts at brokers."""


@accounts.command("add")
@click.argument("label")
@click.option("--broker", required=True, help="Name of the broker, such as jainam_prop.")
@click.option("--user", default="", help="Whose it is; left out, all users share it.")
@click.option("--cluster", default="", help="The broker's server profile, such as B.")
@click.option("--account-type", default="", help="Kind of login, such as PRO.")
@click.option("--client-id", default="", help="Client to trade for.")
@click.option("--base-url", default="", help="Scheme, host and port instead of the broker's own.")
@click.option("--no-host-lookup", is_flag=True, help="Log in directly.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="Override a rule.")
@click.option("--credentials-stdin", is_flag=True, help="Read a JSON object from standard input.")
@command
def add(
    label: str, broker: str, user: str, cluster: str, account_type: str, client_id: str,
    base_url: str, no_host_lookup: bool, options: tuple[str, ...], credentials_stdin: bool,
) -> None:  # fmt: skip
    """Add an account; asks for its credentials, which are stored encrypted."""
    info = gateway().accounts.broker_info(broker)
    credentials = _from_stdin() if credentials_stdin else _from_terminal(info)
    owner = gateway().access.principal_of(user) if user else operator()
    made = gateway().accounts.add(
        operator(),
        NewAccount(
            label=label,
            broker=broker,
            credentials=credentials,
            cluster=cluster,
            account_type=account_type,
            client_id=client_id,
            base_url=base_url,
            host_lookup=not no_host_lookup,
            options=dict(_option(text) for text in options),
            shared=not user,
        ),
        owner=owner,
    )
    click.echo(f"Account '{made.label}' is added. flask --app app accounts login {made.label}")


@accounts.command("list")
@as_json
@command
def list_accounts(as_json: bool) -> None:
    """List the accounts and how they stand."""
    rows = [_row(account) for account in gateway().accounts.all()]
    show(rows, COLUMNS, "There is no account yet.", as_json=as_json)


@accounts.command("remove")
@click.argument("label")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def remove(label: str, yes: bool) -> None:
    """Log an account out and forget it with its credentials; its orders stay in the journal."""
    account = the_account(label)
    gateway().accounts.demand_removable(operator(), label)
    if not yes:
        click.confirm(f"Forget '{label}' and its credentials?", abort=True, err=True)
    if gateway().sessions.status(account).connected:
        gateway().sessions.logout(account)
    gateway().accounts.remove(operator(), label)
    click.echo(f"Account '{label}' is removed.")


@accounts.command("login")
@click.argument("label")
@click.option("--force", is_flag=True, help="Log in anew although the account is connected.")
@as_json
@command
def login(label: str, force: bool, as_json: bool) -> None:
    """Connect an account."""
    log_in(the_account(label), force=force, as_json=as_json)


@accounts.command("logout")
@click.argument("label")
@command
def logout(label: str) -> None:
    """Disconnect an account; it stays out until somebody connects it again."""
    log_out(the_account(label))


@accounts.command("self-check")
@click.argument("label")
@click.option("--place-order", metavar="SYMBOL", default="", help="Also send, find and cancel one.")
@click.option("--exchange", default="NSE", show_default=True, help="Where SYMBOL trades.")
@click.option("--user", default="", help="In whose name the order is journalled.")
@as_json
@command
def self_check(label: str, place_order: str, exchange: str, user: str, as_json: bool) -> None:
    """Read what the login should be able to read.

    Places no order, unless --place-order asks for one far below the market: that is shown, and
    sent only after its account's label was typed.
    """
    account = the_account(label)
    faults = gateway().sessions.self_check(account)
    if place_order:
        faults += _trial(account, place_order, exchange, user)
    if as_json:
        dump({"account": label, "faults": faults})
    elif not faults:
        and_order = ", and its order came and went" if place_order else ""
        click.echo(f"Account '{label}' can read everything it should{and_order}.")
    if faults:
        fail(" ".join(faults))


def _trial(account: Account, symbol: str, exchange: str, user: str) -> list[str]:
    """Send the trial order after a typed confirmation; what went wrong."""
    if not user:
        fail("Name the user in whose name the order is journalled: --user NAME.")
    principal = gateway().access.principal_of(user)
    here = gateway()
    service = TrialOrderService(here.orders, here.portfolio, here.market_data, here.clock)
    trial = service.plan(account, symbol, exchange)
    click.echo(trial.in_words(account), err=True)
    if click.prompt(f"Type {account.label} to send it", err=True) != account.label:
        fail("Nothing was sent.")
    return service.run(principal, account, trial, request_id=new_request_id())


def log_in(account: Account, *, force: bool, as_json: bool) -> None:
    """Connect and say until when."""
    status = gateway().sessions.login(account, force=force)
    if as_json:
        dump(_row(account))
        return
    until = f"{ist(status.expires_at):%Y-%m-%d %H:%M} IST" if status.expires_at else "it ends"
    sandbox = " (SANDBOX)" if account.sandbox else ""
    click.echo(f"Account '{account.label}'{sandbox} is connected until {until}.")


def log_out(account: Account) -> None:
    """Disconnect and say so."""
    gateway().sessions.logout(account)
    click.echo(f"Account '{account.label}' is disconnected.")


def _row(account: Account) -> dict[str, Any]:
    status = gateway().sessions.status(account)
    return {
        "label": account.label,
        "broker": account.broker,
        "cluster": account.cluster,
        "account_type": account.account_type,
        "client_id": account.client_id,
        "owner": "everybody" if account.owner_id is None else f"user {account.owner_id}",
        "source": account.source,
        "sandbox": account.sandbox,
        "connected": status.connected,
        "session_expires_at": status.expires_at,
        "next_login": status.next_login,
        "logins_today": status.logins_today,
        "last_error": status.last_error,
    }


def _from_terminal(info: BrokerInfo) -> dict[str, str]:
    return {
        item.name: secret_from_user(item.title)
        if item.secret
        else click.prompt(item.title, default="", err=True)
        for item in info.credentials
    }


def _from_stdin() -> Mapping[str, str]:
    try:
        given = json.loads(sys.stdin.read())
    except ValueError:
        fail("Standard input is not JSON.")
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        fail('Standard input must be a JSON object of texts: {"interactive_api_key": "…", …}.')
    return given


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        fail(f"An option is NAME=VALUE, not '{text}'.")
    return name, value
