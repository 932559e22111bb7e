"""Backups made in a process of their own: the same ones, and nothing left behind."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values

from services.alarms import AlarmService
from services.backup import Backup, BackupPlan
from services.backup_build import BackupOrder
from services.backup_s3 import Bucket
from services.backup_schedule import BackupSchedule
from services.backup_worker import BackupProcess
from services.backup_workspace import workspace
from services.errors import Conflict, ServiceError, Unavailable
from tests.support.backups import DAY, KEY, Kept, load_symbols


def process(kept: Kept) -> BackupProcess:
    """Makes backups of the instance in a process of its own."""
    plan = BackupPlan(kept.url, kept.folder, KEY, 30 * DAY, 7, kept.settings)
    return BackupProcess(BackupOrder(plan, None), kept.service())


def test_a_process_of_its_own_makes_the_same_backup(kept: Kept) -> None:
    load_symbols(kept.database)
    kept.order()
    made = process(kept).create()
    assert kept.service().verify(made.name) == made
    kept.order()
    kept.database.dispose()
    target = kept.folder / "env"
    assert kept.service().restore(made.name, settings_to=target).symbols
    assert dotenv_values(target)["SECRET_KEY"] == kept.settings["SECRET_KEY"]
    assert kept.orders() == 1


def test_the_process_says_why_there_is_no_backup(lite: Kept) -> None:
    lite.service().create()
    with (lite.folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="Another backup"):
            process(lite).create()
    lite.database.dispose()
    Path(str(lite.database.url.database)).write_bytes(b"no database at all" * 100)
    with pytest.raises(Unavailable, match="SQLite: file is not a database"):
        process(lite).create()
    assert len(lite.service().all()) == 1


def test_stopping_the_gateway_ends_the_process_and_starts_no_other(lite: Kept) -> None:
    running = process(lite)
    alarms = AlarmService(lite.database, lite.clock)
    schedule = BackupSchedule(
        lite.service(), alarms, lite.clock, timedelta(minutes=15), running.create
    )
    made: list[Backup | None] = []
    thread = threading.Thread(target=lambda: made.append(schedule.run()))
    thread.start()
    while running._running is None:
        time.sleep(0.01)
    running.close()
    thread.join(20)
    assert made == [None]
    assert schedule.run() is None
    assert alarms.list() == []
    assert lite.service().all() == []


def test_a_process_that_is_stopped_leaves_nothing_unsealed(lite: Kept) -> None:
    with halted_at_work(lite) as (running, child):
        running.close()
        child.send_signal(signal.SIGCONT)
    assert child.returncode == 128 + signal.SIGTERM
    assert not list(lite.folder.glob(".work-*"))


def test_what_a_killed_process_left_unsealed_is_deleted_by_the_next(lite: Kept) -> None:
    with halted_at_work(lite) as (_, child):
        child.kill()
    (left,) = lite.folder.glob(".work-*")
    with workspace(lite.folder) as other:
        os.utime(other, (0, 0))
        lite.service().create()
        assert left.exists()  # of this minute: it may be one that is being made
        os.utime(left, (0, 0))
        lite.clock.advance(1)
        lite.service().create()
        assert not left.exists()
        assert other.exists()  # somebody is at work in it


def outcome(running: BackupProcess) -> Backup | ServiceError:
    """What became of a backup, as one value."""
    try:
        return running.create()
    except ServiceError as error:
        return error


@contextmanager
def halted_at_work(kept: Kept) -> Iterator[tuple[BackupProcess, subprocess.Popen[str]]]:
    """A process that makes a backup and was halted over what is not sealed yet; its end, after."""
    while True:
        running = process(kept)
        thread = threading.Thread(target=outcome, args=(running,))
        thread.start()
        while running._running is None or not list(kept.folder.glob(".work-*/content")):
            time.sleep(0.001)
        child = running._running
        child.send_signal(signal.SIGSTOP)
        if list(kept.folder.glob(".work-*/content")):
            break
        child.send_signal(signal.SIGCONT)  # it was faster
        thread.join(20)
    yield running, child
    thread.join(20)


def test_what_the_process_says_stands_in_the_gateways_log(
    lite: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    left = lite.folder / ".work-left"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    process(lite).create()
    assert f"says: deleted what an interrupted backup left: {left}" in caplog.text


def test_a_process_that_dies_is_an_alarm(lite: Kept) -> None:
    running = process(lite)
    alarms = AlarmService(lite.database, lite.clock)
    schedule = BackupSchedule(
        lite.service(), alarms, lite.clock, timedelta(minutes=15), running.create
    )
    thread = threading.Thread(target=schedule.run)
    thread.start()
    while running._running is None:
        time.sleep(0.01)
    running._running.kill()
    thread.join(20)
    assert [alarm.message for alarm in alarms.list()] == [
        "The backup was not made: its process ended with -9."
    ]


def test_its_order_carries_all_that_it_needs_and_shows_no_secret() -> None:
    plan = BackupPlan("sqlite:////tmp/a.db", Path("/b"), KEY, 30 * DAY, 7, {"A": "b"}, "before")
    bucket = Bucket("http://127.0.0.1:1", "eu", "kept", "a/", "access", "hush-hush")
    order = BackupOrder(plan, bucket)
    assert BackupOrder.from_line(order.to_line()) == order
    assert BackupOrder.from_line(BackupOrder(plan, None).to_line()).bucket is None
    assert KEY not in repr(order)
    assert "hush-hush" not in repr(order)
