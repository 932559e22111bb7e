"""The recurring backup: made when due, thinned out afterwards, and an alarm when it failed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from broker.base import Clock
from services.alarms import AlarmService
from services.backup import Backup, BackupService
from services.errors import Conflict, ServiceError
from utils.metrics import gauge

log = logging.getLogger(__name__)

BACKUP_FAILED = "backup_failed"

_SIZE = gauge(
    "openalgo_backup_size_bytes", "Size of the newest backup with its symbols.",
    across_workers="mostrecent",
)


class BackupSchedule:
    """Looks whether a backup is due, every time `run` is called. `make`: makes one, wherever."""

    def __init__(
        self,
        backups: BackupService,
        alarms: AlarmService,
        clock: Clock,
        interval: timedelta,
        make: Callable[[], Backup],
    ) -> None:
        self._backups = backups
        self._make = make
        self._alarms = alarms
        self._clock = clock
        self._interval = interval

    def is_due(self) -> bool:
        """Whether the newest backup is as old as the interval, or there is none."""
        newest = self._backups.newest_at()
        return newest is None or self._clock.now() - newest >= self._interval

    def run(self) -> Backup | None:
        """Make a backup if one is due and a key is set; the backup. Failure is an alarm."""
        if not self._backups.is_possible or not self.is_due():
            return None
        try:
            made = self._make()
            self._backups.prune()
        except Conflict:
            return None  # somebody is making one by hand
        except (ServiceError, OSError) as error:
            self._alarms.open(BACKUP_FAILED, "", str(error))
            return None
        self._alarms.close(BACKUP_FAILED, "")
        _SIZE.set(made.size)
        return made
