"""Flags, alarms, jobs, leases and the audit trail."""

from __future__ import annotations

import threading
from datetime import timedelta

from database import alarms, audit, flags, jobs, leases
from database.engine import Database
from database.jobs import JobState
from tests.support.databases import NOON

SECOND = timedelta(seconds=1)


class TestFlags:
    def test_every_change_moves_the_version(self, database: Database) -> None:
        with database.write() as conn:
            assert flags.version(conn) == 0
            assert flags.set_flag(conn, "kill", "on", at=NOON, by="asha") == 1
            assert flags.set_flag(conn, "kill", "off", at=NOON, by="ravi") == 2
            assert flags.bump(conn, at=NOON) == 3
            assert flags.get(conn, "kill") == "off"
            assert [(row.name, row.value, row.version, row.changed_by)
                    for row in flags.list_flags(conn)] == [("kill", "off", 2, "ravi")]
            assert flags.clear(conn, "kill", at=NOON) == 4
            assert flags.get(conn, "kill") is None


class TestAlarms:
    def test_an_alarm_is_open_once_and_kept_when_closed(self, database: Database) -> None:
        with database.write() as conn:
            assert alarms.open_alarm(conn, "unknown_order", "R1", "first", at=NOON)
            assert not alarms.open_alarm(conn, "unknown_order", "R1", "again", at=NOON + SECOND)
            assert alarms.open_alarm(conn, "unknown_order", "R2", "other", at=NOON)
            assert [(row.subject, row.message) for row in alarms.list_open(conn)] == [
                ("R1", "again"), ("R2", "other")
            ]
            assert alarms.close_alarm(conn, "unknown_order", "R1", at=NOON + SECOND)
            assert not alarms.close_alarm(conn, "unknown_order", "R1", at=NOON + SECOND)
            assert alarms.open_alarm(conn, "unknown_order", "R1", "anew", at=NOON + 2 * SECOND)
            assert len(alarms.list_open(conn)) == 2
            assert [row.closed_at for row in alarms.list_recent(conn)] == [
                None, None, NOON + SECOND
            ]


