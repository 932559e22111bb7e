"""A second host on one database: allowed with Redis on both, refused with a reason otherwise."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from database.engine import Database
from services.alarms import AlarmService
from services.hosts import CLASH, LASTS, HostsClash, HostWatch, _identity
from services.jobs import Scheduler
from tests.support.clocks import START, ManualClock
from tests.support.databases import postgres_database


class World:
    """Hosts on one database: each folder is one. A host that lives renews while another waits."""

    def __init__(self, database: Database, clock: ManualClock, folder: Path) -> None:
        self.database = database
        self.clock = clock
        self.folder = folder
        self.alarms = AlarmService(database, clock)

    def host(self, name: str, *, shared: bool = False) -> HostWatch:
        return HostWatch(
            self.database, self.clock, self.alarms, self.folder / name, shared, boot=f"boot {name}"
        )


class Living(ManualClock):
    """A clock under which a host gives its sign of life while somebody sleeps."""

    host: HostWatch | None = None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.host is not None:
            self.host.renew()


@pytest.fixture
def clock() -> Living:
    return Living()


@pytest.fixture
def world(main_database: Database, clock: Living, tmp_path: Path) -> World:
    return World(main_database, clock, tmp_path)


def test_processes_of_one_host_do_not_disturb_each_other(world: World) -> None:
    for _ in range(3):
        world.host("a").enter()
    assert world.alarms.list() == []


def test_processes_that_begin_side_by_side_are_one_host(tmp_path: Path) -> None:
    together = threading.Barrier(16)

    def name(_: int) -> str:
        together.wait(10)
        return _identity(tmp_path / "state", "boot")

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(name, range(16)))) == 1
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["host"]


@pytest.mark.parametrize("second_has_redis", [False, True])
def test_a_second_host_on_sqlite_is_refused_and_told_what_to_set(
    world: World, clock: Living, second_has_redis: bool
) -> None:
    clock.host = world.host("a")
    clock.host.enter()
    with pytest.raises(HostsClash, match="set DATABASE_URL and REDIS_URL"):
        world.host("b", shared=second_has_redis).enter()


def test_a_copy_that_was_restored_on_this_machine_starts_at_once(
    world: World, clock: Living, tmp_path: Path
) -> None:
    world.host("a").enter()  # what the copy holds of where it was made
    began = clock.monotonic()
    HostWatch(
        world.database, clock, world.alarms, tmp_path / "restored", False, boot="boot a"
    ).enter()
    assert clock.monotonic() == began


def test_a_host_that_died_is_waited_for(world: World, clock: Living) -> None:
    world.host("a").enter()
    began = clock.monotonic()
    world.host("b").enter()
    assert LASTS - 1 <= clock.monotonic() - began <= LASTS + 1


def test_a_host_that_signed_out_leaves_the_place_at_once(world: World, clock: Living) -> None:
    first = world.host("a")
    first.enter()
    first.leave()
    began = clock.monotonic()
    world.host("b").enter()
    assert clock.monotonic() == began


def test_two_that_run_beside_each_other_are_an_alarm_until_one_is_gone(
    world: World, clock: Living
) -> None:
    first, second = world.host("a"), world.host("b")
    first.renew()
    second.renew()
    assert [alarm.rule for alarm in world.alarms.list()] == [CLASH]
    clock.advance(LASTS + 1)
    second.renew()
    assert world.alarms.list() == []


def test_a_name_that_was_taken_over_by_a_command_is_not_signed_out(world: World) -> None:
    serving, command = world.host("a"), world.host("a")
    serving.enter()
    command.leave()  # it never signed in
    with pytest.raises(HostsClash):
        clock = world.clock
        assert isinstance(clock, Living)
        clock.host = serving
        world.host("b").enter()


@pytest.mark.postgres
def test_on_postgres_both_hosts_need_redis_and_the_servers_clock_counts(tmp_path: Path) -> None:
    with postgres_database() as database:
        early, late = Living(), Living(START.replace(year=2027))
        one = World(database, early, tmp_path).host("a", shared=True)
        one.enter()
        World(database, late, tmp_path).host("b", shared=True).enter()
        late.host = one
        with pytest.raises(HostsClash, match=r"set REDIS_URL on each \(it is missing here\)"):
            World(database, late, tmp_path).host("c").enter()
        first, second = Scheduler(database, early), Scheduler(database, late)
        assert first.renew()
        assert not second.renew(), "the hosts' clocks are a year apart"
