"""Backups on both databases: made while used, verified, put back, thinned out, mirrored."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values

from database.integrity import problems
from services.alarms import AlarmService
from services.backup import BackupPlan, BackupService
from services.backup_schedule import BACKUP_FAILED, BackupSchedule
from services.errors import Conflict, InvalidRequest, NotFoundHere, Unavailable
from tests.support.backups import KEY, Kept, load_symbols
from tests.support.databases import postgres_database


def test_made_while_it_is_used_verified_and_put_back(kept: Kept) -> None:
    load_symbols(kept.database)
    kept.order()
    service = kept.service()
    made = service.create()
    assert made.inventory["journal"]["states"] == {"accepted": 1}
    assert made.inventory["journal"]["quantity"] == 5
    assert made.here and made.symbols_file in made.files
    kept.order()
    assert service.verify().name == made.name  # the backup did not change with the database
    if kept.database.is_sqlite:
        kept.database.dispose()
    else:
        with pytest.raises(Conflict, match="in use"):
            service.restore()
        kept.database.dispose()
    done = service.restore()
    assert (done.backup.name, done.symbols) == (made.name, True)
    assert kept.orders() == 1
    kept.order()  # the store is whole: it takes the next one
    assert kept.orders() == 2
    assert problems(service._source) == []


def test_the_log_of_a_lost_database_is_not_written_into_the_one_that_is_put_back(
    lite: Kept, tmp_path: Path
) -> None:
    lite.order()
    service = lite.service()
    service.create()
    main = Path(str(lite.database.url.database))
    log = main.with_name(f"{main.name}-wal")
    lite.order()
    written = log.read_bytes()
    assert written
    lite.database.dispose()
    main.unlink()
    log.write_bytes(written)  # as a crash leaves it
    done = service.restore()
    assert done.kept == ()
    assert lite.orders() == 1
    assert problems(service._source) == []
    assert log.with_name(f"{log.name}.before-restore").read_bytes() == written


def test_what_was_there_before_is_kept_without_the_log_of_an_earlier_restore(lite: Kept) -> None:
    lite.order()
    service = lite.service()
    service.create()
    lite.database.dispose()
    main = Path(str(lite.database.url.database))
    kept = main.with_name(f"{main.name}.before-restore")
    stale = kept.with_name(f"{kept.name}-wal")
    stale.write_bytes(b"of another database")
    assert service.restore().kept == (kept,)
    assert not stale.exists()


@pytest.mark.parametrize("deleted", [False, True], ids=["damaged", "deleted"])
def test_a_database_that_cannot_be_read_is_in_use_all_the_same(
    lite: Kept, *, deleted: bool
) -> None:
    lite.service().create()
    lite.database.dispose()
    main = Path(str(lite.database.url.database))
    turn = main.with_name(f"{main.name}-turn")
    held = main if deleted else turn
    script = f"import sys; held = open({str(held)!r}, 'ab'); "
    script += "print('holds', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as gateway:
        assert gateway.stdout is not None
        gateway.stdout.readline()
        if deleted:
            main.unlink()
        else:
            main.write_bytes(b"not a database")
        with pytest.raises(
            Conflict, match=f"in use: stop the gateway first .process {gateway.pid}"
        ):
            lite.service().restore()
        gateway.communicate()
    lite.service().restore()


def test_what_is_wrong_in_a_database_is_found(kept: Kept) -> None:
    kept.order()
    source = kept.service()._source
    assert problems(source) == []
    with kept.database.write() as conn:
        conn.exec_driver_sql("UPDATE order_intents SET state = 'rejected', broker_order_id = NULL")
    assert problems(source) == [
        "orders whose last event says another state than the order itself"
    ]
    load_symbols(kept.database)
    with kept.database.symbols_engine.begin() as conn:
        conn.exec_driver_sql("UPDATE symbol_generation SET row_count = 9")
    assert "brokers whose symbols are not as many as their import wrote" in problems(source)


def test_settings_come_back_as_they_were(lite: Kept, tmp_path: Path) -> None:
    service = lite.service()
    service.create()
    lite.database.dispose()
    target = tmp_path / "etc" / "openalgo.env"
    done = service.restore(settings_to=target)
    assert done.settings_file == target
    assert target.stat().st_mode & 0o777 == 0o600
    assert dotenv_values(target, interpolate=False) == lite.settings
    target.write_text("PORT=1\n", encoding="utf-8")
    assert service.restore(settings_to=target).settings_file is None  # never over what is there
    assert target.read_text(encoding="utf-8") == "PORT=1\n"


def test_a_database_in_use_is_not_replaced(lite: Kept) -> None:
    service = lite.service()
    service.create()
    lite.database.dispose()
    path = lite.database.url.database
    holder = subprocess.Popen(
        [sys.executable, "-c", f"f = open({path!r}); print('open', flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        with pytest.raises(Conflict, match=f"process {holder.pid} "):
            service.restore()
        assert service.restore(force=True).backup.name == service.all()[0].name
    finally:
        holder.communicate("\n")


def test_damage_and_forgery_are_found(lite: Kept) -> None:
    lite.order()
    service = lite.service()
    made = service.create()
    file = lite.folder / f"{made.name}.bak"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(Unavailable, match="checksum differs"):
        service.verify()
    file.write_bytes(good)
    manifest = lite.folder / f"{made.name}.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["manifest"]["inventory"]["journal"]["quantity"] = 4
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(Unavailable, match="changed, or signed with another BACKUP_KEY"):
        service.verify()
    assert service.all() == []
    # signed rightly, but not what was copied
    lite.service()._sign(content["manifest"])
    with pytest.raises(Unavailable, match=r"main: journal\.quantity is 5, was 4"):
        service.verify()


def test_without_a_key_nothing_is_written(lite: Kept) -> None:
    with pytest.raises(Unavailable, match="BACKUP_KEY is not set"):
        lite.service(key="").create()
    assert not lite.folder.exists()


def test_a_plan_that_is_printed_tells_no_secret(lite: Kept) -> None:
    plan = BackupPlan(
        "postgresql://u:canary-url@h/d", lite.folder, KEY, settings=lite.settings,
        previous_key=KEY[::-1],
    )
    for secret in ("canary", KEY, KEY[::-1]):
        assert secret not in repr(plan)


def test_names_may_be_shortened_and_must_be_clear(lite: Kept) -> None:
    service = lite.service()
    with pytest.raises(NotFoundHere):
        service.find("latest")
    first = service.create()
    with pytest.raises(Conflict, match="already"):
        service.create()
    lite.clock.advance(3700)
    second = service.create()
    assert service.find("latest").name == second.name
    assert service.find(first.name[:-2]).name == first.name
    with pytest.raises(InvalidRequest, match="Several"):
        service.find("backup-2026")


def test_symbols_are_copied_once_a_generation(lite: Kept) -> None:
    load_symbols(lite.database, 1)
    service = lite.service()
    first = service.create()
    lite.clock.advance(900)
    assert service.create().symbols_file == first.symbols_file
    load_symbols(lite.database, 2)
    lite.clock.advance(900)
    assert service.create().symbols_file != first.symbols_file
    assert len(list(lite.folder.glob("symbols-*.bak"))) == 2


def test_kept_are_two_days_whole_a_month_by_days_and_seven_at_least(lite: Kept) -> None:
    service = lite.service(mirror=lite.mirror)
    names = []
    for _ in range(40):  # every six hours for ten days, then nothing for a month
        names.append(service.create().name)
        lite.clock.advance(6 * 3600)
    foreign = lite.mirror.path / "backup-20991231-000000.json"
    foreign.touch()  # another host's, in the same bucket
    gone = service.prune()
    left = [one.name for one in service.all()]
    assert sorted([*gone, *left]) == sorted(names)
    days = {name[:15] for name in names}
    assert {name[:15] for name in left} == days  # a backup of every day is there still
    recent = [name for name in names if names.index(name) >= 40 - 8]
    assert set(recent) <= set(left)
    assert len(left) == len(recent) + len({name[:15] for name in names[:-8]} - {
        name[:15] for name in recent
    })
    assert {path.name.partition(".")[0] for path in lite.mirror.path.iterdir()} == {
        *left, "backup-20991231-000000"
    }
    lite.clock.advance(60 * 86_400)
    service.prune()
    assert [one.name for one in service.all()] == names[:-8:-1]  # seven, whatever their age


def test_the_copy_off_the_site_is_enough(lite: Kept) -> None:
    load_symbols(lite.database)
    lite.order()
    service = lite.service(mirror=lite.mirror)
    made = service.create()
    assert {path.name for path in lite.mirror.path.iterdir()} == {
        *made.files, f"{made.name}.json"
    }
    lite.database.dispose()
    shutil.rmtree(lite.folder)
    shutil.rmtree(lite.folder.parent / "db")
    assert service.restore().symbols
    assert lite.orders() == 1


def test_a_mirror_that_is_away_fails_the_backup_but_keeps_it_here(lite: Kept) -> None:
    lite.mirror.broken = True
    service = lite.service(mirror=lite.mirror)
    with pytest.raises(Unavailable, match="bucket is away"):
        service.create()
    assert len(service.all()) == 1
    lite.mirror.broken = False
    lite.clock.advance(900)
    service.create()
    there = {path.name for path in lite.mirror.path.iterdir()}
    assert {f"{one.name}.json" for one in service.all()} <= there  # the missed one as well


def test_the_schedule_makes_one_when_due_and_says_when_it_fails(lite: Kept) -> None:
    alarms = AlarmService(lite.database, lite.clock)
    service = lite.service(mirror=lite.mirror)
    schedule = BackupSchedule(
        service, alarms, lite.clock, timedelta(minutes=15), service.create
    )
    made = schedule.run()
    assert made is not None
    assert schedule.run() is None
    lite.clock.advance(15 * 60)
    lite.mirror.broken = True
    assert schedule.run() is None
    assert [alarm.rule for alarm in alarms.list()] == [BACKUP_FAILED]
    lite.mirror.broken = False
    lite.clock.advance(15 * 60)
    assert schedule.run() is not None
    assert alarms.list() == []


@pytest.mark.postgres
def test_a_backup_of_the_other_database_is_refused(lite: Kept, tmp_path: Path) -> None:
    lite.service().create()
    with postgres_database() as other:
        plan = BackupPlan(other.url.render_as_string(hide_password=False), lite.folder, KEY)
        with pytest.raises(InvalidRequest, match="is of sqlite, DATABASE_URL of postgresql"):
            BackupService(plan, lite.clock).restore()
