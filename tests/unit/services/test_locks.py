"""Named locks: exclusive over threads and processes, freed by death, no files left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.errors import Unavailable
from services.locks import HostLocks, LockBusy

ROOT = Path(__file__).resolve().parents[3]


class RealClock:
    """The machine's own clock: these tests are about real processes."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture
def locks(tmp_path: Path) -> HostLocks:
    return HostLocks(tmp_path / "locks", RealClock())


def test_a_held_lock_is_busy_for_others_and_free_afterwards(locks: HostLocks) -> None:
    with locks.lock("a", 0.0):
        assert not locks.is_free("a")
        assert locks.is_free("b")
        with pytest.raises(LockBusy) as caught, locks.lock("a", 0.0):
            pytest.fail("two holders")
        assert "'a'" in caught.value.message
        assert caught.value.http_status == 409
    assert locks.is_free("a")


def test_two_objects_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    first, second = (HostLocks(tmp_path, RealClock()) for _ in range(2))
    with first.lock("a", 0.0), pytest.raises(LockBusy), second.lock("a", 0.05):
        pytest.fail("two holders")


def test_nothing_is_left_behind(locks: HostLocks, tmp_path: Path) -> None:
    with locks.lock("a", 0.0), locks.lock("b", 0.0):
        assert len(list((tmp_path / "locks").iterdir())) == 2
    assert list((tmp_path / "locks").iterdir()) == []
    assert locks._local == {}


def test_an_error_inside_frees_the_lock(locks: HostLocks) -> None:
    with pytest.raises(ValueError), locks.lock("a", 0.0):
        raise ValueError
    assert locks.is_free("a")


def test_threads_and_objects_never_hold_it_together(tmp_path: Path) -> None:
    inside = 0
    worst = 0
    entered = 0
    shared = HostLocks(tmp_path, RealClock())

    def work(own: HostLocks) -> None:
        nonlocal inside, worst, entered
        for _ in range(40):
            with own.lock("hot", 30.0):
                inside += 1
                worst = max(worst, inside)
                entered += 1
                inside -= 1

    owners = [shared] * 4 + [HostLocks(tmp_path, RealClock()) for _ in range(4)]
    threads = [threading.Thread(target=work, args=(own,)) for own in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (worst, entered) == (1, 320)


HOLDER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from services.locks import HostLocks

class Clock:
    def now(self): return datetime.now(UTC)
    def monotonic(self): return time.monotonic()
    def sleep(self, seconds): time.sleep(seconds)

with HostLocks(Path(sys.argv[1]), Clock()).lock("a", 5.0):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_kernel_frees_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    locks = HostLocks(tmp_path, RealClock())
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not locks.is_free("a")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(10)
        with locks.lock("a", 5.0):
            assert not locks.is_free("a")
    finally:
        holder.kill()
        holder.communicate()


RIVAL = """
import os, sys
from pathlib import Path
from services.locks import HostLocks
from utils.clock import SystemClock

folder = Path(sys.argv[1])
locks = HostLocks(folder / "locks", SystemClock())
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2500):
    with locks.lock("hot", 60.0):
        os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))  # fails when it is there
        os.unlink(folder / "inside")
"""


@pytest.mark.slow
def test_processes_never_hold_it_together_though_its_file_comes_and_goes(tmp_path: Path) -> None:
    """A holder removes the file while others have it open already, thousands of times."""
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for _ in range(4)
    ]
    try:
        for rival in rivals:
            assert rival.stdout is not None
            assert rival.stdout.readline() == "ready\n"
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write("go\n")
            rival.stdin.flush()
        for rival in rivals:
            rival.communicate(timeout=90)
    finally:
        for rival in rivals:
            rival.kill()
            rival.communicate()
    assert [rival.returncode for rival in rivals] == [0, 0, 0, 0]
    assert list((tmp_path / "locks").iterdir()) == []


def test_waiting_ends_when_the_holder_leaves(locks: HostLocks) -> None:
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.lock("a", 1.0):
            held.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    threading.Timer(0.05, leave.set).start()
    with locks.lock("a", 10.0):
        assert leave.is_set()
    thread.join()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    locks = HostLocks(tmp_path / "file" / "locks", RealClock())
    with pytest.raises(Unavailable, match="Locks cannot be kept"), locks.lock("a", 0.0):
        pytest.fail("no lock without a file")
