"""What is looked at when metrics are asked for: the database's facts, in Prometheus's terms.

These do not depend on the process that answers, so they are right under several workers. Without
a database only the checks are told, which then say that it is down.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client.core import Metric

from broker.base import Clock
from database import journal_counts
from database.engine import Database
from database.errors import StorageError
from services.accounts import AccountService
from services.alarms import AlarmService
from services.backup_models import NAME
from services.deployments import DeploymentService
from services.figures import ORDERS, POSITIONS, TRADES, FigureService
from services.health import Health, HealthService
from services.symbols import SymbolService
from utils.config import Settings
from utils.metrics import exposition, reading
from utils.version import VERSION
from utils.vitals import Rows, Vitals

DEPLOYMENTS_SHOWN = 10

_WINDOWS = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "1d": timedelta(days=1)}


class LiveFigures:
    """Tells what the services know, besides what was counted."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        *,
        health: HealthService,
        alarms: AlarmService,
        accounts: AccountService,
        symbols: SymbolService,
        deployments: DeploymentService,
        figures: FigureService,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._health = health
        self._alarms = alarms
        self._accounts = accounts
        self._symbols = symbols
        self._deployments = deployments
        self._figures = figures
        self._vitals = Vitals({
            "data": data_folder(settings), "logs": settings.log_dir, "backups": settings.backup_dir
        })

    def exposition(self) -> bytes:
        """All metrics of all workers, in Prometheus's text format."""
        health = self._health.check()
        if health.serves:
            self._alarms.export()
        return exposition(_Moment(self, health), self._vitals)

    def facts(self, health: Health) -> Iterator[Metric]:
        """The metrics of this moment. Of a database that is down nothing is asked again.

        Each question would wait for its time-out, and Prometheus would give up on all of it.
        """
        yield reading(
            "openalgo_build_info", "Version and environment; always 1.",
            ("version", "environment"), {(VERSION, self._settings.environment): 1},
        )  # fmt: skip
        yield reading(
            "openalgo_check_up", "What /health checks: 1 when it is well.", ("check",),
            {(check.name,): float(check.ok) for check in health.checks},
        )  # fmt: skip
        yield reading(
            "openalgo_backup_last_success_timestamp_seconds",
            "When the newest backup was made (Unix time); 0 when there is none.",
            rows={(): newest_backup(self._settings.backup_dir)},
        )
        if not health.serves:
            return
        for part in (self._today, self._people, self._contracts, self._releases):
            try:
                yield from part()
            except StorageError:
                continue  # openalgo_check_up says it

    def _today(self) -> Iterator[Metric]:
        today = self._figures.today()
        yield reading(
            "openalgo_orders_today", "Orders of the trading day, by what became of them.",
            ("state",), {(state,): count for state, count in today.of(ORDERS).items()},
        )  # fmt: skip
        trades = today.of(TRADES)
        yield reading(
            "trades_total", "Executions of the trading day, by strategy and direction.",
            ("strategy", "direction"),
            {_pair(label): count for label, count in trades.items()}, counts=True,
        )  # fmt: skip
        yield reading(
            "active_positions",
            "Instruments that a strategy's executions of the day have left open.",
            ("strategy",), {(name,): count for name, count in today.of(POSITIONS).items()},
        )  # fmt: skip

    def _people(self) -> Iterator[Metric]:
        now = self._clock.now()
        with self._database.read() as conn:
            active: Rows = {
                (window,): float(journal_counts.users_active_since(conn, now - span))
                for window, span in _WINDOWS.items()
            }
            known = journal_counts.users(conn)
        yield reading(
            "openalgo_active_users", "Users who called or looked at a page lately.", ("window",),
            active,
        )  # fmt: skip
        yield reading("openalgo_users", "Users there are.", rows={(): known})

    def _contracts(self) -> Iterator[Metric]:
        loaded: Rows = {}
        rows: Rows = {}
        for broker in dict.fromkeys(account.broker for account in self._accounts.all()):
            live = self._symbols.generation(broker)
            loaded[broker,] = live.loaded_at.timestamp() if live is not None else 0.0
            rows[broker,] = float(live.rows) if live is not None else 0.0
        yield reading(
            "openalgo_master_contract_loaded_timestamp_seconds",
            "When the master contract was loaded (Unix time); 0 when there is none.",
            ("broker",), loaded,
        )  # fmt: skip
        yield reading(
            "openalgo_master_contract_rows", "Instruments of the master contract.", ("broker",),
            rows,
        )  # fmt: skip

    def _releases(self) -> Iterator[Metric]:
        newest_last = reversed(self._deployments.list(DEPLOYMENTS_SHOWN))
        yield reading(
            "openalgo_deployment_timestamp_seconds",
            "When a version was last deployed, rolled back to, or failed (Unix time).",
            ("version", "outcome"),
            {(row.version, row.outcome): row.at.timestamp() for row in newest_last},
        )


class _Moment:
    """The `utils.metrics.Reader` of one answer."""

    def __init__(self, figures: LiveFigures, health: Health) -> None:
        self._figures = figures
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        return self._figures.facts(self._health)


def data_folder(settings: Settings) -> Path:
    """Where the database's file lies; the folder of the logs when it is on a server."""
    if not settings.is_sqlite:
        return settings.log_dir
    return Path(settings.database_url.get_secret_value().split(":///", 1)[1]).resolve().parent


def newest_backup(folder: Path) -> float:
    """When the newest backup in a folder was made (Unix time), by its name; 0 without any.

    The manifest is written last, so where it is there the backup is complete. It is not opened:
    metrics are asked for often, and there may be hundreds.
    """
    names = [path.stem for path in folder.glob("backup-*.json") if NAME.fullmatch(path.stem)]
    if not names:
        return 0.0
    made = datetime.strptime(max(names), "backup-%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    return made.timestamp()


def _pair(label: str) -> tuple[str, str]:
    name, _, direction = label.rpartition("|")
    return name, direction
