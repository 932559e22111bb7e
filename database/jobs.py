"""Long-running work: state, progress, report and heartbeat of each run, kept as history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Base, BigId, RowMapper
from database.dialect import insert_new
from database.types import UtcDateTime


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED)


class Job(Base):
    """One run. Of one kind and subject only one can be queued or running: the index says so."""

    __tablename__ = "jobs"
    __table_args__ = (
        sa.Index(
            "uq_jobs_active", "kind", "subject", unique=True,
            sqlite_where=sa.text("state IN ('queued', 'running')"),
            postgresql_where=sa.text("state IN ('queued', 'running')"),
        ),
        sa.Index("ix_jobs_kind_subject", "kind", "subject", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(8))
    progress: Mapped[dict[str, Any]] = mapped_column(sa.JSON, default=dict)
    report: Mapped[dict[str, Any]] = mapped_column(sa.JSON, default=dict)
    requested_by: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime)
    pid: Mapped[int | None]


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job. `report` has "error" when it failed."""

    id: int
    kind: str
    subject: str
    state: JobState
    progress: dict[str, Any]
    report: dict[str, Any]
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime
    pid: int | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", JobState(self.state))


_jobs = RowMapper(JobRow, Job)
_ACTIVE = (JobState.QUEUED.value, JobState.RUNNING.value)


def enqueue(
    conn: Connection, kind: str, subject: str, requested_by: str, *, at: datetime
) -> tuple[JobRow, bool]:
    """A new job, or the one of this kind and subject that is still active; and which it is."""
    values = {
        "kind": kind, "subject": subject, "state": JobState.QUEUED.value, "progress": {},
        "report": {}, "requested_by": requested_by[:64], "created_at": at, "heartbeat_at": at,
    }
    fresh = insert_new(conn, Job, values)
    job = active(conn, kind, subject)
    assert job is not None  # noqa: S101 - just inserted, or the reason why it was not
    return job, fresh


def active(conn: Connection, kind: str, subject: str) -> JobRow | None:
    """The queued or running job of this kind and subject."""
    return _jobs.one(conn, _jobs.select().where(
        Job.kind == kind, Job.subject == subject, Job.state.in_(_ACTIVE)
    ))


def get(conn: Connection, job_id: int) -> JobRow | None:
    return _jobs.one(conn, _jobs.select().where(Job.id == job_id))


def latest(conn: Connection, kind: str, subject: str, state: JobState | None = None) -> (
    JobRow | None
):
    """The newest job of this kind and subject, in any state or in this one."""
    statement = _jobs.select().where(Job.kind == kind, Job.subject == subject)
    if state is not None:
        statement = statement.where(Job.state == state.value)
    return _jobs.one(conn, statement.order_by(Job.id.desc()).limit(1))


def history(conn: Connection, kind: str, subject: str, limit: int = 50) -> list[JobRow]:
    """The newest jobs first."""
    return _jobs.all(conn, _jobs.select().where(
        Job.kind == kind, Job.subject == subject
    ).order_by(Job.id.desc()).limit(limit))


def start(conn: Connection, job_id: int, *, at: datetime, pid: int | None) -> bool:
    """Mark a queued job as running; False when it is not queued any more."""
    statement = sa.update(Job).where(Job.id == job_id, Job.state == JobState.QUEUED.value)
    return bool(conn.execute(statement.values(
        state=JobState.RUNNING.value, started_at=at, heartbeat_at=at, pid=pid
    )).rowcount)


def beat(
    conn: Connection, job_id: int, *, at: datetime, progress: Mapping[str, Any] | None = None
) -> bool:
    """Say that the job lives, and how far it is; False when it is over (given up by others)."""
    values: dict[str, Any] = {"heartbeat_at": at}
    if progress is not None:
        values["progress"] = dict(progress)
    statement = sa.update(Job).where(Job.id == job_id, Job.state.in_(_ACTIVE))
    return bool(conn.execute(statement.values(values)).rowcount)


def finish(
    conn: Connection, job_id: int, state: JobState, report: Mapping[str, Any], *, at: datetime
) -> bool:
    """End a job as done or failed; False when it was over before."""
    statement = sa.update(Job).where(Job.id == job_id, Job.state.in_(_ACTIVE))
    return bool(conn.execute(statement.values(
        state=state.value, report=dict(report), finished_at=at, heartbeat_at=at
    )).rowcount)


def silent(conn: Connection, kind: str, since: datetime) -> list[JobRow]:
    """Active jobs of this kind without a heartbeat since then."""
    return _jobs.all(conn, _jobs.select().where(
        Job.kind == kind, Job.state.in_(_ACTIVE), Job.heartbeat_at < since
    ))


def fail_silent(
    conn: Connection, kind: str, since: datetime, *, at: datetime
) -> list[JobRow]:
    """Mark active jobs without a heartbeat since then as failed: their process died; which."""
    report = {"error": "the process that did the work has died"}
    return [
        job for job in silent(conn, kind, since)
        if finish(conn, job.id, JobState.FAILED, report, at=at)
    ]


def prune(conn: Connection, before: datetime) -> int:
    """Delete jobs that were over before then; how many."""
    return conn.execute(sa.delete(Job).where(
        Job.finished_at < before, Job.state.not_in(_ACTIVE)
    )).rowcount
