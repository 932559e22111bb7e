"""Master contracts: one download at a time per broker, in a process of its own, as a job.

The serving process only starts the work, copies its progress into the job's row and records how
it ended. A job whose process has died is found by its silent heartbeat and marked as failed; it
has changed nothing, because contracts are swapped in one transaction.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from broker.base import Broker, Clock
from broker.errors import BrokerError
from database import jobs
from database.engine import Database
from database.errors import StorageError
from database.jobs import JobRow, JobState
from database.symbols import SymbolReader
from services import aside
from services.contract_order import ContractOrder
from services.contract_source import ContractSource
from services.errors import NotFoundHere, ServiceError
from utils.clock import ist

log = logging.getLogger(__name__)

Job = JobRow
KIND = "master_contract"
ALARM = "master_contract_failed"
SILENCE = timedelta(seconds=45)
"""Without a heartbeat for so long a job's process has died (connecting may take 20 s)."""

LONGEST_RUN = 900.0  # seconds
_NEW_CONTRACT = timedelta(hours=8, minutes=35)  # IST; brokers have the day's by then (design §8)
_POLL = 0.05
_TIDYING = 60.0  # seconds that a process may take to end after its answer
_NOISE = 30  # lines of a dying process that are logged


@dataclass(frozen=True, slots=True)
class ContractStatus:
    """How a broker's contract stands.

    `state` is "queued" or "running" while a download is, else "ready", "stale" (there is a newer
    one to be had), "failed" (the newest download did, and what is live is stale) or "missing".
    """

    state: str
    rows: int
    updated_at: datetime | None
    counts: dict[str, int]
    job: Job | None


class Alarms(Protocol):
    """The part of `AlarmService` that is used here."""

    def open(self, rule: str, subject: str, message: str) -> object: ...

    def close(self, rule: str, subject: str) -> object: ...


class _Lost(Exception):
    """The process ended without an answer."""


