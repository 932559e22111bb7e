"""Limits of single accounts and the best result of a day, on both kinds of database."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from database import accounts, risk
from database.engine import Database
from tests.support.databases import NOON, add_account

TODAY = date(2026, 11, 20)


def test_limits_are_kept_by_account_and_go_with_it(database: Database) -> None:
    first, other = add_account(database), add_account(database, "prop-c")
    with database.write() as conn:
        risk.set_limits(conn, first, {"max_open_orders": "5"}, at=NOON, by="asha")
        risk.set_limits(conn, other, {"max_open_orders": "off"}, at=NOON, by="asha")
        risk.set_limits(conn, first, {"max_order_value": "7"}, at=NOON, by="ravi")
    with database.read() as conn:
        found = risk.all_limits(conn)
    assert found[first] == risk.StoredLimits(first, {"max_order_value": "7"}, "ravi", NOON)
    assert found[other].limits == {"max_open_orders": "off"}
    with database.write() as conn:
        conn.execute(accounts.Account.__table__.delete())  # type: ignore[attr-defined]
    with database.read() as conn:
        assert risk.all_limits(conn) == {}


def test_the_best_result_of_a_day_only_rises(database: Database) -> None:
    account = add_account(database)

    def best(result: str, day: date = TODAY) -> Decimal:
        with database.write() as conn:
            return risk.best_result(conn, account, day, Decimal(result), at=NOON)

    with database.read() as conn:
        assert risk.known_best(conn, account, TODAY) is None
    assert best("-50") == 0  # a day begins at nothing
    assert best("120.5") == Decimal("120.5")
    assert best("80") == Decimal("120.5")
    assert best("10", TODAY + timedelta(days=1)) == 10
    with database.write() as conn:
        assert risk.prune_days(conn, TODAY + timedelta(days=1)) == 1
    with database.read() as conn:
        assert risk.known_best(conn, account, TODAY) is None
        assert risk.known_best(conn, account, TODAY + timedelta(days=1)) == 10
