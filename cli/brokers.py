"""`brokers`: which are there and on; `master-contract`: their symbols."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from cli.accounts import log_in, log_out
from cli.support import as_json, command, dump, facts_of, fail, gateway, operator, show, word
from database.jobs import JobState
from services.accounts import Account
from services.master_contract import Job, MasterContractService

COLUMNS = ("name", "title", "enabled", "connected", "accounts", "why_not")
_LONGEST = 900.0
_TOTALS = ("rows", "added", "removed", "bad_rows", "collisions")


@click.group()
def brokers() -> None:
    """Brokers."""


@brokers.command("list")
@as_json
@command
def list_brokers(as_json: bool) -> None:
    """List the brokers that were found, and those that can't be used."""
    registry = gateway().registry
    rows = [_row(name) for name in registry.names()]
    if as_json:
        dump({"brokers": rows, "broken": registry.broken})
        return
    show(rows, COLUMNS, "No broker was found.", as_json=False)
    for name, reason in registry.broken.items():
        click.echo(f"broken: {name}: {reason}", err=True)


@brokers.command("enable")
@click.argument("name")
@command
def enable(name: str) -> None:
    """Switch a broker on, in all processes."""
    gateway().accounts.set_broker_enabled(name, True, operator().name)
    click.echo(f"Broker '{name}' is on.")


@brokers.command("disable")
@click.argument("name")
@command
def disable(name: str) -> None:
    """Switch a broker off: no entries; cancels, exits and reads go on until it is disconnected."""
    gateway().accounts.set_broker_enabled(name, False, operator().name)
    click.echo(f"Broker '{name}' is off.")


@brokers.command("login")
@click.argument("name")
@click.option("--force", is_flag=True, help="Log in anew although the account is connected.")
@as_json
@command
def login(name: str, force: bool, as_json: bool) -> None:
    """Connect the broker's default account."""
    log_in(_default_account(name), force=force, as_json=as_json)


@brokers.command("logout")
@click.argument("name")
@command
def logout(name: str) -> None:
    """Disconnect the broker's default account."""
    log_out(_default_account(name))


@click.group("master-contract")
def master_contract() -> None:
    """Symbols of the brokers."""


@master_contract.command("download")
@click.argument("name")
@click.option("--if-stale", is_flag=True, help="Only when today's is not there yet.")
@click.option("--force", is_flag=True, help="Accept one with far fewer rows than before.")
@click.option("--timeout", default=_LONGEST, show_default=True, help="Seconds to wait.")
@as_json
@command
def download(name: str, if_stale: bool, force: bool, timeout: float, as_json: bool) -> None:
    """Download a broker's master contract and wait until it is in use."""
    gateway().accounts.broker_class(name)
    service = gateway().master_contract
    if if_stale and not service.is_stale(name):
        if as_json:
            dump({"state": "fresh", **facts_of(service.status(name))})
        else:
            click.echo(f"The master contract of '{name}' is today's.")
        return
    job = service.start(name, operator().name, force=force)
    job = _await(service, job, timeout)
    report = facts_of(job)
    if as_json:
        dump(report)
    if job.state is not JobState.DONE:
        reason = job.report.get("error") or f"it is {job.state} after {timeout:g} seconds"
        fail(f"The master contract of '{name}' could not be loaded: {reason}")
    if not as_json:
        rows = facts_of(service.status(name)).get("rows")
        click.echo(f"The master contract of '{name}' is loaded: {rows} symbols.")


@master_contract.command("status")
@click.argument("name")
@as_json
@command
def status(name: str, as_json: bool) -> None:
    """How many symbols a broker has, and since when."""
    gateway().accounts.broker_class(name)
    facts = facts_of(gateway().master_contract.status(name))
    if as_json:
        dump(facts)
        return
    counts, job = facts.pop("counts", {}), facts.pop("job", None)
    for key, value in facts.items():
        click.echo(f"{key}: {word(value)}")
    if counts:
        click.echo(f"counts: {_listed(counts)}")
    for line in _about(job) if job else ():
        click.echo(line)


def _about(job: dict[str, Any]) -> Iterator[str]:
    """The last download for people: when, by whom, and everything that was odd about it."""
    at = word(job["finished_at"] or job["heartbeat_at"] or job["created_at"])
    yield f"last download: {job['state']}, {at}, by {job['requested_by']}"
    report = job["report"]
    if report.get("error"):
        yield f"  error: {report['error']}"
    totals = {name.replace("_", " "): report[name] for name in _TOTALS if name in report}
    if totals:
        yield f"  {_listed(totals)}"
    if report.get("empty_exchanges"):
        yield f"  without a row: {', '.join(report['empty_exchanges'])}"
    for reason, count in report.get("bad_reasons", {}).items():
        yield f"  malformed: {count} rows: {reason}"
    for doubt in report.get("doubts", ()):
        yield f"  doubtful: {doubt}"


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in numbers.items())


def is_terminal() -> bool:
    """Whether a person looks at what we print."""
    return sys.stderr.isatty()


def _await(service: MasterContractService, job: Job, timeout: float) -> Job:
    """Wait for the job and show people how far it is."""
    clock = gateway().clock
    end = clock.monotonic() + timeout
    shown = is_terminal()
    while True:
        job = service.wait(job.id, min(1.0, max(0.0, end - clock.monotonic())))
        if shown:
            facts = {k: v for k, v in job.progress.items() if v not in ("", None)}
            words = "  ".join(f"{name} {value}" for name, value in facts.items())
            click.echo(f"\r{job.state}  {words}".ljust(79)[:79], nl=False, err=True)
        if job.state.is_over or clock.monotonic() >= end:
            if shown:
                click.echo("", err=True)
            return job


def _row(name: str) -> dict[str, Any]:
    enabled, why = gateway().accounts.is_broker_enabled(name)
    mine = [account for account in gateway().accounts.all() if account.broker == name]
    statuses = [gateway().sessions.status(account) for account in mine]
    connected = [one for one in statuses if one.connected]
    errors = [one.last_error for one in statuses if one.wanted and not one.connected]
    return {
        "name": name,
        "title": gateway().registry.info(name).title,
        "enabled": enabled,
        "connected": bool(connected),
        "accounts": ", ".join(account.label for account in mine),
        "why_not": why or next(filter(None, errors), ""),
    }


def _default_account(name: str) -> Account:
    gateway().accounts.broker_class(name)
    mine = [account for account in gateway().accounts.all() if account.broker == name]
    shared = [account for account in mine if account.from_environment]
    if shared:
        return shared[0]
    if len(mine) == 1:
        return mine[0]
    if mine:
        labels = ", ".join(account.label for account in mine)
        fail(f"'{name}' has several accounts ({labels}): use accounts login LABEL.")
    fail(f"'{name}' has no account: set its credentials, or accounts add LABEL --broker {name}.")
