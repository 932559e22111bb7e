"""Makes a backup in a process of its own (`services.aside` starts it).

To copy, pack and seal 200 MB takes seconds of a processor: the process that serves orders does not
spend them. What is to be done comes as one line on standard input, since it holds the key; what
became of it goes out as one line.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading

from services import aside
from services.backup import Backup, BackupService
from services.backup_build import BackupOrder
from services.errors import Conflict, ServiceError, Unavailable
from utils.clock import SystemClock

log = logging.getLogger(__name__)

_ENDED = 128 + signal.SIGTERM
_STOPPED = "The backup was not made: the gateway is being stopped."


def main() -> int:
    """Read the order and carry it out; when told to stop, leave nothing unsealed behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_ENDED))
    order = BackupOrder.from_line(sys.stdin.readline())
    try:
        answer = {"made": order.service(SystemClock()).create().name}
    except Conflict as error:
        answer = {"conflict": error.message}
    except (ServiceError, OSError) as error:
        answer = {"failed": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0 if "made" in answer else 1


class BackupProcess:
    """Makes backups elsewhere, one at a time."""

    def __init__(self, order: BackupOrder, backups: BackupService) -> None:
        self._order = order
        self._backups = backups
        self._guard = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._closed = False

    def create(self) -> Backup:
        """As `BackupService.create`; `Unavailable` also when the process died.

        `Conflict` also when the gateway is being stopped: the next one makes it.
        """
        with self._guard:
            if self._closed:
                raise Conflict(_STOPPED)
            process = self._running = aside.start(aside.BACKUP, stderr=subprocess.PIPE)
        said, complaints = process.communicate(self._order.to_line())
        for line in complaints.splitlines():
            log.warning("the process that makes the backup says: %s", line)
        with self._guard:
            self._running = None
        try:
            answer = json.loads(said)
        except ValueError:
            if self._closed:
                raise Conflict(_STOPPED) from None
            raise Unavailable(
                f"The backup was not made: its process ended with {process.returncode}."
            ) from None
        if "conflict" in answer:
            raise Conflict(answer["conflict"])
        if "failed" in answer:
            raise Unavailable(answer["failed"])
        made = self._backups.find(answer["made"])
        log.info("backup made", extra={"backup": made.name, "bytes": made.size})
        return made

    def close(self) -> None:
        """End what is running; a backup that is half made is none."""
        with self._guard:
            self._closed = True
            if self._running is not None:
                self._running.terminate()
