"""The command line, `flask --app app …`: the same services as the web, for people and scripts.

Every command ends with status 0 only on success, says what went wrong in one sentence on stderr,
and takes `--json` where a script would want it. `register(app)` adds them to an application.
"""

from __future__ import annotations

from flask import Flask

from cli import (
    accounts,
    backup,
    brokers,
    exposure,
    jobs,
    keys,
    operations,
    sample,
    secrets,
    strategies,
    users,
    watching,
)


def register(app: Flask) -> None:
    """Add every command to the application."""
    for group in (
        users.users,
        keys.api_key,
        accounts.accounts,
        brokers.brokers,
        brokers.master_contract,
        jobs.jobs,
        exposure.exposure,
        backup.backup,
        sample.sample_data,
        secrets.secrets,
        strategies.strategy,
        operations.orders,
        operations.kill,
        operations.ready,
        operations.flags,
        operations.alarms,
        operations.config,
        watching.deployments,
        watching.errors,
        watching.logs,
    ):
        app.cli.add_command(group)
