"""`sample-data`: fill the sandbox with something to look at, and empty it again."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli.support import as_json, command, dump, fail, gateway, operator
from services.accounts import Account
from services.sample_data import Sample, SampleDataService

labelled = click.option("--account", default="jainam_prop", show_default=True, help="Its label.")


@click.group("sample-data")
def sample_data() -> None:
    """Sample orders and positions, for the sandbox alone."""


@sample_data.command("load")
@labelled
@as_json
@command
def load(account: str, as_json: bool) -> None:
    """Place the sample's orders at the simulator."""
    _tell(_service().load(operator(), _account(account)), as_json=as_json)


@sample_data.command("clear")
@labelled
@as_json
@command
def clear(account: str, as_json: bool) -> None:
    """Cancel and flatten the sample's orders, and take them out of the journal."""
    _tell(_service().clear(operator(), _account(account)), as_json=as_json)


@sample_data.command("reload")
@labelled
@as_json
@command
def reload(account: str, as_json: bool) -> None:
    """Clear the sample, then load it again."""
    service, chosen = _service(), _account(account)
    cleared = service.clear(operator(), chosen)
    if cleared.problems:
        _tell(cleared, as_json=as_json)
    _tell(service.load(operator(), chosen), as_json=as_json)


def _service() -> SampleDataService:
    here = gateway()
    return SampleDataService(
        here.database, here.orders, here.portfolio, here.market_data, here.clock
    )


def _account(label: str) -> Account:
    found = gateway().accounts.find(label)
    if found is None:
        fail(f"There is no account '{label}'.")
    return found


def _tell(done: Sample, *, as_json: bool) -> None:
    if as_json:
        dump(asdict(done))
    else:
        click.echo(f"{done.placed} orders placed, {done.cancelled} cancelled, "
                   f"{done.removed} taken out of the journal.")
    if done.problems:
        fail(" ".join(done.problems))
