"""What a rollback has to do here: the options, and the parts of the installation they meet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.rescue.code import Code, code_of
from scripts.rescue.exposure import Desk
from scripts.rescue.installation import Installation
from scripts.rescue.record import Record
from scripts.rescue.service import Service, compose_command
from scripts.rescue.statuses import Failed, Status
from scripts.rescue.store import Store, open_store
from scripts.rescue.verify import Probe


@dataclass(frozen=True)
class Plan:
    """Everything that the steps work with."""

    options: argparse.Namespace
    installation: Installation
    method: str
    code: Code
    service: Service
    store: Store
    key: str

    @classmethod
    def of(cls, options: argparse.Namespace, installation: Installation, method: str) -> Plan:
        """Put it together; `Failed` when something that was named is not there."""
        key = ""
        if options.api_key_file:
            try:
                key = Path(options.api_key_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise Failed(Status.USAGE, f"--api-key-file: {error.strerror}.") from None
        names = [name.strip() for name in options.service.split(",") if name.strip()]
        psql: Sequence[str] = ("psql",)
        if method == "docker":
            # Without values: they come from our environment, so that none stands in the arguments.
            told = [word for name in _PG for word in ("-e", name)]
            psql = [*compose_command(installation), "exec", "-T", *told, "postgres", "psql"]
        return cls(
            options, installation, method, code_of(installation, method),
            Service(
                installation, method, names=names, stop=options.stop_command,
                start=options.start_command,
            ),
            open_store(installation.database_url, psql=psql), key,
        )

    @property
    def broker(self) -> str:
        """The broker that is taken out."""
        return str(self.options.broker)

    @property
    def variable(self) -> str:
        """The variable that switches the broker off for what starts later."""
        return f"{self.broker.split('_')[0].upper()}_ENABLED"

    @property
    def flag(self) -> str:
        """The run-time switch of the broker."""
        return f"broker.{self.broker}"

    def target(self, record: Record | None) -> str:
        """The version to return to."""
        if self.options.keep_code:
            return self.code.current()
        current = self.code.current()
        if record is not None and record.facts.code_to and current in _versions(record):
            return record.facts.code_to
        return str(self.options.to or self.code.previous(current))

    def known_target(self, record: Record | None) -> str:
        """The version to return to, or the one that is served where there is no other."""
        try:
            return self.target(record)
        except Failed:
            return self.code.current()

    def desk(self, *versions: str) -> Desk:
        """The application's commands: of what is served now, then of these versions."""
        folders = [self.installation.app.resolve()]
        folders += [found for one in versions if (found := self.code.folder(one))]
        return Desk(self.installation, self.method, [*dict.fromkeys(folders)])

    def probe(self, desk: Desk) -> Probe:
        """Whom to ask whether it worked."""
        return Probe(self.installation.url, self.key, desk)

    def lines(self, record: Record | None) -> list[str]:
        """What would be done, for --dry-run and before the question."""
        if self.options.undo:
            if record is None:
                raise Failed(Status.NOTHING_TO_UNDO, "No rollback is on record.")
            facts = record.facts
            return [
                f"Undo the rollback of {facts.began} ({record.folder}):",
                f"  put the switches of {facts.broker} back, and {facts.symbols} symbols",
                f"  serve {facts.code_from or 'the same code'} again, by {self.method}",
                f"  verify that {facts.broker} is offered and the others work",
            ]
        symbols = f"remove the symbols of {self.broker}, after saving them"
        if self.options.restore_backup:
            symbols = f"stop the gateway and restore the backup {self.options.restore_backup}"
        if self.options.keep_symbols:
            symbols = "leave the symbols as they are"
        where = self.installation.env_file
        ends = [
            text for text, wanted in (
                ("cancel its working orders", self.options.cancel_orders),
                ("close its open positions", self.options.square_off),
            ) if wanted
        ]
        steps = [
            f"list and record its working orders and open positions{_also(ends)}",
            f"switch it off: {self.flag} in the database, {self.variable}=false in {where}",
            symbols,
            self._exchange_line(record) if self.options.step in (None, 3) else "",
            f"verify at {self.installation.url}",
        ]
        return [
            f"Take {self.broker} out of {self.installation.app} (served by {self.method}):",
            *(f"  {number}  {text}" for number, text in enumerate(steps)
              if self.options.step in (None, number)),
        ]

    def _exchange_line(self, record: Record | None) -> str:
        current, target = self.code.current(), self.target(record)
        if current == target:
            return f"restart, with {current} as it is"
        return f"return from {current} to {target} and restart"


_PG = (
    "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE", "PGCONNECT_TIMEOUT",
)


def _versions(record: Record) -> tuple[str, str]:
    return record.facts.code_from, record.facts.code_to


def _also(ends: list[str]) -> str:
    return f"; after step 1 {' and '.join(ends)}" if ends else ""
