"""What an operator does now and then: reconcile, kill switch, flags, alarms, configuration."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from datetime import datetime

import click

from cli.support import (
    as_json,
    command,
    dump,
    facts_of,
    fail,
    gateway,
    operator,
    show,
    the_account,
)
from database.journal import IntentState
from services.kill_switch import SquareOff
from services.locks import LockBusy
from services.reconciler import Summary
from services.settlements import OUTCOMES
from utils.clock import IST
from utils.config import PATHS, ConfigurationError, display
from utils.logging import check_log_dir

_RECONCILE_PATIENCE = 15.0
"""Seconds: longer than a round that waits for the book of one broker that does not answer."""


@click.group()
def orders() -> None:
    """Orders."""


@orders.command("reconcile")
@as_json
@command
def reconcile(as_json: bool) -> None:
    """Settle now what is unknown, from the brokers' books. Status 0 only when nothing is left.

    The gateway does so by itself every few seconds; this waits for its turn, and reads the journal
    afterwards, whoever settled what.
    """
    summary: Summary | None = None
    with suppress(LockBusy):
        summary = gateway().reconciler.run_now(_RECONCILE_PATIENCE)
    unknown = [one for one in gateway().settlements.open() if one.state is IntentState.UNKNOWN]
    unread = summary.unread if summary else ()
    if as_json:
        dump({**(facts_of(summary) if summary else {}), "ran": summary is not None,
              "unknown": len(unknown)})
    elif summary is None:
        click.echo("Another process is reconciling, and has not finished.")
    else:
        click.echo(f"Settled {summary.settled}, absent {summary.absent}, not sent "
                   f"{summary.not_sent}, confirmed {summary.confirmed}.")
    if not as_json and not unknown and not unread:
        click.echo("No order is unknown.")
    problems = [f"{label}: the broker's book could not be read." for label in unread]
    if unknown:
        problems.append(
            f"Orders of unknown outcome: {len(unknown)}; flask --app app orders open lists them."
        )
    if problems:
        fail(" ".join(problems))


@orders.command("open")
@as_json
@command
def list_open(as_json: bool) -> None:
    """List the orders whose outcome is not known."""
    columns = (
        "reference", "state", "kind", "symbol", "side", "quantity", "created_at", "message",
    )  # fmt: skip
    rows = [asdict(intent) for intent in gateway().settlements.open()]
    show(rows, columns, "The outcome of every order is known.", as_json=as_json)


@orders.command("settle")
@click.argument("reference")
@click.option(
    "--as", "outcome", required=True, type=click.Choice([state.value for state in OUTCOMES]),
    help="How it ended, by the broker's trades, positions or contract note.",
)
@click.option("--reason", required=True, help="How you know; kept with your name.")
@click.option("--order-id", default="", help="The broker's order id of an accepted order.")
@command
def settle(reference: str, outcome: str, reason: str, order_id: str) -> None:
    """Settle by hand what the broker's book cannot tell any more."""
    settled = gateway().settlements.settle(
        operator(), reference, IntentState(outcome), reason, order_id
    )
    click.echo(f"Order {settled.reference} is {settled.state.value}.")


@orders.command("prune")
@click.option(
    "--before", required=True, type=click.DateTime(["%Y-%m-%d"]),
    help="A day in India, at least 90 days ago; orders of that day and later stay.",
)
@command
def prune(before: datetime) -> None:
    """Delete old orders from the journal. Back it up first: nothing else keeps them."""
    deleted = gateway().settlements.prune(operator(), before.replace(tzinfo=IST))
    click.echo(f"{deleted} orders were deleted.")


@click.command()
@click.argument("state", type=click.Choice(["on", "off", "status"]))
@click.option(
    "--square-off", is_flag=True, help="With 'on': cancel every order, close every position."
)
@as_json
@command
def kill(state: str, square_off: bool, as_json: bool) -> None:
    """Stop all entries in every process (on), or allow them again (off). Exits always go on.

    With --square-off the status is 1 when anything was left; every order and position is reported.
    """
    switch = gateway().kill_switch
    if square_off and state != "on":
        fail("Squaring off goes with 'on'.")
    if state != "status":
        switch.turn(state == "on", operator().name)
    found = switch.state()
    reports = switch.square_off(operator()) if square_off else []
    if as_json:
        dump({"kill_switch": facts_of(found), "square_off": reports})
    else:
        click.echo("The kill switch is on: no entries." if found.is_on else
                   "The kill switch is off.")
        for report in reports:
            _tell(report)
    if not all(report.is_done for report in reports):
        fail("Not everything could be squared off.")