class MasterContractService:
    """Starts downloads, and tells how they go. Safe to use from several threads and processes.

    `exchanges` restricts what is downloaded (empty: all); `slots_directory` is where all processes
    of the host count calls to brokers; `plugin_paths` are further folders of broker packages.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        source: ContractSource,
        alarms: Alarms,
        *,
        exchanges: Sequence[str] = (),
        slots_directory: Path | None = None,
        plugin_paths: Sequence[Path] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._source = source
        self._alarms = alarms
        self._exchanges = tuple(exchanges)
        self._slots_directory = str(slots_directory or "")
        self._plugin_paths = tuple(str(path) for path in plugin_paths)
        self._reader = SymbolReader(database)
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._closing = False

    def start(self, broker: str, requested_by: str, force: bool = False) -> Job:
        """Start a download; the job. While one of this broker runs, that one.

        `NotFoundHere`, `BrokerDisabled` when there is nothing to download from.
        """
        self._source.check(broker)
        self._bury_the_dead()
        with self._database.write() as conn:
            job, fresh = jobs.enqueue(conn, KIND, broker, requested_by, at=self._clock.now())
        if fresh:
            thread = threading.Thread(
                target=self._run, args=(job, force), name=f"contract-{broker}", daemon=True
            )
            with self._lock:
                self._threads[job.id] = thread
            thread.start()
        return job

    def wait(self, job_id: int, timeout: float) -> Job:
        """The job when it is over, or as it stands after `timeout` seconds."""
        end = self._clock.monotonic() + timeout
        while True:
            job = self.job(job_id)
            if job.state.is_over or self._clock.monotonic() >= end:
                return job
            with self._lock:
                thread = self._threads.get(job_id)
            if thread is None:  # another process does the work
                self._bury_the_dead()
                self._clock.sleep(_POLL)
            else:
                thread.join(_POLL)

    def job(self, job_id: int) -> Job:
        """One download. `NotFoundHere` when there is none of this number."""
        with self._database.read() as conn:
            job = jobs.get(conn, job_id)
        if job is None or job.kind != KIND:
            raise NotFoundHere(f"There is no download {job_id}.")
        return job

    def history(self, broker: str, limit: int = 20) -> list[Job]:
        """The downloads of a broker, the newest first; only that one with its bad rows."""
        self._bury_the_dead()
        with self._database.read() as conn:
            found = jobs.history(conn, KIND, broker, limit)
        older = [
            replace(job, report={k: v for k, v in job.report.items() if k != "bad"})
            for job in found[1:]
        ]
        return [*found[:1], *older]

    def status(self, broker: str) -> ContractStatus:
        """How the broker's contract stands; see `ContractStatus`."""
        live = self._reader.generation(broker)
        with self._database.read() as conn:
            job = jobs.latest(conn, KIND, broker)
        if job is not None and not job.state.is_over:
            state = job.state.value
        elif live is not None and live.loaded_at >= self._newest_due():
            state = "ready"
        elif job is not None and job.state is JobState.FAILED:
            state = "failed"
        else:
            state = "missing" if live is None else "stale"
        if live is None:
            return ContractStatus(state, 0, None, {}, job)
        return ContractStatus(state, live.rows, live.loaded_at, live.counts, job)

    def is_stale(self, broker: str) -> bool:
        """Whether a newer contract is to be had than the live one, or there is none."""
        live = self._reader.generation(broker)
        return live is None or live.loaded_at < self._newest_due()

    def refresh(self, brokers: Iterable[str], requested_by: str = "schedule") -> list[Job]:
        """Start downloads for the brokers whose contract is stale; what can't be is logged."""
        started: list[Job] = []
        for broker in brokers:
            try:
                if self.is_stale(broker):
                    started.append(self.start(broker, requested_by))
            except (ServiceError, StorageError) as error:
                log.warning("the master contract of %s is not refreshed: %s", broker, error)
        return started

    def close(self) -> None:
        """Stop the downloads of this process; they change nothing."""
        self._closing = True
        with self._lock:
            processes, threads = list(self._running.values()), list(self._threads.values())
        for process in processes:
            process.terminate()
        for thread in threads:
            thread.join(10)
        self._reader.close()

    # Inside ------------------------------------------------------------------------------------

    def _newest_due(self) -> datetime:
        """When the newest contract that is to be had came out: 08:35 IST of a weekday."""
        now = ist(self._clock.now())
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        while day + _NEW_CONTRACT > now or day.weekday() >= 5:
            day -= timedelta(days=1)
        return day + _NEW_CONTRACT

    def _run(self, job: Job, force: bool) -> None:
        """The work of one job, to its end, whatever happens."""
        broker = job.subject
        tidying: list[subprocess.Popen[str]] = []
        try:
            answer = self._load(job, force, tidying)
        except (BrokerError, ServiceError) as error:
            answer = {"error": error.message, "kind": error.kind}
        except (_Lost, OSError, StorageError) as error:
            answer = {"error": str(error), "kind": "internal_error"}
        except Exception as error:
            log.exception("loading the master contract of %s failed", broker)
            answer = {"error": f"an unexpected {type(error).__name__}", "kind": "internal_error"}
        self._end_job(job, answer)
        for process in tidying:
            _end(process, patience=_TIDYING)
        with self._lock:
            self._threads.pop(job.id, None)

    def _end_job(self, job: Job, answer: dict[str, Any]) -> None:
        """Tell how it ended: first the alarm, for whoever sees the job over looks at that too."""
        broker, failed = job.subject, "error" in answer
        if failed:
            message = str(answer["error"])
            log.error("the master contract of %s was not loaded: %s", broker, message)
            self._alarms.open(ALARM, broker, f"{broker}: {message}")
        else:
            log.info("the master contract of %s is loaded: %s rows", broker, answer["rows"])
            self._alarms.close(ALARM, broker)
        try:
            with self._database.write() as conn:
                state = JobState.FAILED if failed else JobState.DONE
                jobs.finish(conn, job.id, state, answer, at=self._clock.now())
        except StorageError as error:
            log.error("the end of download %s can't be recorded: %s", job.id, error)

    def _load(
        self, job: Job, force: bool, tidying: list[subprocess.Popen[str]]
    ) -> dict[str, Any]:
        """Connect, and let the process work; once more when the session turns out dead."""
        connected = self._source.connect(job.subject)
        outcome = self._work(job, self._order(connected, force), tidying)
        if outcome.get("kind") == "session_expired":
            partial = bool(outcome.get("partial"))
            connected = self._source.renew(connected, partial=partial)
            outcome = self._work(job, self._order(connected, force), tidying)
        report = outcome.pop("report", {})
        return {**report, **outcome}

    def _order(self, connected: Broker, force: bool) -> ContractOrder:
        return ContractOrder.for_broker(
            connected,
            symbols_url=_absolute(self._database),
            exchanges=self._exchanges,
            force=force,
            slots_directory=self._slots_directory,
            plugin_paths=self._plugin_paths,
        )

    def _work(
        self, job: Job, order: ContractOrder, tidying: list[subprocess.Popen[str]]
    ) -> dict[str, Any]:
        """One run of the process: its report, or {"error": …}. `_Lost` when it gives no answer.

        A process that has answered goes to `tidying`: it still moves the contract into its file.
        """
        process = aside.start(aside.CONTRACT, stderr=subprocess.STDOUT)
        with self._lock:
            self._running[job.id] = process
        guard = threading.Timer(LONGEST_RUN, process.kill)
        guard.daemon = True
        guard.start()
        try:
            with self._database.write() as conn:
                jobs.start(conn, job.id, at=self._clock.now(), pid=process.pid)
            if self._closing:
                raise _Lost("the gateway was stopped")
            answer = self._converse(job, process, order)
            tidying.append(process)
            return answer
        finally:
            guard.cancel()
            if process not in tidying:
                _end(process, patience=0)
            with self._lock:
                self._running.pop(job.id, None)

    def _converse(
        self, job: Job, process: subprocess.Popen[str], order: ContractOrder
    ) -> dict[str, Any]:
        noise: list[str] = []
        try:
            process.stdin.write(order.to_line())  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass  # it has died already: what it said comes out below
        for line in process.stdout:  # type: ignore[union-attr]
            answer = _answer(line)
            if answer is None:
                noise = [*noise, line.rstrip()][-_NOISE:]
            elif "progress" in answer:
                if not self._beat(job, answer["progress"]):
                    raise _Lost("the job was given up")
            else:
                if noise:
                    log.error("loading a master contract said:\n%s", "\n".join(noise))
                return dict(answer.get("done") or answer["failed"])
        if noise:
            log.error("loading a master contract said:\n%s", "\n".join(noise))
        if self._closing:
            raise _Lost("the gateway was stopped")
        raise _Lost(f"the process that did the work has died ({process.wait()})")

    def _beat(self, job: Job, progress: dict[str, Any]) -> bool:
        """Record the progress; False when others have given the job up."""
        try:
            with self._database.write() as conn:
                return jobs.beat(conn, job.id, at=self._clock.now(), progress=progress)
        except StorageError as error:
            log.warning("the progress of download %s can't be recorded: %s", job.id, error)
            return True

    def _bury_the_dead(self) -> None:
        now = self._clock.now()
        with self._database.read() as conn:
            silent = jobs.silent(conn, KIND, now - SILENCE)
        if not silent:
            return
        with self._database.write() as conn:
            for job in jobs.fail_silent(conn, KIND, now - SILENCE, at=now):
                log.error("download %s of %s has died", job.id, job.subject)


def _answer(line: str) -> dict[str, Any] | None:
    """A line of the process as its answer, None when it is something else."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    known = ("progress", "done", "failed")
    return answer if isinstance(answer, dict) and any(key in answer for key in known) else None


def _end(process: subprocess.Popen[str], patience: float) -> None:
    """Wait for a process to end by itself, `patience` seconds at most, and give its pipes back."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()


def _absolute(database: Database) -> str:
    """The URL of the symbols, for a process that starts in another folder."""
    url = database.symbols_url
    if url.get_backend_name() == "sqlite":
        url = url.set(database=str(Path(str(url.database)).resolve()))
    return url.render_as_string(hide_password=False)
