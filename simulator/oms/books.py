"""Which rows a book shows: by account, foreign rows in dealer books, stale copies on request."""

from __future__ import annotations

from simulator.envelope import dumps
from simulator.oms.accounts import Account
from simulator.oms.engine import Engine
from simulator.oms.orders import Order, Report
from simulator.oms.rows import array, order_bytes, order_row, trade_bytes


def order_rows(
    engine: Engine, accounts: list[Account], foreign: bool, cutoff: float | None = None
) -> list[bytes]:
    """Order-book rows of some accounts as JSON; `cutoff` shows the book as it was then."""
    quirks, version = engine.quirks, engine.quirks_version
    wanted = set(map(id, accounts))
    rows: list[bytes] = []
    for order in engine.orders.values():
        account = order.account
        if (not foreign) if account is None else id(account) not in wanted:
            continue
        if cutoff is None:
            rows.append(order_bytes(order, quirks, version))
            continue
        report = order.as_of(cutoff)
        if report is not None:
            rows.append(dumps(order_row(order, report, quirks)))
    return _arranged(engine, rows)


def trade_rows(
    engine: Engine, accounts: list[Account], foreign: bool, cutoff: float | None = None
) -> list[bytes]:
    """Trade-book rows of some accounts as JSON."""
    quirks, version = engine.quirks, engine.quirks_version
    wanted = set(map(id, accounts))
    rows: list[bytes] = []
    for trade in engine.trades:
        account = trade.order.account
        if (not foreign) if account is None else id(account) not in wanted:
            continue
        if cutoff is None or trade.report.mono <= cutoff:
            rows.append(trade_bytes(trade, quirks, version))
    return _arranged(engine, rows)


def history(engine: Engine, order: Order) -> bytes:
    """One row a state report, in no guaranteed order (§7.2.7)."""
    reports: list[Report] = list(order.reports)
    if engine.quirks.shuffle_books:
        engine.random.shuffle(reports)
    return array([dumps(order_row(order, report, engine.quirks)) for report in reports])


def _arranged(engine: Engine, rows: list[bytes]) -> list[bytes]:
    if engine.quirks.shuffle_books:
        engine.random.shuffle(rows)
    return rows
