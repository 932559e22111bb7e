"""What an operator watches from a shell: deployments."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli.support import as_json, command, gateway, operator, show
from services.deployments import OUTCOMES


@click.group()
def deployments() -> None:
    """Which version was brought into service when."""


@deployments.command("record")
@click.argument("version")
@click.option("--outcome", type=click.Choice(OUTCOMES), default=OUTCOMES[0], show_default=True)
@click.option("--note", default="", help="A few words for those who read the list.")
@command
def record_deployment(version: str, outcome: str, note: str) -> None:
    """Record that VERSION (a tag or a commit) was deployed; dashboards mark the moment."""
    gateway().deployments.record(version, actor=operator().name, outcome=outcome, note=note)
    click.echo(f"{version}: {outcome}.")


@deployments.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@as_json
@command
def list_deployments(limit: int, as_json: bool) -> None:
    """List the deployments, the newest first."""
    rows = [asdict(row) for row in gateway().deployments.list(limit)]
    columns = ("at", "version", "outcome", "environment", "actor", "note")
    show(rows, columns, "No deployment was recorded.", as_json=as_json)