def _tell(report: SquareOff) -> None:
    """What became of one account."""
    click.echo(f"{report.account}: {len(report.cancelled)} orders to cancel, "
               f"{len(report.closed)} exits to send.")
    for what, rows in (("cancel", report.cancelled), ("close", report.closed)):
        for row in rows:
            words = f" {row.message}" if row.message else ""
            click.echo(f"  {what} {row.quantity} {row.symbol} {row.exchange} {row.product}: "
                       f"{row.status.value}{words}")
    for problem in report.problems:
        click.echo(f"  {problem}")


@click.command()
@click.argument("account", required=False)
@as_json
@command
def ready(account: str | None, as_json: bool) -> None:
    """Is an account, or every one, ready to trade? Status 0 only when all of them are.

    Looks at the session (and logs in when there is none), the master contract of today, the funds,
    and our clock against the broker's.
    """
    wanted = [the_account(account)] if account else gateway().accounts.all()
    if not wanted:
        fail("There is no account.")
    found = [gateway().readiness.check(one) for one in wanted]
    if as_json:
        dump([{"ready": one.ready, **facts_of(one)} for one in found])
    else:
        for one in found:
            click.echo(f"{one.account}: {'ready' if one.ready else 'NOT READY'}")
            for check in one.checks:
                click.echo(f"  {'ok ' if check.ok else 'NO '} {check.name}: {check.detail}")
    if not all(one.ready for one in found):
        fail("Not ready to trade.")


@click.group()
def flags() -> None:
    """Switches that all processes share."""


@flags.command("list")
@as_json
@command
def list_flags(as_json: bool) -> None:
    """List the flags that were set."""
    names = {user.id: user.name for user in gateway().access.list_users()}
    found = gateway().flags.list()
    rows = [{**asdict(flag), "user": names.get(flag.user_id or 0, "")} for flag in found]
    columns = ("name", "user", "value", "changed_by", "changed_at")
    show(rows, columns, "No flag was set.", as_json=as_json)


@flags.command("set")
@click.argument("name")
@click.argument("value")
@click.option("--user", default="", help="For this user alone.")
@command
def set_flag(name: str, value: str, user: str) -> None:
    """Set a flag; seen by every process within a second."""
    if name.startswith("version."):
        fail("Names that begin with 'version.' belong to the gateway itself.")
    gateway().flags.set(name, value, operator().name, user_id=_user_id(user))
    click.echo(f"{name} = {value}{f' for {user}' if user else ''}")


@flags.command("clear")
@click.argument("name")
@click.option("--user", default="", help="What was set for this user alone.")
@command
def clear_flag(name: str, user: str) -> None:
    """Take a flag away: what holds for everybody, or its default, holds again."""
    if name.startswith("version."):
        fail("Names that begin with 'version.' belong to the gateway itself.")
    gateway().flags.forget(name, operator().name, user_id=_user_id(user))
    click.echo(f"{name} is taken away{f' for {user}' if user else ''}.")


def _user_id(name: str) -> int | None:
    return gateway().access.principal_of(name).user_id if name else None


@click.group()
def alarms() -> None:
    """Alarms."""


@alarms.command("list")
@click.option("--all", "everything", is_flag=True, help="Closed ones as well.")
@as_json
@command
def list_alarms(everything: bool, as_json: bool) -> None:
    """List the open alarms."""
    found = gateway().alarms.history() if everything else gateway().alarms.list()
    columns = ("rule", "subject", "message", "opened_at", "closed_at")
    show([asdict(alarm) for alarm in found], columns, "No alarm is open.", as_json=as_json)


@alarms.command("close")
@click.argument("rule")
@click.argument("subject", default="")
@command
def close_alarm(rule: str, subject: str) -> None:
    """End an alarm by hand; it comes back if its cause does."""
    if not gateway().alarms.close(rule, subject):
        fail(f"There is no open alarm '{rule}' of '{subject}'.")
    click.echo("The alarm is closed.")


@click.group()
def config() -> None:
    """The configuration."""


@config.command("check")
@as_json
@command
def check(as_json: bool) -> None:
    """Show every setting and where it comes from; a faulty configuration never gets this far.

    Secrets are only said to be set or not. The folder of the logs is tried.
    """
    settings = gateway().settings
    try:
        check_log_dir(settings)
    except ConfigurationError as error:
        fail(str(error))
    rows = [
        {"variable": name, "value": display(settings, name), "origin": settings.origin(name)}
        for name in PATHS
    ]
    show(rows, ("variable", "value", "origin"), "", as_json=as_json)
    for warning in settings.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if not as_json:
        click.echo(f"The configuration is valid{' (SANDBOX)' if settings.sandbox else ''}.")
