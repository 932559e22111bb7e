"""`Gateway`: every service of one process, built and wired in one place.

Building it connects to nothing and starts nothing, so it may be built before a fork; engines, HTTP
clients and mapped files are opened at first use, in the process that uses them. `start_background`
is for the process that serves, `close` gives everything back.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from broker.base import Clock, Runtime, SlotStore
from broker.breaker import BREAKERS
from broker.redis_slots import RedisSlotStore
from broker.registry import Registry, discover
from broker.slots import FileSlotStore, SlotsUnavailable
from broker.waiting import WaitingRoom
from database import broker_sessions, failures, idempotency, jobs
from database.crypto import Vault
from database.engine import Database
from database.errors import StorageError
from services import counting, redis_client
from services.access import AccessService
from services.accounts import AccountService
from services.alarms import AlarmService
from services.backup_build import BackupOrder
from services.backup_schedule import BackupSchedule
from services.backup_worker import BackupProcess
from services.certificates import CertificateWatch
from services.contract_source import AccountSource
from services.deployments import DeploymentService
from services.failures import FailureService
from services.figures import FigureService
from services.flags import FlagService
from services.health import HealthService
from services.hosts import RENEW_EVERY, HostWatch
from services.jobs import Scheduler
from services.kill_switch import KillSwitch
from services.live_figures import LiveFigures
from services.locks import HostLocks, NamedLocks
from services.market_data import MarketDataService
from services.master_contract import MasterContractService
from services.observer import BrokerObserver
from services.order_desk import build_order_desk
from services.order_path import OrderPath
from services.quality import QualityService
from services.readiness import ReadinessService
from services.recovering import Recoverer
from services.risk_limits import RiskLimitService
from services.secret_ages import SecretService
from services.sessions import SessionService
from services.settlements import Settlements
from services.shared_locks import SharedLocks
from services.strategies import StrategyService
from services.symbols import SymbolService
from services.trading_figures import TradingFigures
from services.web_sessions import WebSessionService
from utils import callers
from utils.clock import SystemClock
from utils.config import Settings, plain
from utils.trace import outgoing

log = logging.getLogger(__name__)

KEEP_ALIVE = 30.0
ANOMALIES = 300.0
CONTRACTS = 300.0
CONTRACT_PATIENCE = 900.0
READY = 60.0
RISK = 15.0
PRUNE = 3600.0
BACKUP_LOOK = 60.0
"""Seconds between two looks at the sessions, at anomalies that may be over, at the contracts, at
who is ready to trade, at the day's results where a risk rule hangs on them, at what is old, and
whether a backup is due; and how long the download of one contract is waited for before the next."""

KEPT_JOBS = timedelta(days=90)
KEPT_LOGINS = timedelta(days=90)
KEPT_FAILURES = timedelta(days=90)

SETTLE_IN = 2.0
"""Seconds between two tries to reach the database, in a process that began without it."""

FIGURES = 30.0
TRADING_FIGURES = 60.0
WRITE_DOWN = 15.0
CERTIFICATES = 3600.0
"""Seconds between two countings of the day's figures, of trades and positions, between two times
that a process writes down what it counted, and between two looks at the certificates."""


def state_dir(settings: Settings) -> Path:
    """The folder of locks and counters that all processes of this instance share.

    It goes with the database: beside an SQLite file, and under `STATE_DIR` by the database's name
    otherwise, so that two instances on one host never share a lock by accident.
    """
    url = settings.database_url.get_secret_value()
    if settings.is_sqlite:
        return Path(url.split(":///", 1)[1]).resolve().parent / "state"
    return settings.state_dir / f"state-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


class Gateway:
    """The services, by name. Each is documented where it is defined."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        registry: Registry | None = None,
        slots: Callable[[Path, Clock], SlotStore] = FileSlotStore,
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.state_dir = state_dir(settings)
        self.registry = registry or discover()
        for warning in settings.warnings:
            log.warning("settings: %s", warning)
        for name, reason in self.registry.broken.items():
            log.error("the broker package %s can't be used: %s", name, reason)
        self.database = Database(
            settings.database_url.get_secret_value(),
            pool_size=settings.db_pool_size,
            max_overflow=settings.db_max_overflow,
        )
        keys = (settings.secret_key, settings.secret_key_previous)
        vault = Vault(*(text for key in keys if (text := plain(key))))
        room = WaitingRoom()
        self.redis = redis_client.link(settings, self.clock)
        self.locks = self._locks(room)
        self.flags = FlagService(self.database, self.clock)
        self.alarms = AlarmService(self.database, self.clock)
        self.hosts = HostWatch(
            self.database, self.clock, self.alarms, self.state_dir, self.redis is not None
        )
        self.deployments = DeploymentService(self.database, self.clock, settings.environment)
        self.risk_limits = RiskLimitService(self.database, settings, self.flags, self.clock)
        self.access = AccessService(
            self.database, self.flags, self.clock, settings.api_key_pepper.get_secret_value(),
            previous_pepper=plain(settings.api_key_pepper_previous),
        )
        self.web_sessions = WebSessionService(
            self.database, self.clock, lifetime_seconds=settings.session_lifetime
        )
        self.accounts = AccountService(
            self.database, settings, self.registry, self.flags, vault, self.clock
        )
        self._observer = BrokerObserver(self.alarms, self.clock)
        BREAKERS.on_change = counting.circuit_changed
        counting.know_brokers(self.registry.names())
        own_slots = slots(self.state_dir / "slots", self.clock)
        slot_store = own_slots if self.redis is None else RedisSlotStore(self.redis)
        self._slots = slot_store
        self.order_path = OrderPath(self.database, slot_store)
        runtime = Runtime(
            clock=self.clock,
            slots=slot_store,
            observer=self._observer,
            rand=random.random,
            queue_wait=settings.order_queue_wait,
            room=room,
            trace_headers=outgoing,
            caller=callers.current,
            spare_slots=None if self.redis is None else own_slots,
        )
        self.sessions = SessionService(
            self.database, self.accounts, self.flags, self.locks, self.alarms, vault, runtime
        )
        self.symbols = SymbolService(self.database, self.clock)
        self.master_contract = MasterContractService(
            self.database,
            self.clock,
            AccountSource(self.accounts, self.sessions),
            self.alarms,
            exchanges=settings.master_contract_exchanges,
            slots_directory=self.state_dir / "slots",
        )
        self.market_data = MarketDataService(self.sessions, self.accounts, self.symbols, self.clock)
        desk = build_order_desk(
            database=self.database,
            accounts=self.accounts,
            sessions=self.sessions,
            symbols=self.symbols,
            market_data=self.market_data,
            flags=self.flags,
            limits=self.risk_limits,
            alarms=self.alarms,
            locks=self.locks,
            clock=self.clock,
            timeout=settings.jainam.api_timeout,
            late=self.state_dir / "late",
            room=room,
            shared=self.redis,
        )
        self.orders = desk.orders
        self.smart_orders = desk.smart_orders
        self.baskets = desk.baskets
        self.portfolio = desk.portfolio
        self._price_keeper = desk.price_keeper
        self.idempotency = desk.idempotency
        self.reconciler = desk.reconciler
        self._recorder = desk.recorder
        self.settlements = Settlements(self.database, self.clock)
        self.risk_watch = desk.risk_watch
        self.readiness = ReadinessService(
            self.accounts, self.sessions, self.master_contract, desk.books, self.alarms, self.clock
        )
        self.kill_switch = KillSwitch(
            self.database, self.flags, self.accounts, desk.baskets, self.clock
        )
        self.health = HealthService(
            self.database,
            self.clock,
            self.accounts,
            self.sessions,
            self.alarms,
            None if self.redis is None else self.redis.ping,
        )
        self.figures = FigureService(self.database, self.clock)
        self.failures = FailureService(self.database, self.clock)
        self.quality = QualityService(
            settings, self.database, self.clock, self.figures, self.alarms, self.failures
        )
        self.certificates = CertificateWatch(settings.certificate_hosts)
        self._trading_figures = TradingFigures(
            self.database, self.accounts, self.sessions, self.portfolio, self.figures, self.clock
        )
        self.live_figures = LiveFigures(
            settings,
            self.database,
            self.clock,
            health=self.health,
            alarms=self.alarms,
            accounts=self.accounts,
            symbols=self.symbols,
            deployments=self.deployments,
            figures=self.figures,
        )
        self.recoverer = Recoverer(
            self.database, self.accounts, desk.books, self.symbols, self.clock
        )
        backup = BackupOrder.of(settings)
        self.backups = backup.service(self.clock)
        self._backup_process = BackupProcess(backup, self.backups)
        self.backup_schedule = BackupSchedule(
            self.backups, self.alarms, self.clock, timedelta(seconds=settings.backup_interval),
            self._backup_process.create,
        )
        self.strategies = StrategyService(self.database, self.clock)
        self.secrets = SecretService(
            settings, self.database, self.flags, self.alarms, self.backups, vault, self.clock
        )
        self.scheduler = Scheduler(self.database, self.clock, may_lead=settings.run_jobs)
        self._was_reconciled = False
        self._is_settled_in = False
        self._plan()

    def start_background(self, *, leads: bool = False) -> None:
        """Begin the scheduled work of this process: to be called after any fork.

        leads: this process does what only one may do, whatever `RUN_JOBS` says of it.

        A database without tables is migrated first; an older schema is left to `flask db upgrade`.
        One that is away does not stop the process, or a worker that begins at the wrong moment
        would take the whole server with it: it is asked again until it is back.
        """
        self._recorder.open()
        self.failures.watch()
        try:
            self._settle_in()
        except StorageError as error:
            log.error("this process begins without its database: %s", error)
            self.scheduler.every("settle in", SETTLE_IN, self._settle_in, leased=False)
        self.scheduler.start(leads=leads)
        self._price_keeper.start()

    def _settle_in(self) -> None:
        """What a process does once, as soon as it can reach the database."""
        if self._is_settled_in:
            return
        if not self._has_tables():
            self.database.upgrade()
        self.hosts.enter()
        self._greet_redis()
        self.database.start_checkpoints()
        self.accounts.sync_environment()
        self.alarms.export()
        self._is_settled_in = True

    def close(self) -> None:
        """End the scheduled work and give back every connection. Safe to call twice."""
        self._backup_process.close()
        self.scheduler.close()
        self._write_down()
        self.failures.close()
        self._price_keeper.close()
        self.master_contract.close()
        self.access.flush_last_used()
        self.sessions.close()
        self._recorder.close()
        self.hosts.leave()
        self.database.dispose()

    def _greet_redis(self) -> None:
        """Let Redis know that it is there: its first moment, in which it grants nothing, is now."""
        if isinstance(self.locks, SharedLocks):
            self.locks.greet()
            with suppress(SlotsUnavailable):
                self._slots.peek([])

    def _locks(self, room: WaitingRoom) -> NamedLocks:
        """This host's locks, and with Redis those of all hosts on top."""
        host = HostLocks(self.state_dir / "locks", self.clock, room)
        if self.redis is None:
            return host
        name = self.settings.database_name
        return SharedLocks(self.redis, host, self.clock, instance=name, room=room)

    # Scheduled work ----------------------------------------------------------------------------

    def _plan(self) -> None:
        """What recurs; each by the one process that holds the lease."""
        every = self.scheduler.every
        every("sessions", KEEP_ALIVE, self.sessions.keep_alive, at_once=True)
        every("reconcile", self.settings.reconcile_interval, self._reconcile, at_once=True)
        every("contracts", CONTRACTS, self._refresh_contracts, at_once=True)
        every("ready", READY, self.readiness.look)
        every("risk", RISK, self.risk_watch.look)
        every("anomalies", ANOMALIES, self._observer.forget_quiet)
        every("prune", PRUNE, self._prune)
        every("secrets", PRUNE, self.secrets.look)
        every("backup", BACKUP_LOOK, self.backup_schedule.run)
        every("figures", FIGURES, self.figures.count_again, at_once=True)
        every("trading figures", TRADING_FIGURES, self._trading_figures.count)
        every("certificates", CERTIFICATES, self.certificates.look, leased=False, at_once=True)
        every("host", RENEW_EVERY, self.hosts.renew, leased=False)
        every("write down", WRITE_DOWN, self._write_down, leased=False)

    def _write_down(self) -> None:
        """Every process: what it has counted and seen, into metrics and the database."""
        counting.cache_used("symbols", *self.symbols.drain_use())
        counting.cache_used("api_keys", *self.access.drain_use())
        counting.pool_in_use(*self.database.connections())
        self.access.flush_last_used()
        self.figures.write_down()
        self.failures.flush()

    def _reconcile(self) -> None:
        """The first run of a process looks at the whole day, later ones at what is open."""
        if self._was_reconciled:
            self.reconciler.run_once()
        else:
            self.reconciler.on_start()
            self._was_reconciled = True

    def _refresh_contracts(self) -> None:
        """Load stale contracts one after the other, of brokers that are on and have an account."""
        brokers = dict.fromkeys(account.broker for account in self.accounts.all())
        for name in brokers:
            if self.accounts.is_broker_enabled(name)[0]:
                for job in self.master_contract.refresh([name]):
                    self.master_contract.wait(job.id, CONTRACT_PATIENCE)

    def _prune(self) -> None:
        """Delete what has been kept long enough. The order journal is kept."""
        now = self.clock.now()
        with self.database.write() as conn:
            idempotency.prune(conn, now)
            jobs.prune(conn, now - KEPT_JOBS)
            broker_sessions.prune_logins(conn, now - KEPT_LOGINS)
            failures.prune(conn, now - KEPT_FAILURES)
        self.figures.prune()
        self.risk_watch.prune(KEPT_LOGINS)

    def _has_tables(self) -> bool:
        with self.database.read() as conn:
            return sa.inspect(conn).has_table("accounts")