class TestJobs:
    def test_one_is_active_for_a_subject(self, database: Database) -> None:
        with database.write() as conn:
            first, fresh = jobs.enqueue(conn, "master_contract", "jainam_prop", "asha", at=NOON)
            assert fresh and first.state is JobState.QUEUED
            again, fresh = jobs.enqueue(conn, "master_contract", "jainam_prop", "ravi", at=NOON)
            assert not fresh and again == first
            other, fresh = jobs.enqueue(conn, "master_contract", "wisdom", "asha", at=NOON)
            assert fresh and other.id != first.id

    def test_a_run_is_started_beaten_and_finished_once(self, database: Database) -> None:
        with database.write() as conn:
            job, _ = jobs.enqueue(conn, "master_contract", "jainam_prop", "asha", at=NOON)
            assert jobs.start(conn, job.id, at=NOON, pid=42)
            assert not jobs.start(conn, job.id, at=NOON, pid=43)
            assert jobs.beat(conn, job.id, at=NOON + SECOND, progress={"rows": 1000})
            assert jobs.beat(conn, job.id, at=NOON + 2 * SECOND)
            running = jobs.active(conn, "master_contract", "jainam_prop")
            assert running is not None
            assert (running.state, running.pid, running.progress, running.heartbeat_at) == (
                JobState.RUNNING, 42, {"rows": 1000}, NOON + 2 * SECOND
            )
            assert jobs.finish(conn, job.id, JobState.DONE, {"rows": 7}, at=NOON + 3 * SECOND)
            assert not jobs.finish(conn, job.id, JobState.FAILED, {}, at=NOON + 3 * SECOND)
            assert not jobs.beat(conn, job.id, at=NOON + 4 * SECOND)
            done = jobs.get(conn, job.id)
            assert done is not None and done.state.is_over and done.report == {"rows": 7}
            assert jobs.active(conn, "master_contract", "jainam_prop") is None

    def test_a_silent_job_has_died(self, database: Database) -> None:
        with database.write() as conn:
            job, _ = jobs.enqueue(conn, "master_contract", "jainam_prop", "asha", at=NOON)
            assert jobs.fail_silent(conn, "master_contract", NOON, at=NOON) == []
            assert jobs.fail_silent(conn, "backup", NOON + SECOND, at=NOON) == []
            assert [dead.id for dead in jobs.fail_silent(
                conn, "master_contract", NOON + SECOND, at=NOON + SECOND
            )] == [job.id]
            failed = jobs.latest(conn, "master_contract", "jainam_prop")
            assert failed is not None and failed.state is JobState.FAILED
            assert "died" in failed.report["error"]
            _, fresh = jobs.enqueue(conn, "master_contract", "jainam_prop", "asha", at=NOON)
            assert fresh

    def test_history_is_newest_first_and_pruned(self, database: Database) -> None:
        with database.write() as conn:
            for number in range(3):
                job, _ = jobs.enqueue(conn, "backup", "main", "timer", at=NOON)
                state = JobState.DONE if number < 2 else JobState.FAILED
                jobs.finish(conn, job.id, state, {"n": number}, at=NOON + number * SECOND)
            assert [job.report["n"] for job in jobs.history(conn, "backup", "main")] == [2, 1, 0]
            done = jobs.latest(conn, "backup", "main", JobState.DONE)
            assert done is not None and done.report == {"n": 1}
            assert jobs.prune(conn, NOON + SECOND) == 1
            assert jobs.get(conn, 999) is None

    def test_of_many_threads_one_enqueues(self, database: Database) -> None:
        fresh: list[bool] = []
        start = threading.Barrier(6)

        def enqueue() -> None:
            start.wait()
            with database.write() as conn:
                fresh.append(jobs.enqueue(conn, "master_contract", "x", "asha", at=NOON)[1])

        threads = [threading.Thread(target=enqueue) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(fresh) == [False] * 5 + [True]


class TestLeases:
    def test_a_lease_is_held_by_one_and_lapses(self, database: Database) -> None:
        lasts = timedelta(seconds=30)
        with database.write() as conn:
            assert leases.acquire(conn, "scheduler", "a", at=NOON, lasts=lasts)
            assert not leases.acquire(conn, "scheduler", "b", at=NOON, lasts=lasts)
            assert leases.acquire(conn, "scheduler", "a", at=NOON + 20 * SECOND, lasts=lasts)
            assert leases.holder(conn, "scheduler", at=NOON + 49 * SECOND) == "a"
            assert not leases.acquire(conn, "scheduler", "b", at=NOON + 49 * SECOND, lasts=lasts)
            assert leases.holder(conn, "scheduler", at=NOON + 50 * SECOND) is None
            assert leases.acquire(conn, "scheduler", "b", at=NOON + 50 * SECOND, lasts=lasts)
            assert not leases.release(conn, "scheduler", "a")
            assert leases.release(conn, "scheduler", "b")
            assert leases.acquire(conn, "scheduler", "a", at=NOON + 51 * SECOND, lasts=lasts)


class TestAudit:
    def test_entries_are_kept_newest_first_and_cut_to_fit(self, database: Database) -> None:
        with database.write() as conn:
            for number in range(3):
                audit.record(
                    conn, "asha", "api_key.create", f"key {number}", at=NOON,
                    detail={"scope": "trade"}, request_id="r" * 500,
                )
            page = audit.list_entries(conn, limit=2)
            assert [row.subject for row in page] == ["key 2", "key 1"]
            assert page[0].detail == {"scope": "trade"} and len(page[0].request_id) == 64
            rest = audit.list_entries(conn, before_id=page[-1].id)
            assert [row.subject for row in rest] == ["key 0"]
