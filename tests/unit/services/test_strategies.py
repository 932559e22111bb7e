"""Parameters of strategies: a user's own, all or none, within their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from database.engine import Database
from services.access import Principal
from services.errors import InvalidRequest
from services.strategies import StrategyService
from tests.support.clocks import ManualClock
from tests.support.databases import KINDS, NOON, add_user, scratch_database


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with scratch_database(request.param, tmp_path) as made:
        yield made


def principal(database: Database, name: str) -> Principal:
    return Principal(add_user(database, name), name, False, "trade")


def test_they_belong_to_a_user_and_are_changed_as_one(database: Database) -> None:
    asha, ben = principal(database, "asha"), principal(database, "ben")
    service = StrategyService(database, ManualClock(NOON))
    assert service.parameters(asha, "orb") == {}
    assert service.change(asha, "orb", {"lots": "2", "stop_percent": "1.5"}) == {
        "lots": "2", "stop_percent": "1.5"
    }
    assert service.change(asha, "orb", {"lots": "3", "note": "ü & 'x'"}, ["stop_percent"]) == {
        "lots": "3", "note": "ü & 'x'"
    }
    assert service.parameters(ben, "orb") == {}
    service.change(asha, "other", {"a": ""})
    assert service.names(asha) == {"orb": 2, "other": 1}
    assert service.names(ben) == {}
    with database.read() as conn:
        kept = conn.exec_driver_sql("SELECT DISTINCT changed_by FROM strategy_parameters").scalar()
    assert kept == "asha"


@pytest.mark.parametrize(
    ("strategy", "values", "remove", "field"),
    [
        ("", {"a": "1"}, [], "strategy"),
        ("x" * 129, {"a": "1"}, [], "strategy"),
        ("s", {"a b": "1"}, [], "parameters"),
        ("s", {"a": "1" * 1001}, [], "parameters"),
        ("s", {"a": "1\n"}, [], "parameters"),
        ("s", {}, ["a/b"], "parameters"),
        ("s", {"a": "1"}, ["a"], "remove"),
        ("s", {f"p{n}": "1" for n in range(101)}, [], "parameters"),
    ],
)
def test_what_is_out_of_bounds_changes_nothing(
    database: Database, strategy: str, values: dict[str, str], remove: list[str], field: str
) -> None:
    asha = principal(database, "asha")
    service = StrategyService(database, ManualClock(NOON))
    service.change(asha, "s", {"kept": "1"})
    with pytest.raises(InvalidRequest) as caught:
        service.change(asha, strategy, values, remove)
    assert field in caught.value.errors
    assert service.parameters(asha, "s") == {"kept": "1"}
