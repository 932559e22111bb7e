"""Flags: one truth for all processes, cheap to ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from database.engine import Database
from database.errors import DatabaseUnavailable
from services.errors import InvalidRequest
from services.flags import KILL_SWITCH, FlagService
from tests.support.clocks import ManualClock
from tests.support.stacks import Stack


def test_a_change_is_seen_here_at_once_and_elsewhere_within_a_second(
    stack: Stack, other_process: Stack, clock: ManualClock
) -> None:
    """Field defect 17: one process saw the switch an hour after another."""
    assert not stack.flags.is_on(KILL_SWITCH)
    assert not other_process.flags.is_on(KILL_SWITCH)
    stack.flags.switch(KILL_SWITCH, True, "asha")
    assert stack.flags.is_on(KILL_SWITCH)
    clock.advance(0.6)
    assert other_process.flags.is_on(KILL_SWITCH)
    [flag] = other_process.flags.list()
    assert (flag.name, flag.value, flag.changed_by) == ("kill", "on", "asha")


def test_defaults_hold_until_a_flag_is_set(stack: Stack) -> None:
    assert stack.flags.get("colour", "red") == "red"
    assert stack.flags.is_on("broker.x", default=True)
    stack.flags.switch("broker.x", False, "asha")
    assert not stack.flags.is_on("broker.x", default=True)


def test_what_caches_hang_on_is_not_shown_to_people(stack: Stack) -> None:
    stack.flags.bump("version.keys", "asha")
    first = stack.flags.get("version.keys")
    stack.flags.bump("version.keys", "asha")
    assert stack.flags.get("version.keys") != first
    assert stack.flags.list() == []


@pytest.mark.parametrize(
    ("name", "value"), [("", "x"), ("A", "x"), ("a b", "x"), ("a", "x" * 1001), ("a", "x\ny")]
)
def test_bad_names_and_values_are_refused(stack: Stack, name: str, value: str) -> None:
    with pytest.raises(InvalidRequest):
        stack.flags.set(name, value, "asha")


def test_the_last_copy_stands_while_the_database_is_down(
    stack: Stack, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.flags.switch(KILL_SWITCH, True, "asha")

    def down() -> None:
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(stack.database, "read", down)
    clock.advance(10)
    assert stack.flags.is_on(KILL_SWITCH)
    with pytest.raises(DatabaseUnavailable):
        FlagService(stack.database, clock).get(KILL_SWITCH)


def test_reading_costs_no_query_while_the_copy_is_fresh(
    main_database: Database, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = FlagService(main_database, clock)
    assert flags.get("a") == ""
    monkeypatch.setattr(main_database, "read", lambda: pytest.fail("a query"))
    for _ in range(100):
        assert flags.get("a") == ""


def test_what_is_set_for_a_user_goes_before_what_holds_for_all(
    stack: Stack, other_process: Stack, clock: ManualClock
) -> None:
    asha, ben = stack.user("asha").user_id, stack.user("ben").user_id
    stack.flags.switch("new-pages", True, "boss")
    stack.flags.set("new-pages", "off", "boss", user_id=asha)
    clock.advance(0.6)
    for flags in (stack.flags, other_process.flags):
        assert flags.is_on("new-pages")
        assert not flags.is_on("new-pages", user_id=asha)
        assert flags.is_on("new-pages", user_id=ben)
        assert not flags.is_on("never-set", user_id=ben)
    assert {(row.name, row.user_id, row.value) for row in stack.flags.list()} == {
        ("new-pages", None, "on"), ("new-pages", asha, "off")
    }
    stack.flags.forget("new-pages", "boss", user_id=asha)
    assert stack.flags.is_on("new-pages", user_id=asha)
    stack.flags.forget("new-pages", "boss")
    assert not stack.flags.is_on("new-pages")
    with pytest.raises(InvalidRequest):
        stack.flags.set("user.1.kill", "on", "asha")
